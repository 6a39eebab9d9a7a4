//! The file itself: where it lives, who may read it, its tables and their version, and the settings of a connection.

use std::os::unix::fs::PermissionsExt;
use std::{fs, io};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, FileControl, OpenFlags, Transaction, TransactionBehavior};

use super::{LogPaths, StoreError, commits};
use crate::model::limits;
use crate::sys::private;

/// Version of what [`TABLES`] makes, in `user_version`.
const FIRST: i64 = 1;
/// What has been added since, in order, and the version that it makes. A step is not changed once it is released: it is
/// what made the logs of its version.
const STEPS: [(i64, Step); 1] = [(2, commits::index)];
type Step = fn(&Connection) -> rusqlite::Result<()>;
/// The version after all of them.
pub(super) const VERSION: i64 = STEPS[STEPS.len() - 1].0;
/// Marks the file as ours, in `application_id`: "wait" in ASCII.
const APPLICATION_ID: i64 = 0x7761_6974;

/// The tables as they were first. Only `source` and `event_type` are required of a foreign writer; PROTOCOL.md, "Writing rows
/// yourself", documents the rest. The default `event_id` is a ULID made of the clock and random bits with functions
/// that every SQLite since 3.8.3 has; hexadecimal digits are Crockford digits too.
const TABLES: &str = "
CREATE TABLE events (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id      TEXT NOT NULL UNIQUE DEFAULT (
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ((CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >> 45) & 31), 1) ||
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ((CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >> 40) & 31), 1) ||
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ((CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >> 35) & 31), 1) ||
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ((CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >> 30) & 31), 1) ||
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ((CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >> 25) & 31), 1) ||
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ((CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >> 20) & 31), 1) ||
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ((CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >> 15) & 31), 1) ||
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ((CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >> 10) & 31), 1) ||
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ((CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) >>  5) & 31), 1) ||
        substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + ( CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)        & 31), 1) ||
        hex(randomblob(8))),
    delivery_id   TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))),
    source        TEXT NOT NULL,
    event_type    TEXT NOT NULL,
    owner         TEXT NOT NULL DEFAULT '',
    repo          TEXT NOT NULL DEFAULT '',
    received_at   INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000000),
    ingest_method TEXT NOT NULL DEFAULT 'foreign',
    summary       TEXT NOT NULL DEFAULT '',
    fields        TEXT NOT NULL DEFAULT '{}',
    payload       TEXT,
    UNIQUE (source, delivery_id)
);
-- The newest row that pruning has removed; seq 0 while nothing has been.
CREATE TABLE horizon (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    seq       INTEGER NOT NULL,
    event_id  TEXT NOT NULL,
    latest_ms INTEGER NOT NULL
);
INSERT INTO horizon VALUES (1, 0, '00000000000000000000000000', 0);
";

/// Opens the log for writing and makes it first where there is none.
pub(super) fn open_or_create(paths: &LogPaths) -> Result<Connection, StoreError> {
    private::directory(paths.directory())
        .map_err(|error| StoreError::Directory { path: paths.directory().to_owned(), problem: error.to_string() })?;
    let database = paths.database();
    if !database.exists() {
        create(paths)?;
    }
    private::file(&database).map_err(|error| StoreError::io(&database, &error))?;
    let (connection, version) = open(paths, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if version < VERSION {
        bring_up_to_date(&connection).map_err(|error| StoreError::sql(&database, &error))?;
    }
    Ok(connection)
}

/// Opens an existing log for reading. It may be one that nobody has brought up to date yet, and is read all the same.
pub(super) fn open_read_only(paths: &LogPaths) -> Result<Connection, StoreError> {
    let database = paths.database();
    match database.try_exists() {
        Ok(true) => open(paths, OpenFlags::SQLITE_OPEN_READ_ONLY).map(|(connection, _)| connection),
        Ok(false) => Err(StoreError::Missing(database)),
        Err(error) => Err(StoreError::io(&database, &error)),
    }
}

/// Opens the log, and tells its version.
fn open(paths: &LogPaths, mode: OpenFlags) -> Result<(Connection, i64), StoreError> {
    let database = paths.database();
    let sql = |error: rusqlite::Error| StoreError::sql(&database, &error);
    let connection = Connection::open_with_flags(&database, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(sql)?;
    settled(|| configure(&connection)).map_err(sql)?;
    let number = |name: &str| settled(|| connection.pragma_query_value(None, name, |row| row.get(0))).map_err(sql);
    let (found, application): (i64, i64) = (number("user_version")?, number("application_id")?);
    if application != APPLICATION_ID {
        return Err(StoreError::Damaged {
            path: database,
            problem: "its application id is not that of waitbus".into(),
        });
    }
    if found > VERSION {
        return Err(StoreError::TooNew { path: database, found, supported: VERSION });
    }
    Ok((connection, found))
}

/// Takes the steps that the log lacks, all or none. Whoever opens it meanwhile waits for the lock and finds it done.
fn bring_up_to_date(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (made, step) in STEPS.iter().filter(|(made, _)| *made > found) {
        step(&transaction)?;
        transaction.pragma_update(None, "user_version", made)?;
    }
    transaction.commit()
}

/// Begins to read, again and again if need be. A reader that may only read the `-shm` file and finds its header half
/// written looks whether somebody is still writing; if that writer has finished in the meantime, `SQLite` takes it
/// for one that died, and asks for a recovery that this reader may not do. Another look then finds it whole.
pub(super) fn settled<T>(mut read: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let unsettled = |error: &rusqlite::Error| {
        error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_READONLY_RECOVERY)
    };
    for _ in 1..limits::UNSETTLED_READS {
        match read() {
            Err(error) if unsettled(&error) => std::thread::yield_now(),
            outcome => return outcome,
        }
    }
    read()
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(limits::BUSY_TIMEOUT)?;
    // The last of ours to close neither pays for a checkpoint nor removes the `-wal`, which a reader in a
    // read-only directory needs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // One plan for whatever is bound: else a page is planned anew each time, because how many rows it may have is bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.file_control(None::<&str>, FileControl::PersistWal(&mut 1))?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit={}; PRAGMA cache_size=-{};",
        limits::WAL_SIZE_LIMIT,
        limits::CACHE_KIB,
    ))
}

