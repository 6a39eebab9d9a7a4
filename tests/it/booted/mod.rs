//! The program under a systemd that was booted for it: every scenario on every version that is here, as an ordinary
//! user with linger. `roots` makes the root filesystems, `boot.sh` a machine from one of them.

mod machine;

mod activation;
mod handover;
mod idle;
mod installation;
mod package;
mod repair;
mod restart;
mod roots;
mod sandbox;
mod secrets;
mod sources;
mod supervision;
mod traces;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use machine::Machine;

use crate::harness::skip;

/// Runs a scenario on every systemd that is here, each on a machine of its own, and fails with all that failed.
fn on_every_systemd(name: &str, scenario: impl Fn(&Machine)) {
    let roots = match roots::here() {
        Ok(roots) => roots,
        Err(reason) => return skip(name, reason),
    };
    let mut failed = None;
    for (suite, root) in roots {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let machine = Machine::boot(suite, root);
            println!("{name} on {suite}");
            scenario(&machine);
        }));
        if let Err(panic) = outcome {
            println!("{name} failed on {suite}");
            failed = Some(panic);
        }
    }
    if let Some(panic) = failed {
        resume_unwind(panic);
    }
}
