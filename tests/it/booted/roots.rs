//! The root filesystems that are here, each with the systemd of its suite. The script `roots` makes them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::machine::Machine;
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

/// The suites that a machine can be had of, with their root filesystems, or why there is none.
pub fn here() -> Result<impl Iterator<Item = (&'static str, &'static Path)>, &'static str> {
    let roots = ROOTS.as_ref().map_err(|reason| &**reason)?;
    Ok(roots.iter().map(|(suite, root)| (*suite, &**root)))
}
