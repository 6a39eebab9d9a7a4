//! What came from outside, on its way to an agent: whatever it is, and wherever it is cut, it stays in its fence.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use waitbus::model::fence::{CLOSE, Fenced, OPEN};
use waitbus::model::text::is_invisible;

fn holds(fenced: &Fenced) -> &str {
    let inside = fenced.text().strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)).expect("both tags");
    let bad = |c: char| matches!(c, '<' | '>') || c.is_control() || is_invisible(c);
    assert!(!inside.contains(bad), "{inside:?}");
    inside
}

fuzz_target!(|bytes: &[u8]| {
    let (cut, text) = bytes.split_first().map_or((0, ""), |(cut, rest)| (*cut, std::str::from_utf8(rest).unwrap_or("")));
    let whole = Fenced::of_stored(text);
    let inside = holds(&whole);
    let read: Value = serde_json::from_str(inside).expect("one JSON value");
    // Cleaning what is clean changes nothing.
    assert_eq!(Fenced::of(read), whole);
    let preview = whole.preview(usize::from(cut) * 4);
    assert!(inside.starts_with(holds(&preview)));
});
