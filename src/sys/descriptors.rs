//! The descriptors that a process has, where that matters: before it starts another one, and to learn what that wrote.

use std::fs::{self, File};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// Marks every descriptor but the standard ones close-on-exec, also those that this process has inherited itself:
/// a hub that a shell's pipeline started must not keep that pipeline open.
pub fn keep_to_ourselves() {
    // The directory's own descriptor is among them, and closed by the time it is marked; that error means nothing.
    let open = fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let numbers: Vec<RawFd> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|&number| number > 2) {
        // SAFETY: the number is only used to set a flag; if it has been closed meanwhile, that fails with EBADF.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
    }
}

/// The file that is standard error, opened anew to be read from; a system may refuse that where it was opened only to
/// be written to.
pub fn reopen_standard_error() -> io::Result<File> {
    File::open("/dev/fd/2")
}
