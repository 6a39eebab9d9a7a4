//! Limits that the operating system sets to this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one and returns it. The default soft limit, 1,024, exists for
/// programs that use `select`.
#[must_use]
pub fn raise_open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    let now = if setrlimit(Resource::Nofile, limit).is_ok() { limit.maximum } else { before };
    now.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}
