//! What a person or a stranger gives to `--all-of` and its like: a clause that can be asked of any event, and whose
//! conditions the hub can read, or a refusal that points into the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waitbus::model::clause::Clause;
use waitbus::model::predicate::{Condition, Conjunction};
use waitbus_fuzz::RECORD;

fuzz_target!(|text: &str| {
    match Clause::parse(text) {
        Ok(clause) => {
            let satisfied = clause.is_satisfied_by(&RECORD);
            assert!(!satisfied || clause.concerns(&RECORD), "{text:?} is satisfied outside of its scope");
            // Whatever decides about the clause has to pass what the hub is asked for.
            assert!(!clause.concerns(&RECORD) || passes(&clause.scope()), "{text:?}: {:?}", clause.scope());
            assert!(!satisfied || passes(&clause.satisfaction()), "{text:?}: {:?}", clause.satisfaction());
        }
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: column {}", error.column);
            assert!(!error.problem.is_empty());
        }
    }
});

fn passes(texts: &[String]) -> bool {
    let read = |text: &String| Condition::parse(text).expect("a condition that was read before");
    Conjunction::new(texts.iter().map(read).collect()).holds(&RECORD)
}
