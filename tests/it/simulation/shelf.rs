//! The real log, in memory where the machine has a directory for that: two writers of ours and a foreign one.

use std::path::Path;
use std::sync::OnceLock;

use rusqlite::Connection;
use tempfile::TempDir;
use waitbus::store::{LogPaths, Reader, Writer};

pub struct Shelf {
    /// Two processes that write, each with its own ids.
    pub writers: [Writer; 2],
    /// One that knows nothing but the documented columns.
    pub foreign: Connection,
    pub reader: Reader,
    /// Bytes of text that were written, about.
    pub bytes: usize,
    _directory: TempDir,
}

impl Shelf {
    pub fn new() -> Shelf {
        static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
        let directory = directory();
        let paths = LogPaths::new(directory.path());
        // Making the tables costs more than a history, and a new log is the same every time.
        let empty = EMPTY.get_or_init(|| {
            let model = self::directory();
            let paths = LogPaths::new(model.path());
            drop(Writer::open(&paths).unwrap());
            let connection = Connection::open(paths.database()).unwrap();
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            std::fs::read(paths.database()).unwrap()
        });
        std::fs::write(paths.database(), empty).unwrap();
        let writers = [Writer::open(&paths).unwrap(), Writer::open(&paths).unwrap()];
        let foreign = Connection::open(paths.database()).unwrap();
        foreign.execute_batch("PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF").unwrap();
        let reader = Reader::open(&paths).unwrap();
        Shelf { writers, foreign, reader, bytes: 0, _directory: directory }
    }
}

fn directory() -> TempDir {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("waitbus-");
        builder
    };
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { builder().tempdir_in(memory).unwrap() } else { builder().tempdir().unwrap() }
}
