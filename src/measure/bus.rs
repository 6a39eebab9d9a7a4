//! A bus, from an event that is due to the process that has received it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::receiver::{self, Receiver, Seen};
use super::schedule::{Pace, Schedule};
use super::{Latencies, Progress, Roles, Unmeasured, failed};
use crate::client::{BusError, Publisher};
use crate::config::directories::Directories;
use crate::model::event::{Draft, ingest_method};
use crate::model::limits::{MAX_FRAME_BYTES, MEASURE_PATIENCE};

/// The source of every event that is made to measure.
pub const SOURCE: &str = "bench";
/// The type of those that `waitbus bench` makes.
pub const SAMPLE: &str = "bench_sample";

/// Subscribers that are attached to a bus and will be counted with; they leave when this is dropped.
#[derive(Debug)]
pub struct Attached<'a> {
    directories: &'a Directories,
    run: &'a str,
    pace: Pace,
    receiver: Receiver,
}

impl Attached<'_> {
    /// Attaches so many subscribers, in one process, to the samples that `pace` will have. `run` tells them from those of
    /// everybody else who measures.
    pub fn start<'a>(
        directories: &'a Directories,
        run: &'a str,
        pace: Pace,
        subscribers: usize,
        roles: Roles<'_>,
    ) -> Result<Attached<'a>, Unmeasured> {
        let socket = directories.broadcast().map_err(BusError::from)?;
        let condition = [format!("source={SOURCE}"), format!("event_type={SAMPLE}"), format!("bench.run={run:?}")];
        let frame = json!({"heartbeat": false, "match": condition}).to_string();
        let mut command = roles("receive");
        command.arg(socket).arg(frame).arg(pace.total().to_string()).arg(subscribers.to_string());
        let receiver = Receiver::start(&mut command).map_err(failed("the receiving process does not start"))?;
        Ok(Attached { directories, run, pace, receiver })
    }

    /// Emits every sample when it is due, as a program does that has linked the library; tells when the last of the
    /// subscribers had each.
    pub fn measure(self, progress: &Progress) -> Result<Latencies, Unmeasured> {
        let Attached { directories, run, pace, receiver } = self;
        let mut publisher = Publisher::open(directories)?;
        let schedule = Schedule::begin(pace.rate);
        for number in 0..pace.total() {
            progress.one_more()?;
            schedule.wait_for(number);
            publisher.publish(&sample(run, number))?;
        }
        receiver.latencies(&schedule, pace.warm_up()).map_err(failed("the receiving process does not have everything"))
    }
}

/// The role `receive`: so many clients of PROTOCOL.md, each of which receives `count` events. Notes of each event when
/// the last client had it.
pub fn receive(socket: &Path, frame: &str, count: usize, clients: usize, out: &mut impl Write) -> io::Result<()> {
    let connect = |_| subscribe(socket, frame);
    let mut clients = (0..clients).map(connect).collect::<io::Result<Vec<_>>>()?;
    Seen::ready(out)?;
    let mut seen = Seen::expecting(count);
    let mut body = Vec::new();
    for _ in 0..count {
        let mut last = (0, 0);
        for client in &mut clients {
            last = loop {
                read_frame(client, &mut body)?;
                let at = receiver::now();
                if let Some(number) = number(&body) {
                    break (number, at);
                }
            };
        }
        seen.note(last.0, last.1);
    }
    seen.tell(out)
}

/// Connects, asks, and reads the acknowledgement.
pub fn subscribe(socket: &Path, frame: &str) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    // A hub that hangs must not have us hang.
    stream.set_read_timeout(Some(MEASURE_PATIENCE))?;
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(frame.as_bytes())?;
    let mut body = Vec::new();
    read_frame(&mut stream, &mut body)?;
    let answer: Value = serde_json::from_slice(&body)?;
    if answer.get("kind").is_some_and(|kind| kind == "subscribe_ack") {
        Ok(stream)
    } else {
        Err(io::Error::other(answer.to_string()))
    }
}

/// Reads one frame.
pub fn read_frame(stream: &mut impl Read, body: &mut Vec<u8>) -> io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    body.resize(length, 0);
    stream.read_exact(body)
}

/// The number of a sample; none of a frame that is no event.
fn number(body: &[u8]) -> Option<u64> {
    let frame: Value = serde_json::from_slice(body).ok()?;
    let fields = frame.get("fields")?;
    fields.get("n").or_else(|| fields.get("bench")?.get("n"))?.as_u64()
}

/// An event of the usual size: its frame has about 600 bytes.
#[must_use]
pub fn draft(number: u64) -> Draft {
    Draft {
        source: SOURCE.into(),
        event_type: "finished".into(),
        ingest_method: ingest_method::EMIT,
        summary: "a line of the usual length, for a person to read".into(),
        fields: json!({"n": number, "status": "completed", "conclusion": "success", "text": "x".repeat(300)})
            .as_object()
            .cloned()
            .unwrap_or_default(),
        ..Draft::default()
    }
}

/// The same for a bus that others wait at. It has a type of its own, no verdict, and one field, of which nobody else
/// speaks: a condition on a key that is not there is never met.
fn sample(run: &str, number: u64) -> Draft {
    let fields = json!({"bench": {"n": number, "run": run, "text": "x".repeat(320)}});
    Draft {
        event_type: SAMPLE.into(),
        summary: "made by `waitbus bench` to measure this bus".into(),
        fields: fields.as_object().cloned().unwrap_or_default(),
        ..draft(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_on_a_bus_of_others_is_as_large_as_any_and_says_nothing_that_they_ask_for() {
        let (usual, sample) = (draft(7), sample("run", 7));
        let size = |draft: &Draft| serde_json::to_string(&draft.fields).unwrap().len();
        assert!(size(&usual).abs_diff(size(&sample)) < 32, "{} {}", size(&usual), size(&sample));
        assert_eq!(sample.fields.keys().collect::<Vec<_>>(), ["bench"]);
        assert_ne!(sample.event_type, usual.event_type);
    }

    #[test]
    fn the_number_of_a_sample_is_found_in_either_kind_and_in_no_other_frame() {
        for draft in [draft(7), sample("run", 7)] {
            assert_eq!(number(json!({"fields": draft.fields}).to_string().as_bytes()), Some(7));
        }
        assert_eq!(number(b"{\"kind\":\"source_status\",\"source\":\"bench\"}"), None);
    }
}
