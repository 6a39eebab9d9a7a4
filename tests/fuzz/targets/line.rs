//! What a program prints that is a source: an event of that source that may be stored as it is, a position that fits a
//! variable of the environment, or the reason why it is neither.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waitbus::ingest::line::{Printed, printed};
use waitbus::model::event::ingest_method::{EMIT, SOURCE};
use waitbus::model::limits::MAX_POSITION_BYTES;
use waitbus::model::telling::Telling;

fuzz_target!(|bytes: &[u8]| {
    match printed(bytes, "disk", SOURCE) {
        Ok(Printed::Event(draft)) => {
            assert_eq!((&*draft.source, draft.check()), ("disk", Ok(())));
            // Whoever names the source says the same.
            let told: Telling = serde_json::from_slice(bytes).expect("it was read");
            assert_eq!(told.into_draft(Some("disk"), SOURCE).as_ref(), Ok(&*draft));
        }
        Ok(Printed::Position(position)) => {
            assert!(position.len() <= MAX_POSITION_BYTES && !position.contains(char::is_control), "{position:?}");
        }
        Err(problem) => assert!(!problem.is_empty()),
    }
    if let Ok(draft) = serde_json::from_slice::<Telling>(bytes).map(|told| told.into_draft(None, EMIT)) {
        assert!(draft.is_err() || draft.is_ok_and(|draft| draft.check() == Ok(())));
    }
});
