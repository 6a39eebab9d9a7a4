//! How much memory another process takes, where the kernel tells (Linux: `/proc/PID/smaps_rollup`).

use std::fs;

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What is in memory of it, the program itself and what it shares with others included.
    pub resident: u64,
    /// Of that, what belongs to no file: what the process has made.
    pub own: u64,
}

/// The memory of a process of this user.
#[must_use]
pub fn of(process: u32) -> Option<Memory> {
    parse(&fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?)
}

fn parse(text: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
    };
    Some(Memory { resident: bytes("Rss:")?, own: bytes("Anonymous:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_read() {
        let text = "5571 ---p 00000000 00:00 0 [rollup]\nRss:                8708 kB\nPss:  1 kB\nAnonymous:           980 kB\n";
        assert_eq!(parse(text), Some(Memory { resident: 8_708 * 1_024, own: 980 * 1_024 }));
        assert_eq!(parse("Rss: unknown\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_memory_of_its_own_and_one_that_is_not_there_has_none() {
        let ours = of(std::process::id()).unwrap();
        assert!(0 < ours.own && ours.own < ours.resident);
        assert_eq!(of(u32::MAX), None);
    }
}
