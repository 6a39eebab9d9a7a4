//! Lines of a pipe, each of a bounded length: what is longer is read to its end, and only its beginning is kept.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    /// Whether there was more of it.
    pub(super) is_cut: bool,
}

/// Reads the lines of one pipe.
#[derive(Debug)]
pub(super) struct Lines {
    pipe: Receiver,
    limit: usize,
    splitter: Splitter,
    is_over: bool,
}

impl Lines {
    pub(super) fn new(pipe: Receiver, limit: usize) -> Lines {
        Lines { pipe, limit, splitter: Splitter::default(), is_over: false }
    }

    /// The next line; the last one need not have an end. `None` is the end of the pipe. Cancelling this loses nothing.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.splitter.take(self.limit, self.is_over) {
                return Ok(Some(line));
            }
            if self.is_over {
                return Ok(None);
            }
            self.splitter.make_room();
            self.is_over = self.pipe.read_buf(&mut self.splitter.bytes).await? == 0;
        }
    }

    /// The next line if it has come already.
    pub(super) fn ready(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.splitter.take(self.limit, self.is_over) {
                return Some(line);
            }
            self.splitter.make_room();
            match self.pipe.try_read_buf(&mut self.splitter.bytes) {
                Ok(count) if count > 0 => {}
                // The end, and whatever else there is, is for `next` to find.
                _ => return None,
            }
        }
    }
}

/// How much is read at once, in bytes: what a pipe holds.
const READ: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Splitter {
    bytes: Vec<u8>,
    /// What has been looked at and has no end of a line.
    searched: usize,
    /// The beginning of a line that is too long, whose end has not come.
    cut: Option<Vec<u8>>,
}

impl Splitter {
    fn make_room(&mut self) {
        if self.bytes.is_empty() {
            // A program may be quiet for days: it costs no memory for its last burst.
            self.bytes = Vec::new();
        }
        self.bytes.reserve(READ);
    }

    fn take(&mut self, limit: usize, is_over: bool) -> Option<Line> {
        let end = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n').map(|at| self.searched + at);
        let Some(end) =
            end.or_else(|| (is_over && !(self.bytes.is_empty() && self.cut.is_none())).then_some(self.bytes.len()))
        else {
            self.searched = self.bytes.len();
            if self.searched > limit {
                let beginning = std::mem::take(&mut self.bytes);
                self.searched = 0;
                self.cut.get_or_insert_with(|| beginning[..limit].to_vec());
            }
            return None;
        };
        let mut bytes: Vec<u8> = self.bytes.drain(..(end + 1).min(self.bytes.len())).collect();
        self.searched = 0;
        bytes.truncate(end);
        match self.cut.take() {
            Some(beginning) => Some(Line { bytes: beginning, is_cut: true }),
            None if bytes.len() > limit => {
                bytes.truncate(limit);
                Some(Line { bytes, is_cut: true })
            }
            None => Some(Line { bytes, is_cut: false }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that printed without ends of lines took all the memory there was.
    #[test]
    fn lines_are_split_wherever_the_reads_fall_and_long_ones_are_cut() {
        let text = b"one\n\nlonger than that\nthree\nlast";
        for step in 1..=text.len() {
            let mut splitter = Splitter::default();
            let mut lines = Vec::new();
            let mut held = 0;
            for part in text.chunks(step) {
                splitter.bytes.extend_from_slice(part);
                while let Some(line) = splitter.take(6, false) {
                    lines.push(line);
                }
                held = held.max(splitter.bytes.len());
            }
            lines.extend(splitter.take(6, true));
            assert_eq!(splitter.take(6, true), None);
            let whole = |text: &str| Line { bytes: text.into(), is_cut: false };
            let expected =
                [whole("one"), whole(""), Line { bytes: "longer".into(), is_cut: true }, whole("three"), whole("last")];
            assert_eq!(lines, expected, "in steps of {step}");
            assert!(held <= 6 + step, "{held} bytes in steps of {step}");
        }
    }
}
