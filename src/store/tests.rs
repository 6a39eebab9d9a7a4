//! The log as its users meet it: what is stored, what is a duplicate, what a foreign writer may do, what is gone.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::json;

use super::prune::Keep;
use super::{Appended, LogPaths, Reader, StoreError, Writer};
use crate::model::event::{Draft, ingest_method};
use crate::model::frame::GapReason;
use crate::model::id::{EventId, Seq};
use crate::model::row::{Lost, Position, Row};

struct Bench {
    _directory: tempfile::TempDir,
    paths: LogPaths,
    writer: Writer,
    reader: Reader,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let paths = LogPaths::new(directory.path());
    let writer = Writer::open(&paths).unwrap();
    let reader = Reader::open(&paths).unwrap();
    Bench { _directory: directory, paths, writer, reader }
}

fn draft(key: Option<&str>) -> Draft {
    Draft {
        source: "deploy".into(),
        event_type: "finished".into(),
        delivery_id: key.map(str::to_owned),
        ingest_method: ingest_method::EMIT,
        fields: json!({"n": 1}).as_object().cloned().unwrap(),
        ..Draft::default()
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

impl Bench {
    fn append(&mut self, seconds: u64) -> Position {
        match self.writer.append(&draft(None), at(seconds)).unwrap() {
            Appended::Stored { seq, id } => Position { seq, id },
            Appended::Duplicate { .. } => unreachable!("a fresh key"),
        }
    }

    fn foreign(&self, sql: &str) {
        Connection::open(self.paths.database()).unwrap().execute_batch(sql).unwrap();
    }

    fn rows(&self, after: i64) -> Vec<String> {
        let mut rows = Vec::new();
        let end = self.reader.scan(Seq(after), 100, false, &mut |row| {
            rows.push(match row {
                Row::Event(record) => format!("event {}", record.seq.0),
                Row::Unreadable(row) => format!("unreadable {}: {}", row.seq.0, row.problem),
                Row::Lost(Lost { through, missed }) => format!("lost {missed} through {}", through.seq.0),
            });
            ControlFlow::Continue(())
        });
        assert!(end.unwrap());
        rows
    }
}

#[test]
fn a_key_is_stored_once_per_source_and_told_as_a_duplicate() {
    let mut bench = bench();
    let first = bench.writer.append(&draft(Some("k")), at(1)).unwrap();
    let again = bench.writer.append(&draft(Some("k")), at(2)).unwrap();
    assert_eq!(again, Appended::Duplicate { id: first.id() });
    let other = Draft { source: "other".into(), ..draft(Some("k")) };
    assert!(matches!(bench.writer.append(&other, at(3)).unwrap(), Appended::Stored { seq: Seq(2), .. }));
    assert_eq!(bench.rows(0), ["event 1", "event 2"]);
}

/// A source sees that something is back as it was, and has no other key for it than the one under which it told of it
/// before.
#[test]
fn what_certainly_has_not_been_told_is_stored_also_when_its_key_is_taken() {
    let mut bench = bench();
    let certain = Draft { is_certain: true, ..draft(Some("k")) };
    let outcomes = bench.writer.append_all(&[certain.clone(), certain], at(1)).unwrap();
    assert_ne!(outcomes[0].id(), outcomes[1].id());
    let again = bench.writer.append(&draft(Some("k")), at(2)).unwrap();
    assert_eq!(again, Appended::Duplicate { id: outcomes[0].id() }, "the first one has the key");
    assert_eq!(bench.rows(0), ["event 1", "event 2"]);
}

#[test]
fn a_batch_is_stored_whole_and_its_duplicates_are_told() {
    let mut bench = bench();
    let batch = [draft(Some("a")), draft(Some("b")), draft(Some("a"))];
    let outcomes = bench.writer.append_all(&batch, at(1)).unwrap();
    assert_eq!(outcomes[2], Appended::Duplicate { id: outcomes[0].id() });
    assert_eq!(bench.rows(0), ["event 1", "event 2"]);
}

#[test]
fn a_constraint_that_is_not_the_key_is_an_error_and_not_a_duplicate() {
    let mut bench = bench();
    bench.foreign("CREATE UNIQUE INDEX one_deploy ON events (source)");
    bench.append(1);
    assert!(matches!(bench.writer.append(&draft(None), at(2)), Err(StoreError::Failed { .. })));
}

#[test]
fn an_event_reads_back_as_it_was_written() {
    let mut bench = bench();
    let full = Draft {
        owner: "octo".into(),
        repo: "hello".into(),
        summary: "two\nlines \u{1b}[31m".into(),
        payload: Some("{\"p\": [1, 2]}".into()),
        ..draft(Some("k"))
    };
    let id = bench.writer.append(&full, at(5)).unwrap().id();
    let (record, payload) = bench.reader.find(id).unwrap().unwrap();
    assert_eq!(payload.as_deref(), Some("{\"p\": [1, 2]}"));
    assert_eq!(record.event.received_at, 5_000_000_000);
    assert_eq!(record.event.summary, "two lines");
    assert_eq!(*record.event.fields, full.fields);
    assert_eq!((&*record.event.owner, &*record.event.repo, &*record.event.delivery_id), ("octo", "hello", "k"));
    assert_eq!(bench.reader.find(EventId::ZERO).unwrap().map(|_| ()), None);
}

#[test]
fn a_foreign_row_with_only_the_required_columns_is_an_event() {
    let bench = bench();
    bench.foreign("INSERT INTO events (source, event_type) VALUES ('cron', 'done'), ('cron', 'done')");
    let mut ids = Vec::new();
    bench
        .reader
        .scan(Seq::START, 10, false, &mut |row| {
            let Row::Event(record) = row else { panic!("{row:?}") };
            assert_eq!(record.event.ingest_method, ingest_method::FOREIGN);
            let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
            assert!(age.abs_diff(u128::from(record.event.id.timestamp_ms())) < 60_000, "{:?}", record.event.id);
            assert!(age.abs_diff(u128::try_from(record.event.received_at).unwrap() / 1_000_000) < 60_000);
            ids.push(record.event.id);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_row_that_cannot_be_decoded_is_named_and_the_next_one_is_read() {
    let mut bench = bench();
    for columns in [
        "(source, event_type, summary) VALUES ('x', 'y', CAST(x'ff' AS TEXT))",
        "(source, event_type, fields) VALUES ('x', 'y', '[]')",
        "(source, event_type, fields) VALUES ('x', 'y', '{')",
        "(source, event_type, fields) VALUES ('x', 'y', '{\"a\":\"' || hex(zeroblob(600000)) || '\"}')",
        "(source, event_type) VALUES ('', 'y')",
        "(source, event_type) VALUES (x'00', 'y')",
        "(source, event_type, event_id) VALUES ('x', 'y', 'mine')",
        "(source, event_type, received_at) VALUES ('x', 'y', 'today')",
        "(source, event_type, delivery_id) VALUES ('x', 'y', hex(zeroblob(600)))",
    ] {
        bench.foreign(&format!("INSERT INTO events {columns}"));
    }
    bench.append(1);
    let rows = bench.rows(0);
    for (row, problem) in rows.iter().zip([
        "summary is not UTF-8",
        "not a JSON object",
        "fields is not JSON",
        "over 1048576 bytes",
        "source is empty",
        "source is not text",
        "event_id is not an event id",
        "received_at is not an integer",
        "delivery_id has 1200 bytes",
    ]) {
        assert!(row.starts_with("unreadable") && row.contains(problem), "{row} / {problem}");
    }
    assert_eq!(rows[9], "event 10");
}

#[test]
fn the_newest_place_counts_rows_that_have_no_readable_name() {
    let mut bench = bench();
    assert_eq!(bench.reader.newest().unwrap(), Position::START);
    let named = bench.append(1);
    assert_eq!(bench.reader.newest().unwrap(), named);
    bench.foreign("INSERT INTO events (source, event_type, event_id) VALUES ('x', 'y', 'mine')");
    assert_eq!(bench.reader.newest().unwrap(), Position { seq: Seq(2), id: named.id });
}

#[test]
fn a_scan_that_is_broken_off_has_not_reached_the_end() {
    let mut bench = bench();
    for second in 1..=3 {
        bench.append(second);
    }
    let mut seen = 0;
    let mut first = |_| {
        seen += 1;
        ControlFlow::Break(())
    };
    assert!(!bench.reader.scan(Seq::START, 10, false, &mut first).unwrap());
    assert_eq!(seen, 1);
    let mut all = |_| ControlFlow::Continue(());
    assert!(!bench.reader.scan(Seq::START, 3, false, &mut all).unwrap(), "there may be more");
    assert!(bench.reader.scan(Seq(3), 3, false, &mut all).unwrap());
}

#[test]
fn a_pruned_cursor_is_told_from_a_foreign_one() {
    let mut bench = bench();
    let rows: Vec<Position> = (1..=10).map(|second| bench.append(1_000 * second)).collect();
    assert_eq!(bench.writer.prune_step(&Keep { rows: Some(4), ..Keep::default() }, at(0)).unwrap(), 6);
    assert_eq!(bench.rows(3), ["lost 3 through 6", "event 7", "event 8", "event 9", "event 10"]);
    assert_eq!(bench.rows(6), ["event 7", "event 8", "event 9", "event 10"]);
    let resolve = |id| {
        let found = bench.reader.resolve(id).unwrap();
        (found.position.seq.0, found.gap)
    };
    assert_eq!(resolve(EventId::ZERO), (0, None), "the page says what is lost");
    assert_eq!(resolve(rows[2].id), (6, Some(GapReason::Pruned)));
    assert_eq!(resolve(rows[5].id), (6, None), "nothing after the horizon is lost");
    assert_eq!(resolve(rows[7].id), (8, None));
    assert_eq!(resolve(EventId::at(at(8_500))), (8, Some(GapReason::UnknownCursor)), "goes on at its time");
    assert_eq!(resolve(EventId::at(at(99_000))), (10, Some(GapReason::UnknownCursor)));
}

#[test]
fn a_time_points_before_its_first_row_and_a_pruned_time_is_seen_as_such() {
    let mut bench = bench();
    assert_eq!(bench.reader.before(at(5)).unwrap(), Position::START);
    for second in 1..=4 {
        bench.append(1_000 * second);
    }
    assert_eq!(bench.reader.before(at(500)).unwrap(), Position::START);
    assert_eq!(bench.reader.before(at(2_500)).unwrap().seq, Seq(2));
    assert_eq!(bench.reader.before(at(9_000)).unwrap().seq, Seq(4));
    bench.writer.prune_step(&Keep { rows: Some(1), ..Keep::default() }, at(0)).unwrap();
    let pruned = bench.reader.before(at(2_500)).unwrap();
    assert_eq!(bench.reader.resolve(pruned.id).unwrap().gap, Some(GapReason::Pruned));
    let empty_since = bench.reader.before(at(3_500)).unwrap();
    assert_eq!(bench.reader.resolve(empty_since.id).unwrap().gap, None, "nothing of that time was pruned");
}

#[test]
fn pruning_removes_by_age_by_number_and_by_size_and_stops() {
    let mut bench = bench();
    let prune = |bench: &mut Bench, keep: Keep| {
        let mut removed = 0;
        loop {
            match bench.writer.prune_step(&keep, at(10_000)).unwrap() {
                0 => return removed,
                rows => removed += rows,
            }
        }
    };
    for second in 1..=3_000 {
        bench.append(second);
    }
    assert_eq!(prune(&mut bench, Keep::default()), 0);
    assert_eq!(prune(&mut bench, Keep { age: Some(Duration::from_secs(9_500)), ..Keep::default() }), 499);
    assert_eq!(prune(&mut bench, Keep { rows: Some(100), ..Keep::default() }), 2_401);
    assert_eq!(prune(&mut bench, Keep { bytes: Some(0), ..Keep::default() }), 100);
    assert_eq!(bench.rows(3_000), [] as [&str; 0]);
    let newest = bench.reader.newest().unwrap();
    assert_eq!(newest.seq, Seq(3_000));
    assert_eq!(bench.append(1).seq, Seq(3_001), "a sequence is never used twice");
    assert_eq!(bench.rows(newest.seq.0), ["event 3001"]);
}

#[test]
fn makers_of_the_log_at_once_share_one() {
    const MAKERS: usize = 8;
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let paths = LogPaths::new(directory.path());
        let start = std::sync::Barrier::new(MAKERS);
        std::thread::scope(|scope| {
            for _ in 0..MAKERS {
                scope.spawn(|| {
                    start.wait();
                    Writer::open(&paths).unwrap().append(&draft(None), at(1)).unwrap();
                });
            }
        });
        assert_eq!(Reader::open(&paths).unwrap().newest().unwrap().seq, Seq(8), "everybody's event is in the one log");
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn pruning_by_size_removes_the_excess_and_not_everything() {
    let mut bench = bench();
    let large = Draft { payload: Some("x".repeat(100_000)), ..draft(None) };
    bench.writer.append_all(&vec![large; 100], at(1)).unwrap();
    let size = bench.reader.size().unwrap().bytes;
    let prune = |bench: &mut Bench, bytes: u64| {
        let keep = Keep { bytes: Some(bytes), ..Keep::default() };
        let steps = std::iter::from_fn(|| Some(bench.writer.prune_step(&keep, at(2)).unwrap()));
        steps.take_while(|&removed| removed > 0).collect::<Vec<_>>()
    };
    assert_eq!(prune(&mut bench, size), [] as [usize; 0]);
    assert_eq!(prune(&mut bench, size - 1), [1], "one row covers it");
    assert!((9..=10).contains(&prune(&mut bench, size / 10 * 9).iter().sum::<usize>()));
    let steps = prune(&mut bench, size / 10);
    assert!(steps.len() > 1 && steps[0] < 50, "a step has bytes, too: {steps:?}");
    assert!((8..=10).contains(&bench.reader.size().unwrap().rows), "{steps:?}");
    assert!(bench.reader.size().unwrap().bytes <= size / 10, "what is free has been given back");
    prune(&mut bench, 0);
    assert_eq!(bench.reader.size().unwrap().rows, 0);
    assert!(bench.reader.size().unwrap().bytes < 100_000);
}

#[test]
fn a_row_that_is_larger_than_a_step_is_given_back_in_several() {
    let mut bench = bench();
    let huge = Draft { payload: Some("x".repeat(10_000_000)), ..draft(None) };
    bench.writer.append(&huge, at(1)).unwrap();
    let keep = Keep { rows: Some(0), ..Keep::default() };
    assert_eq!(bench.writer.prune_step(&keep, at(2)).unwrap(), 1);
    assert!(bench.reader.size().unwrap().bytes > 4_000_000, "no writer waits for all of it");
    assert_eq!(bench.writer.prune_step(&keep, at(2)).unwrap(), 0);
    assert!(bench.reader.size().unwrap().bytes < 100_000);
}

#[test]
fn a_foreign_summary_is_cleaned_whatever_its_row_claims_and_a_huge_one_is_not_read() {
    let bench = bench();
    bench.foreign(
        "INSERT INTO events (source, event_type, ingest_method, summary)
         VALUES ('x', 'y', 'emit', 'red ' || char(27) || '[31m'), ('x', 'y', 'webhook', hex(zeroblob(10000)))",
    );
    let mut summaries = Vec::new();
    let visit = &mut |row| {
        let Row::Event(record) = row else { panic!("{row:?}") };
        summaries.push(record.event.summary);
        ControlFlow::Continue(())
    };
    bench.reader.scan(Seq::START, 10, false, visit).unwrap();
    assert_eq!(summaries, ["red", ""]);
}

#[test]
fn a_missing_log_is_told_as_missing() {
    let directory = tempfile::tempdir().unwrap();
    let paths = LogPaths::new(directory.path().join("nowhere"));
    assert!(matches!(Reader::open(&paths), Err(StoreError::Missing(_))));
    assert!(!paths.directory().exists());
}
