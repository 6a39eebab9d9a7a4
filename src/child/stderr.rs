//! The last bytes that a command says on standard error, where keeping them changes nothing for the command.
//!
//! - A terminal stays the command's own terminal, and nothing is kept.
//! - A file stays the command's own file; its end is read afterwards.
//! - A pipe or socket is replaced by a pipe that a thread copies on, byte by byte as they come. The command sees a
//!   pipe, as before. It is left alone when standard output is the same one, because a copy would reorder the two.
//!
//! A command may leave something behind that still writes when it has ended itself. Then the copying goes on in a
//! process of its own, as long as that does.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::{Errno, ioctl_fionbio};

use crate::model::limits::STDERR_TAIL_BYTES;
use crate::sys::descriptors;

/// How the end of standard error is kept.
#[derive(Debug)]
pub enum Tail {
    /// Not at all.
    None,
    /// Whatever is written into this file, from this place on.
    File(File, u64),
    /// By a thread that copies it; dropping the other end tells it that the command has ended.
    Copied(JoinHandle<Copied>, PipeWriter),
}

/// The standard descriptors of this process, which a command inherits.
#[derive(Clone, Copy, Debug)]
pub struct Standard {
    /// Standard output.
    pub output: BorrowedFd<'static>,
    /// Standard error.
    pub error: BorrowedFd<'static>,
}

/// What a copy has come to.
#[derive(Debug)]
pub struct Copied {
    into: BorrowedFd<'static>,
    last: Vec<u8>,
    /// Where more may come from: somebody still holds the other end.
    open: Option<PipeReader>,
}

impl Tail {
    /// Prepares a command that has not been started yet. What cannot be had is done without.
    #[must_use]
    pub fn keep(command: &mut Command, standard: Standard) -> Tail {
        let Ok(stat) = fstat(standard.error) else { return Tail::None };
        let is_output = || fstat(standard.output).is_ok_and(|output| is_same(&output, &stat));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => regular(&stat).map_or(Tail::None, |(file, from)| Tail::File(file, from)),
            FileType::Fifo | FileType::Socket if !is_output() => copy(command, standard.error).unwrap_or(Tail::None),
            _ => Tail::None,
        }
    }

    /// The last bytes, once the command has ended. `relay` is what copies standard input to standard error, should
    /// somebody still write.
    #[must_use]
    pub fn finish(self, relay: impl FnOnce() -> Option<Command>) -> Vec<u8> {
        match self {
            Tail::None => Vec::new(),
            Tail::File(file, from) => end_of(file, from).unwrap_or_default(),
            Tail::Copied(copying, running) => {
                drop(running);
                let Ok(Copied { into, last, open }) = copying.join() else { return Vec::new() };
                if let Some(rest) = open {
                    hand_over(rest, into, relay());
                }
                last
            }
        }
    }
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// The file that is standard error, for reading, if that is allowed; and its present end.
fn regular(stat: &Stat) -> Option<(File, u64)> {
    let file = descriptors::reopen_standard_error().ok()?;
    let end = file.metadata().ok()?.len();
    is_same(&fstat(&file).ok()?, stat).then_some((file, end))
}

fn end_of(mut file: File, from: u64) -> io::Result<Vec<u8>> {
    let end = file.metadata()?.len();
    let bound = STDERR_TAIL_BYTES as u64;
    let mut last = Vec::new();
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(bound))))?;
    file.take(bound).read_to_end(&mut last)?;
    Ok(last)
}

fn copy(command: &mut Command, into: BorrowedFd<'static>) -> io::Result<Tail> {
    let (from, to) = io::pipe()?;
    // Readable without anything to read, once the command has ended.
    let (ended, running) = io::pipe()?;
    ioctl_fionbio(&from, true)?;
    let copying = thread::Builder::new().name("stderr".into()).spawn(move || copy_until(from, into, &ended))?;
    command.stderr(to);
    Ok(Tail::Copied(copying, running))
}

/// Copies until nobody can write any more, or nobody reads, or the command has ended and what it wrote is copied.
fn copy_until(mut from: PipeReader, into: BorrowedFd<'static>, ended: &PipeReader) -> Copied {
    let mut last = Vec::new();
    let mut buffer = [0; STDERR_TAIL_BYTES];
    let mut running = true;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Copied { into, last, open: None },
            Ok(count) => {
                keep_end(&mut last, &buffer[..count]);
                // Nobody reads: by closing our end, we let whoever writes know it.
                if write_all(into, &buffer[..count]).is_err() {
                    return Copied { into, last, open: None };
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !running {
                    return Copied { into, last, open: Some(from) };
                }
                running = !is_over(&from, ended);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Copied { into, last, open: None },
        }
    }
}

/// Waits for something to read; tells whether the command has ended. Everything it wrote can be read by then.
fn is_over(from: &PipeReader, ended: &PipeReader) -> bool {
    let mut either = [PollFd::new(from, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
    match poll(&mut either, None) {
        Ok(_) => !either[1].revents().is_empty(),
        Err(error) => error != Errno::INTR,
    }
}

/// Writes everything, also where the descriptor has been set not to block.
fn write_all(into: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(into, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(&into, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn keep_end(last: &mut Vec<u8>, more: &[u8]) {
    last.extend_from_slice(more);
    let over = last.len().saturating_sub(STDERR_TAIL_BYTES);
    last.drain(..over);
}

/// Has another process copy what is still to come. Without one, that is ours to do.
fn hand_over(rest: PipeReader, into: BorrowedFd<'_>, relay: Option<Command>) {
    let _ = ioctl_fionbio(&rest, false);
    let copy = rest.try_clone();
    let started = relay.map(|mut relay| relay.stdin(rest).stdout(Stdio::null()).spawn());
    if !matches!(started, Some(Ok(_)))
        && let Ok(rest) = copy
    {
        copy_all(rest.as_fd(), into);
    }
}

/// Copies from one descriptor to another until nobody writes or reads any more.
pub fn copy_all(from: BorrowedFd<'_>, into: BorrowedFd<'_>) {
    let mut buffer = [0; STDERR_TAIL_BYTES];
    loop {
        match rustix::io::read(from, &mut buffer) {
            Ok(0) => return,
            Ok(count) if write_all(into, &buffer[..count]).is_err() => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
