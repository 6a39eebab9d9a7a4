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
mod sandbox;
mod secrets;
mod supervision;
mod traces;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::LazyLock;

use machine::Machine;

use crate::harness::skip;

/// The suites of Debian that there may be a root filesystem of, with systemd 252, 257, and the newest there is.
const SUITES: [&str; 3] = ["bookworm", "trixie", "sid"];

/// The root filesystems that are here, or why machines cannot be had.
static ROOTS: LazyLock<Result<Vec<(&str, PathBuf)>, String>> = LazyLock::new(|| {
    let directory = directory();
    let there = |suite: &&str| directory.join(suite).is_dir();
    let roots: Vec<_> = SUITES.into_iter().filter(there).map(|suite| (suite, directory.join(suite))).collect();
    if roots.is_empty() {
        let directory = directory.display();
        return Err(format!("there is no root filesystem in {directory}: tests/it/booted/roots makes them"));
    }
    let mut good = Vec::new();
    for (suite, root) in roots {
        match Machine::can_run(suite, &root) {
            Ok(()) => good.push((suite, root)),
            Err(reason) => skip(&format!("booted {suite}"), &reason),
        }
    }
    if good.is_empty() { Err("no machine can be run here: it takes root and namespaces".to_owned()) } else { Ok(good) }
});

/// Where `.ci/run` keeps them.
fn directory() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("WAITBUS_TEST_ROOTS").unwrap_or_else(|| {
        let cache = variable("XDG_CACHE_HOME").unwrap_or_else(|| variable("HOME").unwrap_or_default().join(".cache"));
        cache.join("waitbus-ci/roots")
    })
}

/// Runs a scenario on every systemd that is here, each on a machine of its own, and fails with all that failed.
fn on_every_systemd(name: &str, scenario: impl Fn(&Machine)) {
    let roots = match &*ROOTS {
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
