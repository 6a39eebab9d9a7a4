//! From what a sender posted to what the log stores: bytes in, a [`Draft`](crate::model::event::Draft) or the reason
//! for refusing them out.
//!
//! Nothing here touches a socket, the clock or the environment, and nothing is logged: the listener hands in what it
//! has received and decides what to answer. A delivery passes two doors, in this order: [`signature`] proves that the
//! sender knows the secret, over the exact bytes received; only then does [`github`] look into them.

pub mod form;
pub mod github;
pub mod junit;
pub mod line;
pub mod signature;
