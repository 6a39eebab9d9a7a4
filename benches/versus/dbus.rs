//! A signal on a D-Bus of its own, which keeps nothing.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::server::{self, Outcome};
use super::{Inbox, Outbox, Rival, message, number_of};
use crate::bus::Service;

const INTERFACE: &str = "io.github.waitbus.Bench";

pub const SIGNAL: Rival = Rival {
    inbox: "dbus",
    who: ("D-Bus", "signal, kept nowhere"),
    program: &["dbus-daemon", "--version"],
    serve,
    outbox: |directory| Ok(Box::new(Client::connect(directory)?)),
};

fn serve(directory: &Path) -> Outcome<Option<Service>> {
    let (settings, socket) = (directory.join("settings"), directory.join("socket"));
    let text = format!(
        "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
         <policy context=\"default\"><allow send_destination=\"*\"/><allow receive_type=\"signal\"/>\
         <allow receive_type=\"method_return\"/><allow receive_type=\"error\"/></policy></busconfig>",
        socket.display()
    );
    fs::write(&settings, text)?;
    let mut command = server::service("dbus-daemon");
    command.arg("--nofork").arg("--nosyslog").arg("--config-file").arg(settings);
    server::start(&mut command, || UnixStream::connect(&socket).is_ok()).map(Some)
}

struct Client {
    stream: UnixStream,
    serial: u32,
    body: Vec<u8>,
}

/// Kinds of messages.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL_KIND: u8 = 4;

/// The fields of a header that are used, with the signature of each.
const PATH: (u8, u8) = (1, b'o');
const OF_INTERFACE: (u8, u8) = (2, b's');
const MEMBER: (u8, u8) = (3, b's');
const DESTINATION: (u8, u8) = (6, b's');
const SIGNATURE: (u8, u8) = (8, b'g');

const BUS: &str = "org.freedesktop.DBus";

pub fn inbox(directory: &Path) -> Outcome<Box<dyn Inbox>> {
    let mut client = Client::connect(directory)?;
    client.call("AddMatch", Some(&format!("type='signal',interface='{INTERFACE}'")))?;
    Ok(Box::new(client))
}

impl Client {
    fn connect(directory: &Path) -> Outcome<Client> {
        let mut stream = UnixStream::connect(directory.join("socket"))?;
        let uid = rustix::process::geteuid().as_raw().to_string();
        // Digits in hexadecimal: 0 is 0x30.
        let uid: String = uid.chars().flat_map(|digit| ['3', digit]).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        if !answer.starts_with(b"OK ") {
            return Err(String::from_utf8_lossy(&answer).into());
        }
        stream.write_all(b"BEGIN\r\n")?;
        let mut client = Client { stream, serial: 0, body: Vec::new() };
        client.call("Hello", None)?;
        Ok(client)
    }

    /// Calls a method of the bus itself, and returns when it has answered.
    fn call(&mut self, method: &str, argument: Option<&str>) -> Outcome<()> {
        let fields = [
            (PATH, "/org/freedesktop/DBus"),
            (OF_INTERFACE, BUS),
            (MEMBER, method),
            (DESTINATION, BUS),
            (SIGNATURE, "s"),
        ];
        let fields = if argument.is_some() { &fields[..] } else { &fields[..4] };
        self.say(CALL, fields, argument)?;
        loop {
            match self.read()? {
                RETURN => return Ok(()),
                ERROR => return Err(format!("{method}: {}", String::from_utf8_lossy(&self.body)).into()),
                _ => {}
            }
        }
    }

    /// Sends a message whose body is one text or nothing, in little-endian order.
    fn say(&mut self, kind: u8, fields: &[((u8, u8), &str)], body: Option<&str>) -> io::Result<()> {
        self.serial += 1;
        let body = body.map(text).unwrap_or_default();
        let mut header = Vec::new();
        for ((code, signature), value) in fields {
            pad(&mut header, 8);
            header.extend([*code, 1, *signature, 0]);
            // A signature has a length of one byte, everything else here one of four, which is aligned already.
            if *signature == b'g' {
                header.extend([u8::try_from(value.len()).unwrap_or(0)]);
                header.extend(value.bytes().chain([0]));
            } else {
                header.extend(text(value));
            }
        }
        let mut bytes = vec![b'l', kind, 0, 1];
        bytes.extend(length(body.len()));
        bytes.extend(self.serial.to_le_bytes());
        bytes.extend(length(header.len()));
        bytes.extend(header);
        pad(&mut bytes, 8);
        bytes.extend(body);
        self.stream.write_all(&bytes)
    }

    /// Reads a message and keeps its body; returns its kind.
    fn read(&mut self) -> io::Result<u8> {
        let mut fixed = [0; 16];
        self.stream.read_exact(&mut fixed)?;
        let number = |at: usize| {
            let four = [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
            if fixed[0] == b'l' { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) }
        };
        let (body, header) = (number(4), number(12).next_multiple_of(8));
        self.body.resize(usize::try_from(header + body).map_err(io::Error::other)?, 0);
        self.stream.read_exact(&mut self.body)?;
        self.body.drain(..usize::try_from(header).map_err(io::Error::other)?);
        Ok(fixed[1])
    }
}

/// A text with its length before it and a zero behind.
fn text(text: &str) -> Vec<u8> {
    length(text.len()).into_iter().chain(text.bytes()).chain([0]).collect()
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

impl Outbox for Client {
    fn send(&mut self, number: u64) -> io::Result<Option<u64>> {
        let fields = [(PATH, "/io/github/waitbus"), (OF_INTERFACE, INTERFACE), (MEMBER, "Happened"), (SIGNATURE, "s")];
        self.say(SIGNAL_KIND, &fields, Some(&message(number)))?;
        Ok(None)
    }
}

impl Inbox for Client {
    fn receive(&mut self) -> io::Result<()> {
        while self.read()? != SIGNAL_KIND {}
        Ok(())
    }

    fn number(&self) -> Option<u64> {
        number_of(self.body.get(4..)?)
    }
}
