//! The nouns of the bus, without I/O: what an event is, how it is named, asked for, framed and bounded.
//!
//! Nothing here touches a file, a socket, the clock or the environment, so every rule below can be tested as a
//! plain function.

pub mod change;
pub mod clause;
pub mod codec;
pub mod duration;
pub mod event;
pub mod event_fields;
pub mod event_frame;
pub mod expression;
pub mod fence;
pub mod filter;
pub mod frame;
mod glob;
pub mod id;
pub mod limits;
pub mod message;
pub mod nearest;
pub mod predicate;
pub mod row;
pub mod sha;
pub mod source;
pub mod subscribe;
pub mod telling;
pub mod text;
pub mod verdict;
pub mod vocabulary;
