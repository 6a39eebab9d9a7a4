//! What a test runner, or anything else, has left where `run --junit` looks: a report whose numbers agree and whose names
//! are fit for an event, or the reason why it is none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waitbus::ingest::junit;
use waitbus::model::limits::{MAX_FAILING_TESTS, MAX_TEST_NAME_CHARS};
use waitbus::model::text::{last_lines, one_line};

fuzz_target!(|bytes: &[u8]| {
    match junit::read(bytes) {
        Ok(report) => {
            let bad = report.failed + report.errors;
            assert_eq!(report.total(), bad + report.passed + report.skipped);
            assert_eq!(report.failing.len() as u64, bad.min(MAX_FAILING_TESTS as u64));
            for name in &report.failing {
                assert!(name.chars().count() <= MAX_TEST_NAME_CHARS && one_line(name) == *name, "{name:?}");
            }
        }
        Err(problem) => assert!(!problem.to_string().contains(char::is_control), "{problem:?}"),
    }
    // The same bytes as the end of a command's standard error.
    let lines = last_lines(&String::from_utf8_lossy(bytes), 20);
    assert!(lines.split('\n').count() <= 20 && !lines.contains(|c: char| c.is_control() && c != '\n'), "{lines:?}");
});
