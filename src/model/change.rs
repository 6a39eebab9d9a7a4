//! What is said again and again, and is an event only when it has become otherwise: an alert fires, and its sender repeats
//! that for as long as it does.

use super::event::Draft;

/// The state of something, as its sender has it now.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What it is the state of, without `/`.
    pub of: String,
    /// Its state, without `/`.
    pub state: String,
    /// The event, if this is news. Its `delivery_id` is made of the two, which have to fit there, and of how often this has
    /// changed.
    pub draft: Draft,
}
