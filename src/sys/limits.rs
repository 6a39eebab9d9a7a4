//! Limits that the operating system sets to this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// More than this the kernel of macOS does not let a process ask for, whatever its hard limit says (`OPEN_MAX` of
/// `sys/syslimits.h`, setrlimit(2), "COMPATIBILITY"); and there the hard limit usually says that there is none.
const OPEN_MAX: Option<u64> = if cfg!(target_os = "macos") { Some(10_240) } else { None };

/// Raises the soft limit of open files as far as it goes and returns it. The default soft limit (1,024 on Linux, 256 on
/// macOS) exists for programs that use `select`.
#[must_use]
pub fn raise_open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = lower(limit.maximum, OPEN_MAX);
    let now = if setrlimit(Resource::Nofile, limit).is_ok() { limit.current } else { before };
    now.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// The lower of two limits, where `None` is no limit.
fn lower(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    [a, b].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_at_all_is_higher_than_any() {
        assert_eq!(lower(None, Some(10_240)), Some(10_240));
        assert_eq!(lower(Some(4_096), Some(10_240)), Some(4_096));
        assert_eq!(lower(Some(524_288), None), Some(524_288));
        assert_eq!(lower(None, None), None);
    }

    #[test]
    fn the_limit_that_is_returned_is_the_one_that_is_in_force() {
        let raised = raise_open_files();
        let now = getrlimit(Resource::Nofile).current;
        assert_eq!(now.map_or(usize::MAX, |files| usize::try_from(files).unwrap()), raised);
    }
}
