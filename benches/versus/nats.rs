//! NATS: the core, which keeps nothing, and `JetStream`, which writes a message to a file and then acknowledges it; the
//! file is synced now and then.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use super::server::{self, Outcome};
use super::{Inbox, Outbox, Rival, message, number_of};
use crate::bus::Service;

const VERSION: &[&str] = &["nats-server", "--version"];

/// Where the server tells the sender that it has a message, and the receiver what it has asked for.
const ACKNOWLEDGED: &str = "acknowledged";
const ANSWERED: &str = "answered";

pub const CORE: Rival = Rival {
    inbox: "nats",
    who: ("NATS", "core, kept nowhere"),
    program: VERSION,
    serve: |directory| serve(directory, &[]),
    outbox: |directory| Ok(Box::new(Sender { client: Client::connect(directory)?, acknowledged: false })),
};

pub const JETSTREAM: Rival = Rival {
    inbox: "jetstream",
    who: ("NATS", "JetStream, file written, not synced"),
    program: VERSION,
    serve: |directory| serve(directory, &["--jetstream"]),
    outbox: |directory| {
        let mut client = Client::connect(directory)?;
        client.subscribe(ACKNOWLEDGED)?;
        Ok(Box::new(Sender { client, acknowledged: true }))
    },
};

fn serve(directory: &Path, more: &[&str]) -> Outcome<Option<Service>> {
    let mut command = server::service("nats-server");
    command.args(["--addr", "127.0.0.1", "--port", "-1"]).args(more);
    command.arg("--ports_file_dir").arg(directory).arg("--store_dir").arg(directory.join("store"));
    server::start(&mut command, || address(directory).is_some()).map(Some)
}

/// Where it listens, from the file in which it says so.
fn address(directory: &Path) -> Option<String> {
    let mut files = fs::read_dir(directory).ok()?.filter_map(Result::ok).map(|file| file.path());
    let file = files.find(|path| path.extension().is_some_and(|extension| extension == "ports"))?;
    let told: serde_json::Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    told["nats"][0].as_str()?.strip_prefix("nats://").map(str::to_owned)
}

struct Client {
    stream: BufReader<TcpStream>,
    line: String,
    /// The payload of the message that was read last.
    last: Vec<u8>,
}

impl Client {
    fn connect(directory: &Path) -> Outcome<Client> {
        let stream = TcpStream::connect(address(directory).ok_or("nats-server does not tell its address")?)?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream: BufReader::new(stream), line: String::new(), last: Vec::new() };
        client.say("CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?;
        Ok(client)
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    /// Returns when the server knows of it. The subject is also what the subscription is called.
    fn subscribe(&mut self, subject: &str) -> io::Result<()> {
        self.say(&format!("SUB {subject} {subject}\r\nPING\r\n"))?;
        while self.read()? != "PONG" {}
        Ok(())
    }

    fn publish(&mut self, subject: &str, answer_to: &str, payload: &str) -> io::Result<()> {
        self.say(&format!("PUB {subject} {answer_to} {}\r\n{payload}\r\n", payload.len()))
    }

    /// Reads one line of the server, with the payload if it is a message.
    fn read(&mut self) -> io::Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = self.line.trim_end();
        match line.split(' ').next() {
            Some("MSG") => {
                let length: usize = line.rsplit(' ').next().unwrap_or_default().parse().map_err(io::Error::other)?;
                self.last.resize(length + 2, 0);
                self.stream.read_exact(&mut self.last)?;
            }
            Some("PING") => self.stream.get_mut().write_all(b"PONG\r\n")?,
            Some("-ERR") => return Err(io::Error::other(line.to_owned())),
            _ => {}
        }
        Ok(line)
    }

    fn message(&mut self) -> io::Result<()> {
        while !self.read()?.starts_with("MSG ") {}
        Ok(())
    }

    /// Asks the server's own interface, which answers in JSON.
    fn ask(&mut self, subject: &str, question: &str) -> Outcome<()> {
        self.publish(subject, ANSWERED, question)?;
        self.message()?;
        let answer: serde_json::Value = serde_json::from_slice(&self.last)?;
        if answer["error"].is_null() { Ok(()) } else { Err(format!("{subject}: {answer}").into()) }
    }
}

struct Sender {
    client: Client,
    acknowledged: bool,
}

impl Outbox for Sender {
    fn send(&mut self, number: u64) -> io::Result<Option<u64>> {
        let answer_to = if self.acknowledged { ACKNOWLEDGED } else { "" };
        self.client.publish("bench", answer_to, &message(number))?;
        if self.acknowledged {
            self.client.message()?;
        }
        Ok(None)
    }
}

pub fn core(directory: &Path) -> Outcome<Box<dyn Inbox>> {
    let mut client = Client::connect(directory)?;
    client.subscribe("bench")?;
    Ok(Box::new(client))
}

/// A stream of one subject, and a consumer to which its messages are pushed, as to a subscriber of waitbus.
pub fn jetstream(directory: &Path) -> Outcome<Box<dyn Inbox>> {
    let mut client = Client::connect(directory)?;
    client.subscribe(ANSWERED)?;
    client.ask("$JS.API.STREAM.CREATE.bench", r#"{"name":"bench","subjects":["bench"],"storage":"file"}"#)?;
    client.subscribe("pushed")?;
    let consumer = r#"{"deliver_subject":"pushed","ack_policy":"none","deliver_policy":"all"}"#;
    client.ask("$JS.API.CONSUMER.CREATE.bench", &format!(r#"{{"stream_name":"bench","config":{consumer}}}"#))?;
    Ok(Box::new(client))
}

impl Inbox for Client {
    fn receive(&mut self) -> io::Result<()> {
        self.message()
    }

    fn number(&self) -> Option<u64> {
        number_of(&self.last)
    }
}
