//! Durations and points in time as people type them.

pub(super) use crate::client::when::{When, cursor, when};
pub(super) use crate::model::duration::parse as duration;
