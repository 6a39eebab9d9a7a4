//! What a program prints that is a source: an event of that source that may be stored as it is, a position that fits a
//! variable of the environment, or the reason why it is neither.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waitbus::ingest::line::{Line, Printed, printed};
use waitbus::model::event::ingest_method::{EMIT, SOURCE};
use waitbus::model::limits::MAX_POSITION_BYTES;

fuzz_target!(|bytes: &[u8]| {
    match printed(bytes, "disk", SOURCE) {
        Ok(Printed::Event(draft)) => {
            assert_eq!((&*draft.source, draft.check()), ("disk", Ok(())));
            // Whoever names the source says the same.
            let again = Line::parse(bytes).and_then(|line| line.into_draft(Some("disk"), SOURCE));
            assert_eq!(again.as_ref(), Ok(&*draft));
        }
        Ok(Printed::Position(position)) => {
            assert!(position.len() <= MAX_POSITION_BYTES && !position.contains(char::is_control), "{position:?}");
        }
        Err(problem) => assert!(!problem.is_empty()),
    }
    if let Ok(draft) = Line::parse(bytes).and_then(|line| line.into_draft(None, EMIT)) {
        assert_eq!(draft.check(), Ok(()));
    }
});
