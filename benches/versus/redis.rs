//! Redis: a stream, whose entries are in a log before the answer, and a channel, which keeps nothing.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::server::{self, Outcome};
use super::{Inbox, Outbox, Rival, message, number_of};
use crate::bus::Service;

const VERSION: &[&str] = &["redis-server", "--version"];

pub const CHANNEL: Rival = Rival {
    inbox: "redis-channel",
    who: ("Redis", "PUBLISH, kept nowhere"),
    program: VERSION,
    serve: |directory| serve(directory, &["--appendonly", "no"]),
    outbox: |directory| Ok(Box::new(Sender { client: Client::connect(directory)?, command: &["PUBLISH", "bench"] })),
};

pub const EVERYSEC: Rival = Rival {
    inbox: "redis-stream",
    who: ("Redis", "XADD to XREAD, log written, synced every second"),
    program: VERSION,
    serve: |directory| serve(directory, &["--appendonly", "yes", "--appendfsync", "everysec"]),
    outbox: add,
};

pub const ALWAYS: Rival = Rival {
    inbox: "redis-stream",
    who: ("Redis", "XADD to XREAD, log synced each time"),
    program: VERSION,
    serve: |directory| serve(directory, &["--appendonly", "yes", "--appendfsync", "always"]),
    outbox: add,
};

fn serve(directory: &Path, log: &[&str]) -> Outcome<Option<Service>> {
    let socket = directory.join("socket");
    let mut command = server::service("redis-server");
    command.args(["--port", "0", "--save", "", "--unixsocketperm", "600"]).args(log);
    command.arg("--unixsocket").arg(&socket).arg("--dir").arg(directory);
    server::start(&mut command, || UnixStream::connect(&socket).is_ok()).map(Some)
}

struct Client(BufReader<UnixStream>);

/// An answer, as much of RESP as these commands need.
enum Answer {
    Text(Vec<u8>),
    Other,
    Several(Vec<Answer>),
}

impl Client {
    fn connect(directory: &Path) -> io::Result<Client> {
        Ok(Client(BufReader::new(UnixStream::connect(directory.join("socket"))?)))
    }

    fn say(&mut self, words: &[&[u8]]) -> io::Result<()> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            write!(bytes, "${}\r\n", word.len())?;
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&bytes)
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.trim_end();
        let Some(kind) = line.chars().next() else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let length = || line[1..].parse::<usize>().map_err(io::Error::other);
        match kind {
            '$' if line == "$-1" => Ok(Answer::Other),
            '$' => {
                let mut text = vec![0; length()? + 2];
                self.0.read_exact(&mut text)?;
                text.truncate(text.len() - 2);
                Ok(Answer::Text(text))
            }
            '*' => (0..length()?).map(|_| self.answer()).collect::<io::Result<_>>().map(Answer::Several),
            '-' => Err(io::Error::other(line.to_owned())),
            _ => Ok(Answer::Other),
        }
    }
}

struct Sender {
    client: Client,
    command: &'static [&'static str],
}

fn add(directory: &Path) -> Outcome<Box<dyn Outbox>> {
    Ok(Box::new(Sender { client: Client::connect(directory)?, command: &["XADD", "bench", "*", "text"] }))
}

impl Outbox for Sender {
    fn send(&mut self, number: u64) -> io::Result<Option<u64>> {
        let message = message(number);
        let words: Vec<_> = self.command.iter().map(|word| word.as_bytes()).chain([message.as_bytes()]).collect();
        self.client.say(&words)?;
        self.client.answer().map(|_| None)
    }
}

struct Channel {
    client: Client,
    last: Vec<u8>,
}

pub fn channel(directory: &Path) -> Outcome<Box<dyn Inbox>> {
    let mut client = Client::connect(directory)?;
    client.say(&[b"SUBSCRIBE", b"bench"])?;
    client.answer()?;
    Ok(Box::new(Channel { client, last: Vec::new() }))
}

impl Inbox for Channel {
    fn receive(&mut self) -> io::Result<()> {
        if let Answer::Several(parts) = self.client.answer()?
            && let Some(Answer::Text(text)) = parts.into_iter().next_back()
        {
            self.last = text;
        }
        Ok(())
    }

    fn number(&self) -> Option<u64> {
        number_of(&self.last)
    }
}

/// A reader of the stream, and what it has read at once after what it has passed on.
struct Stream {
    client: Client,
    after: Vec<u8>,
    read: VecDeque<Vec<u8>>,
    last: Vec<u8>,
}

pub fn stream(directory: &Path) -> Outcome<Box<dyn Inbox>> {
    let client = Client::connect(directory)?;
    Ok(Box::new(Stream { client, after: b"0".to_vec(), read: VecDeque::new(), last: Vec::new() }))
}

impl Inbox for Stream {
    fn receive(&mut self) -> io::Result<()> {
        if self.read.is_empty() {
            let after = std::mem::take(&mut self.after);
            self.client.say(&[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"bench", &after])?;
            let answer = self.client.answer()?;
            self.take(answer);
        }
        self.last = self.read.pop_front().ok_or(io::ErrorKind::InvalidData)?;
        Ok(())
    }

    fn number(&self) -> Option<u64> {
        number_of(&self.last)
    }
}

impl Stream {
    /// The answer is one stream of its name and its entries, and an entry is its id and a list of names and values.
    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Several(parts) => match <[Answer; 2]>::try_from(parts) {
                Ok([Answer::Text(id), Answer::Several(fields)]) if matches!(fields[..], [_, Answer::Text(_)]) => {
                    self.after = id;
                    self.read.extend(fields.into_iter().next_back().and_then(Answer::text));
                }
                Ok(parts) => parts.into_iter().for_each(|part| self.take(part)),
                Err(parts) => parts.into_iter().for_each(|part| self.take(part)),
            },
            Answer::Text(_) | Answer::Other => {}
        }
    }
}

impl Answer {
    fn text(self) -> Option<Vec<u8>> {
        if let Answer::Text(text) = self { Some(text) } else { None }
    }
}
