//! Many subscribers in one process, which sleeps in one call for all of them: so they cost the machine as little as they
//! can, and what is measured is who serves them.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use serde_json::{Value, json};
use waitbus::measure::{Seen, receiver};
use waitbus::sys::limits::raise_open_files;

use crate::bus::{PLAIN, number, role, subscribe};

/// What a crowd that is not meant is subscribed to.
#[derive(Clone, Copy)]
pub enum Conditions {
    /// Nothing in particular.
    None,
    /// Each another value of the field `waiter`, from 1 on.
    Match,
    /// Each another expression that no event makes true, and which has to be evaluated to know that.
    Where,
}

impl Conditions {
    fn word(self) -> &'static str {
        match self {
            Conditions::None => "none",
            Conditions::Match => "match",
            Conditions::Where => "where",
        }
    }
}

/// Subscribers for whom nothing is meant.
pub struct Bystanders {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Bystanders {
    /// So many, each with a condition of its own; they are attached when this returns.
    pub fn start(socket: &Path, count: u64, conditions: Conditions) -> Bystanders {
        let mut command = role("bystanders");
        command.arg(socket).arg(count.to_string()).arg(conditions.word());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut bystanders = Bystanders { child, lines };
        assert_eq!(bystanders.line(), "ready");
        bystanders
    }

    /// Ends them; returns how many frames they have got, and how often their process was woken.
    pub fn leave(mut self) -> (u64, u64) {
        drop(self.child.stdin.take());
        let line = self.line();
        let (frames, wakes) = line.split_once(' ').unwrap();
        (frames.parse().unwrap(), wakes.parse().unwrap())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The role `bystanders SOCKET COUNT CONDITIONS`: they stay until the standard input ends.
pub fn bystanders(arguments: &[String]) {
    let [socket, count, conditions] = arguments else { panic!("{arguments:?}") };
    let _ = raise_open_files();
    let frame = |waiter: u64| match &**conditions {
        "match" => json!({"heartbeat": false, "match": format!("waiter={waiter}")}).to_string(),
        "where" => json!({"heartbeat": false, "where": format!("fields.n + {waiter} < 0")}).to_string(),
        _ => PLAIN.to_owned(),
    };
    let count: u64 = count.parse().unwrap();
    let mut sockets = Sockets::of((1..=count).map(|waiter| subscribe(socket.as_ref(), &frame(waiter))));
    sockets.until_input_ends();
    println!("ready");
    let (mut frames, mut wakes) = (0_u64, 0_u64);
    while sockets.wait(|_, _| frames += 1) {
        wakes += 1;
    }
    println!("{frames} {wakes}");
}

/// The role `crowd SOCKET SUBSCRIBERS EVENTS KIND`: all are meant, and the last that has an event has it noted. `raw`
/// ones are told by [`floor::frame`](crate::floor::frame).
pub fn crowd(arguments: &[String]) {
    let [socket, subscribers, events, kind] = arguments else { panic!("{arguments:?}") };
    let (subscribers, events): (usize, usize) = (subscribers.parse().unwrap(), events.parse().unwrap());
    let is_raw = kind == "raw";
    let _ = raise_open_files();
    let connect = |_| {
        if is_raw { UnixStream::connect(socket).unwrap() } else { subscribe(socket.as_ref(), PLAIN) }
    };
    let mut sockets = Sockets::of((0..subscribers).map(connect));
    let mut out = std::io::stdout();
    Seen::ready(&mut out).unwrap();
    let mut seen = Seen::expecting(events);
    // How many frames each subscriber has, and how many subscribers have each frame.
    let (mut had, mut have) = (vec![0; subscribers], vec![0; events]);
    let mut complete = 0;
    while complete < events {
        sockets.wait(|subscriber, frame| {
            let event: usize = had[subscriber];
            had[subscriber] += 1;
            have[event] += 1;
            if have[event] == subscribers {
                let at = receiver::now();
                seen.note(number_of(frame, is_raw), at);
                complete += 1;
            }
        });
    }
    seen.tell(&mut out).unwrap();
}

/// The number of an event, of what follows the length of its frame.
fn number_of(body: &[u8], is_raw: bool) -> u64 {
    if is_raw {
        return u64::from_be_bytes(body[..8].try_into().unwrap());
    }
    let frame: Value = serde_json::from_slice(body).unwrap();
    number(&frame, "n")
}

/// A socket, and the beginning of a frame that has not come whole.
struct Socket<S> {
    stream: S,
    begun: Vec<u8>,
}

impl<S: Read> Socket<S> {
    /// Reads once, and hands over each frame that is whole now.
    fn read(&mut self, buffer: &mut [u8], mut frame: impl FnMut(&[u8])) {
        let length = self.stream.read(buffer).unwrap();
        assert!(length > 0, "the connection has been closed");
        let mut bytes = &buffer[..length];
        let joined;
        if !self.begun.is_empty() {
            joined = [&self.begun, bytes].concat();
            self.begun.clear();
            bytes = &joined;
        }
        while let Some((head, rest)) = bytes.split_first_chunk() {
            let Some((body, rest)) = rest.split_at_checked(u32::from_be_bytes(*head) as usize) else { break };
            frame(body);
            bytes = rest;
        }
        self.begun.extend_from_slice(bytes);
    }
}

/// The key of the standard input.
const INPUT: u64 = u64::MAX;

/// All of them in one epoll.
struct Sockets {
    epoll: OwnedFd,
    all: Vec<Socket<UnixStream>>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Sockets {
    fn of(streams: impl Iterator<Item = UnixStream>) -> Sockets {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let all: Vec<_> = streams.map(|stream| Socket { stream, begun: Vec::new() }).collect();
        for (key, socket) in (0..).zip(&all) {
            epoll::add(&epoll, &socket.stream, epoll::EventData::new_u64(key), epoll::EventFlags::IN).unwrap();
        }
        Sockets { epoll, all, events: Vec::with_capacity(1_024), buffer: vec![0; 64 * 1024] }
    }

    /// Has [`Self::wait`] return `false` when the standard input ends.
    fn until_input_ends(&self) {
        let key = epoll::EventData::new_u64(INPUT);
        epoll::add(&self.epoll, std::io::stdin(), key, epoll::EventFlags::IN).unwrap();
    }

    /// Sleeps until there is something for somebody, and hands over each frame with whose it is.
    fn wait(&mut self, mut frame: impl FnMut(usize, &[u8])) -> bool {
        self.events.clear();
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), None).unwrap();
        for event in &self.events {
            let key = event.data.u64();
            if key == INPUT {
                return false;
            }
            let socket = usize::try_from(key).unwrap();
            self.all[socket].read(&mut self.buffer, |body| frame(socket, body));
        }
        true
    }
}
