//! What a person or a stranger gives to `--where`: an expression that can be asked of any event without ending anything
//! but itself, or a refusal that points into the text. What it requires is required.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waitbus::model::expression::Expression;
use waitbus_fuzz::RECORD;

fuzz_target!(init: {
    // A panic is caught where it is one event's matter, and here it is a finding all the same: `evaluate` tells.
    std::panic::set_hook(Box::new(|_| {}));
}, |text: &str| {
    match Expression::compile(text) {
        Ok(expression) => {
            let truth = expression.evaluate(&RECORD).expect("no evaluation panics");
            let required = expression.required().iter().all(|condition| condition.holds(&RECORD));
            assert!(required || !truth, "{text:?} is true without what it requires");
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: column {}", error.column);
            assert!(!error.problem.is_empty());
        }
    }
});
