//! A process that notes when it had each sample, and what it tells whoever has started it.
//!
//! Its standard output says `ready` once it would miss nothing, and when it has all that it was told to expect a line
//! `NUMBER NANOSECONDS` for each, and `end`.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::latencies::Latencies;
use super::schedule::Schedule;
use crate::sys::clock;

/// What is known of the receiving process by itself.
#[derive(Debug, Default)]
pub struct Seen(Vec<(u64, u64)>);

impl Seen {
    /// Makes room for so many, so that none of them has to wait for memory.
    #[must_use]
    pub fn expecting(count: usize) -> Seen {
        Seen(Vec::with_capacity(count))
    }

    /// A sample has been received just now. Call [`clock::monotonic`] before anything else is done with it.
    pub fn note(&mut self, number: u64, at: u64) {
        self.0.push((number, at));
    }

    /// Tells that nothing would be missed any more.
    pub fn ready(out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "ready")?;
        out.flush()
    }

    /// Tells everything.
    pub fn tell(&self, out: &mut impl Write) -> io::Result<()> {
        self.0.iter().try_for_each(|(number, at)| writeln!(out, "{number} {at}"))?;
        writeln!(out, "end")?;
        out.flush()
    }
}

/// The receiving process, seen from the sender. It is killed when this is dropped.
#[derive(Debug)]
pub struct Receiver {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Receiver {
    /// Starts it, and returns when it would miss nothing.
    pub fn start(command: &mut Command) -> io::Result<Receiver> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let lines = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut receiver = Receiver { child, lines: BufReader::new(lines) };
        let mut line = String::new();
        receiver.lines.read_line(&mut line)?;
        if line.trim() == "ready" { Ok(receiver) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Waits until it has everything. Samples whose number is below `warm_up` are left out, and late ones are not.
    /// Numbers count from 0 and are those of the schedule.
    pub fn latencies(self, schedule: &Schedule, warm_up: u64) -> io::Result<Latencies> {
        self.latencies_since(|number| schedule.due(number), warm_up)
    }

    /// The same for samples that count from another time, in nanoseconds of [`now`], which their sender knows: the
    /// return of the system call that was their cause.
    pub fn latencies_since(mut self, cause: impl Fn(u64) -> u64, warm_up: u64) -> io::Result<Latencies> {
        let mut latencies = Latencies::default();
        for line in io::Read::by_ref(&mut self.lines).lines() {
            let line = line?;
            if line == "end" {
                return Ok(latencies);
            }
            let (number, at) = sample(&line).ok_or(io::ErrorKind::InvalidData)?;
            if number >= warm_up {
                latencies.record(at.saturating_sub(cause(number)).max(1));
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sample(line: &str) -> Option<(u64, u64)> {
    let (number, at) = line.split_once(' ')?;
    Some((number.parse().ok()?, at.parse().ok()?))
}

/// Now, as [`Seen::note`] wants it.
#[must_use]
pub fn now() -> u64 {
    clock::monotonic()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_count_from_when_a_sample_was_due_in_whatever_order_they_come() {
        let mut script = Command::new("/bin/sh");
        script.arg("-c").arg("printf 'ready\n0 5\n2 2000003000\n1 1000009000\nend\n'");
        let receiver = Receiver::start(&mut script).unwrap();
        let latencies = receiver.latencies(&Schedule { start: 0, rate: 1 }, 1).unwrap();
        assert_eq!(latencies.counts().map(|(ns, _)| ns / 1_000).collect::<Vec<_>>(), [3, 9]);
    }

    #[test]
    fn a_receiver_that_ends_early_is_an_error_and_not_a_few_samples() {
        // It was killed while it told what it had seen, and the figure was that of a part.
        let mut script = Command::new("/bin/sh");
        script.arg("-c").arg("printf 'ready\n0 5\n'");
        let receiver = Receiver::start(&mut script).unwrap();
        receiver.latencies(&Schedule { start: 0, rate: 1 }, 0).unwrap_err();
    }

    #[test]
    fn a_receiver_that_ends_before_it_is_ready_is_an_error() {
        Receiver::start(&mut Command::new("/bin/true")).unwrap_err();
    }
}
