//! Parse, run, exit code: all of it is in [`waitbus::cmd`].

use std::process::ExitCode;

fn main() -> ExitCode {
    waitbus::cmd::main()
}
