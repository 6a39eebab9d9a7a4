//! waitbus: the event bus of a workstation.
pub mod hub;
pub mod model;
pub mod store;
