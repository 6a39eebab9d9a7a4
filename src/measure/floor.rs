//! What the same work costs without the program: the same commit of the same row, and the same hops between processes.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::SystemTime;

use super::bus::draft;
use super::receiver::{self, Receiver, Seen};
use super::schedule::{Pace, Schedule};
use super::{Latencies, Progress, Roles, Unmeasured, failed};
use crate::store::{LogPaths, Writer};

/// Bytes of a frame, its length included: as many as that of [`draft`] has.
pub const FRAME_BYTES: usize = 604;

/// Two raw hops, with one commit of the row before the first. The log and the sockets go into directories of their own
/// below those two.
pub fn commit_and_two_hops(
    log: &Path,
    sockets: &Path,
    pace: Pace,
    roles: Roles<'_>,
    progress: &Progress,
) -> Result<Latencies, Unmeasured> {
    let log = tempfile::tempdir_in(log).map_err(failed("no directory can be made for the log of the floor"))?;
    let sockets = tempfile::tempdir_in(sockets).map_err(failed("no directory can be made for sockets"))?;
    // What receives is there first, so that what passes on can reach it.
    let receiver = Receiver::start(roles("frames").arg(sockets.path()).arg(pace.total().to_string()));
    let receiver = receiver.map_err(failed("the receiving process does not start"))?;
    let passing = Receiver::start(roles("pass").arg(sockets.path()));
    let _passing = passing.map_err(failed("the passing process does not start"))?;
    let bell = UnixStream::connect(sockets.path().join("bell"));
    let mut bell = bell.map_err(failed("the passing process cannot be reached"))?;
    let mut writer = Writer::open(&LogPaths::new(log.path()))?;
    let schedule = Schedule::begin(pace.rate);
    for number in 0..pace.total() {
        progress.one_more()?;
        schedule.wait_for(number);
        writer.append(&draft(number), SystemTime::now())?;
        bell.write_all(&number.to_be_bytes()).map_err(failed("the passing process has gone"))?;
    }
    receiver.latencies(&schedule, pace.warm_up()).map_err(failed("the receiving process does not have everything"))
}

/// The role `frames`: receives raw frames from whoever connects to the socket `frames` of a directory.
pub fn receive(directory: &Path, count: usize, out: &mut impl Write) -> io::Result<()> {
    let listener = UnixListener::bind(directory.join("frames"))?;
    Seen::ready(out)?;
    let (mut stream, _) = listener.accept()?;
    let mut seen = Seen::expecting(count);
    let mut frame = [0; FRAME_BYTES];
    for _ in 0..count {
        // A length and what it announces, as every client reads.
        stream.read_exact(&mut frame[..4])?;
        stream.read_exact(&mut frame[4..])?;
        let at = receiver::now();
        let number = frame[4..].first_chunk().copied().map_or(0, u64::from_be_bytes);
        seen.note(number, at);
    }
    seen.tell(out)
}

/// The role `pass`: passes on what comes to the socket `bell`, as a frame, to whoever listens at `frames`. It ends with
/// whoever rings.
pub fn pass(directory: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut frames = UnixStream::connect(directory.join("frames"))?;
    let bell = UnixListener::bind(directory.join("bell"))?;
    Seen::ready(out)?;
    let (mut bell, _) = bell.accept()?;
    let mut number = [0; 8];
    while bell.read_exact(&mut number).is_ok() {
        frames.write_all(&frame(u64::from_be_bytes(number)))?;
    }
    Ok(())
}

/// A frame with its number.
#[must_use]
pub fn frame(number: u64) -> [u8; FRAME_BYTES] {
    let mut frame = [b'x'; FRAME_BYTES];
    let length = u32::try_from(FRAME_BYTES - 4).unwrap_or(0);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame[4..12].copy_from_slice(&number.to_be_bytes());
    frame
}