/// Makes the log under another name and links it into place whole: no other process ever sees half of it, and of
/// two that do it at once one wins.
fn create(paths: &LogPaths) -> Result<(), StoreError> {
    // The same directory, and not one below it: a sandbox may forbid to link from one to another. The name is unique:
    // two makers can have the same process id, in two namespaces or as two threads. Closed at once, because closing
    // it later would give up the locks that SQLite takes on it.
    let new = tempfile::Builder::new()
        .prefix(".events.db.")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(paths.directory())
        .map_err(|error| StoreError::io(paths.directory(), &error))?
        .into_temp_path();
    let made = Connection::open(&new)
        .and_then(|connection| {
            connection.execute_batch(&format!(
                "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; BEGIN; {TABLES} PRAGMA user_version={FIRST};
                 PRAGMA application_id={APPLICATION_ID}; COMMIT;"
            ))?;
            bring_up_to_date(&connection)?;
            connection.close().map_err(|(_, error)| error)
        })
        .map_err(|error| StoreError::sql(&new, &error));
    let linked = made.and_then(|()| match fs::hard_link(&new, paths.database()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(StoreError::io(&new, &error)),
        _ => Ok(()),
    });
    // The file itself goes when its path is dropped; these are only there if something failed.
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut name = new.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
    linked
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn the_linked_sqlite_has_no_known_wal_corruption() {
        // 3.7.0 to 3.51.2 can corrupt a WAL that is reset while another connection reads (sqlite.org, 2026).
        assert!(rusqlite::version_number() > 3_051_002, "{}", rusqlite::version());
    }

    #[test]
    fn the_log_and_its_directory_are_private_whatever_they_were() {
        let state = tempfile::tempdir().unwrap();
        let directory = state.path().join("a/b");
        let paths = LogPaths::new(&directory);
        drop(open_or_create(&paths).unwrap());
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(paths.database(), fs::Permissions::from_mode(0o644)).unwrap();
        let connection = open_or_create(&paths).unwrap();
        connection.execute("INSERT INTO events (source, event_type) VALUES ('a', 'b')", []).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&paths.database()), 0o600);
        assert_eq!(mode(&paths.wal()), 0o600);
    }

    #[test]
    fn a_newer_log_is_refused_with_both_versions_and_left_alone() {
        let state = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(state.path());
        open_or_create(&paths).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
        let error = open_or_create(&paths).unwrap_err();
        assert!(
            matches!(error, StoreError::TooNew { found, supported, .. } if found == VERSION + 1 && supported == VERSION)
        );
        assert!(error.to_string().contains("use the newer waitbus"), "{error}");
    }

    /// Each page of a replay, and each event that went out live, was parsed and planned as if it were the first.
    #[test]
    fn a_page_is_planned_once_however_many_rows_it_may_have() {
        let state = tempfile::tempdir().unwrap();
        let connection = open_or_create(&LogPaths::new(state.path())).unwrap();
        let mut page = connection.prepare("SELECT seq FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2").unwrap();
        for limit in [1, 256, 3] {
            assert!(!page.exists((0, limit)).unwrap());
        }
        assert_eq!(page.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn a_file_that_is_no_log_is_refused_and_left_alone() {
        let state = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(state.path());
        for content in [&b""[..], b"hello, this is not a database, it is a text file of some length"] {
            fs::write(paths.database(), content).unwrap();
            assert!(matches!(open_or_create(&paths).unwrap_err(), StoreError::Damaged { .. }));
            assert_eq!(fs::read(paths.database()).unwrap(), content);
        }
    }

    #[test]
    fn the_log_gives_pages_back_and_keeps_its_wal_files() {
        let state = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(state.path());
        let connection = open_or_create(&paths).unwrap();
        let vacuum: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
        assert_eq!(vacuum, 2, "incremental");
        connection.execute("INSERT INTO events (source, event_type) VALUES ('a', 'b')", []).unwrap();
        drop(connection);
        assert!(paths.wal().exists());
        assert!(state.path().join("events.db-shm").exists());
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 3, "nothing of the creation is left");
    }
}
