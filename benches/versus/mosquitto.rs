//! mosquitto, with messages that both ends acknowledge and nothing that is kept on the disk: MQTT 3.1.1.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::server::{self, Outcome};
use super::{Inbox, Outbox, Rival, message, number_of};
use crate::bus::Service;

/// Kinds of packets, with the flags that they have here.
const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_AT_LEAST_ONCE: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;

const TOPIC: &str = "bench";

pub const QOS_1: Rival = Rival {
    inbox: "mosquitto",
    who: ("mosquitto", "QoS 1, kept in memory"),
    program: &["mosquitto", "-h"],
    serve,
    outbox: |directory| Ok(Box::new(Client::connect(directory, "sender")?)),
};

fn serve(directory: &Path) -> Outcome<Option<Service>> {
    let (settings, socket) = (directory.join("settings"), directory.join("socket"));
    // Without a user of its own it could not reach a private directory of root's. Nobody else can change users.
    let text =
        format!("listener 0 {}\nallow_anonymous true\npersistence false\nlog_dest none\nuser root\n", socket.display());
    fs::write(&settings, text)?;
    let mut command = server::service("mosquitto");
    server::start(command.arg("-c").arg(settings), || UnixStream::connect(&socket).is_ok()).map(Some)
}

struct Client {
    stream: UnixStream,
    packet: u8,
    body: Vec<u8>,
}

pub fn inbox(directory: &Path) -> Outcome<Box<dyn Inbox>> {
    let mut client = Client::connect(directory, "receiver")?;
    client.say(SUBSCRIBE, &[&1_u16.to_be_bytes(), &text(TOPIC), &[1]])?;
    client.read_until(SUBACK)?;
    Ok(Box::new(client))
}

impl Client {
    fn connect(directory: &Path, name: &str) -> Outcome<Client> {
        let stream = UnixStream::connect(directory.join("socket"))?;
        let mut client = Client { stream, packet: 0, body: Vec::new() };
        // Level 4 is 3.1.1; a clean session; no keep-alive.
        client.say(CONNECT, &[&text("MQTT"), &[4, 2, 0, 0], &text(name)])?;
        client.read_until(CONNACK)?;
        Ok(client)
    }

    fn say(&mut self, packet: u8, parts: &[&[u8]]) -> io::Result<()> {
        let body = parts.concat();
        let mut bytes = vec![packet];
        let mut length = body.len();
        while length >= 0x80 {
            bytes.push(u8::try_from(length % 0x80).unwrap_or(0) | 0x80);
            length /= 0x80;
        }
        bytes.push(u8::try_from(length).unwrap_or(0));
        bytes.extend(body);
        self.stream.write_all(&bytes)
    }

    fn read(&mut self) -> io::Result<()> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        self.packet = byte[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            self.stream.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] < 0x80 {
                break;
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)
    }

    fn read_until(&mut self, packet: u8) -> io::Result<()> {
        self.read()?;
        while self.packet & 0xf0 != packet & 0xf0 {
            self.read()?;
        }
        Ok(())
    }

    /// The rest of a message, from its identifier on.
    fn after_topic(&self) -> Option<&[u8]> {
        self.body.get(2 + TOPIC.len()..)
    }
}

/// A text with its length before it.
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&length, text.as_bytes()].concat()
}

impl Outbox for Client {
    fn send(&mut self, number: u64) -> io::Result<Option<u64>> {
        // An identifier is any number but zero that is not in use.
        let identifier = u16::try_from(number % 0xffff).unwrap_or(0) + 1;
        let message = message(number);
        self.say(PUBLISH_AT_LEAST_ONCE, &[&text(TOPIC), &identifier.to_be_bytes(), message.as_bytes()])?;
        self.read_until(PUBACK)?;
        Ok(None)
    }
}

impl Inbox for Client {
    fn receive(&mut self) -> io::Result<()> {
        // The one that was read before is acknowledged when its time has been noted.
        if self.packet & 0xf0 == PUBLISH_AT_LEAST_ONCE & 0xf0
            && let Some([high, low, ..]) = self.after_topic()
        {
            let identifier = [*high, *low];
            self.say(PUBACK, &[&identifier])?;
        }
        self.read_until(PUBLISH_AT_LEAST_ONCE)
    }

    fn number(&self) -> Option<u64> {
        number_of(self.after_topic()?.get(2..)?)
    }
}
