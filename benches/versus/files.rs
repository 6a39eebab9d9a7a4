//! The tools that tell of changed files: `inotifywait`, which prints what the kernel tells, and `entr`, which runs a
//! command. Both write into a pipe with a name, so that they belong to the process that measures while another one reads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use waitbus::measure::receiver;

use super::server::{self, Outcome};
use super::{DIGITS, Inbox, Outbox, Rival, number_of};
use crate::bus::Service;

pub const INOTIFYWAIT: Rival = Rival {
    inbox: "lines",
    who: ("inotifywait", "told once, kept nowhere"),
    program: &["inotifywait", "--help"],
    serve: |directory| {
        fs::create_dir(directory.join("watched"))?;
        printing(directory, &["inotifywait", "--monitor", "--event", "close_write", "--format", "%f", "watched"], "")
    },
    outbox: |directory| Ok(Box::new(NewFiles(directory.join("watched")))),
};

pub const ENTR: Rival = Rival {
    inbox: "newest-line",
    who: ("entr", "runs a command, kept nowhere"),
    program: &["entr"],
    serve: |directory| {
        // It runs the command once when it watches, and that is how it says so.
        fs::write(directory.join("file"), format!("{READY}\n"))?;
        printing(directory, &["entr", "-n", "cat", "file"], "file\n")
    },
    outbox: |directory| Ok(Box::new(OneFile(directory.join("file")))),
};

/// What `inotifywait` says when it would miss nothing.
const READY: &str = "Watches established.";

/// Starts a program whose lines go into the named pipe, with this on its standard input.
fn printing(directory: &Path, command: &[&str], input: &str) -> Outcome<Option<Service>> {
    let pipe = directory.join("lines");
    if !server::program("mkfifo").arg(&pipe).status()?.success() {
        return Err("no pipe could be made".into());
    }
    // Opened for both, it waits for nobody and never ends.
    let pipe = OpenOptions::new().read(true).write(true).open(pipe)?;
    let mut program = server::service(command[0]);
    program.args(&command[1..]).current_dir(directory).stdin(Stdio::piped());
    let mut service = Service(program.stdout(pipe.try_clone()?).stderr(pipe).spawn()?);
    if let Some(mut stdin) = service.0.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    Ok(Some(service))
}

/// Writes to a file and closes it, which both programs wait for; returns when it had been written.
fn written(mut file: File, text: &str) -> io::Result<Option<u64>> {
    file.write_all(text.as_bytes())?;
    Ok(Some(receiver::now()))
}

struct NewFiles(PathBuf);

impl Outbox for NewFiles {
    fn send(&mut self, number: u64) -> io::Result<Option<u64>> {
        written(File::create_new(self.0.join(format!("{number:0DIGITS$}")))?, "x")
    }
}

struct OneFile(PathBuf);

impl Outbox for OneFile {
    fn send(&mut self, number: u64) -> io::Result<Option<u64>> {
        // Without emptying it first: that would be two changes.
        written(OpenOptions::new().write(true).open(&self.0)?, &format!("{number:0DIGITS$}\n"))
    }
}

struct Lines {
    pipe: BufReader<File>,
    line: String,
}

/// What comes out of the named pipe.
pub fn lines(directory: &Path) -> Outcome<Box<dyn Inbox>> {
    Ok(Box::new(Lines::open(directory)?))
}

impl Lines {
    /// Returns when there was the line that says that it begins.
    fn open(directory: &Path) -> io::Result<Lines> {
        let mut lines = Lines { pipe: BufReader::new(File::open(directory.join("lines"))?), line: String::new() };
        while lines.line.trim_end() != READY {
            lines.receive()?;
        }
        Ok(lines)
    }
}

impl Inbox for Lines {
    fn receive(&mut self) -> io::Result<()> {
        self.line.clear();
        if self.pipe.read_line(&mut self.line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn number(&self) -> Option<u64> {
        number_of(self.line.as_bytes())
    }
}

/// A reader of what something has become: whoever knows a number knows that those before it have been.
struct Newest {
    lines: Lines,
    known: Option<u64>,
    told: Option<u64>,
}

pub fn newest(directory: &Path) -> Outcome<Box<dyn Inbox>> {
    let lines = Lines::open(directory)?;
    Ok(Box::new(Newest { lines, known: None, told: None }))
}

impl Inbox for Newest {
    fn receive(&mut self) -> io::Result<()> {
        while self.known == self.told {
            self.lines.receive()?;
            self.known = self.known.max(self.lines.number());
        }
        self.told = Some(self.told.map_or(0, |told| told + 1));
        Ok(())
    }

    fn number(&self) -> Option<u64> {
        self.told
    }
}
