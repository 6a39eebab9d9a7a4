//! The one integration binary: the built program, real sockets, real processes, a real log. Every test is named after
//! the property that it proves.

mod harness;

mod waiting;
