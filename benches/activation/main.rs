//! How long whoever connects first has to wait, on each systemd that is here: `cargo bench --bench activation`, as root
//! and with the root filesystems of the booted tests. Elsewhere there is nothing to measure.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends when it cannot measure"
)]
#![allow(dead_code, unreachable_pub, reason = "the harness of the tests has more than is needed here")]

#[cfg(target_os = "linux")]
mod measure;

#[cfg(target_os = "linux")]
#[path = "../../tests/it/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
#[path = "../../tests/it/manager.rs"]
mod manager;
#[cfg(target_os = "linux")]
#[path = "../../tests/it/booted"]
mod booted {
    pub mod machine;
    pub mod roots;
}

fn main() {
    #[cfg(target_os = "linux")]
    measure::main();
}
