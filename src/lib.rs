//! waitbus: the event bus of a workstation.
pub mod model;
pub mod store;
