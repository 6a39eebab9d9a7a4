//! The clock that all processes of a machine share, for whoever measures across them.

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in nanoseconds since some moment that is the same for every process until the next boot.
#[must_use]
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither is negative: the clock starts at zero.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Has the kernel wake this thread when its sleep is over, and not up to 50 µs later to save power (prctl(2),
/// `PR_SET_TIMERSLACK`). Where that cannot be asked for, nothing changes.
pub fn wake_exactly() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
