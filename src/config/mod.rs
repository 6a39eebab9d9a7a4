//! Where things are and what was configured: the only `std::env` and the only path literals of the program.

pub mod directories;
pub mod engines;
pub mod environment;
pub mod heartbeat;
pub mod secret;
pub mod section;
pub mod settings;
