//! What a person or a stranger gives to `--match`: a condition that can be asked of any event, or a refusal that
//! points into the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waitbus::model::predicate::Condition;
use waitbus_fuzz::RECORD;

fuzz_target!(|text: &str| {
    match Condition::parse(text) {
        Ok(condition) => {
            // A missing key makes every operator false, `!=` too.
            let known = RECORD.lookup(&condition.key).is_some();
            assert!(known || !condition.holds(&RECORD), "{text:?} holds for a key that is not there");
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: column {}", error.column);
            assert!(!error.problem.is_empty());
        }
    }
});
