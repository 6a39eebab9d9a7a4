//! The frames of wire v1 as types: what a client sends, [`Subscribe`], and what the hub sends, [`Control`] and the
//! two data frames ([`event_frame`](super::event_frame)). PROTOCOL.md is the normative text.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec;
use super::id::EventId;
use super::source::{Demand, SourceStatus};
pub use super::subscribe::{Compile, Subscribe};

/// The version of the wire that this crate speaks.
pub const PROTO: u64 = 1;

// ---- client to hub --------------------------------------------------------------------------------------------

/// Why a subscription is refused; the name on the wire is the snake-case form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// `proto` is not a version that this hub speaks.
    Version,
    /// A field has a wrong type or value.
    BadField,
    /// The frame is not one JSON object within the bounds.
    BadFrame,
    /// The frame did not arrive in time.
    Timeout,
    /// The hub serves as many subscribers as it can.
    TooManySubscribers,
    /// A reason that is newer than this program; a refusal all the same.
    #[serde(other)]
    Unknown,
}

/// A refusal and what its reader can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{remediation}")]
pub struct Rejection {
    /// The machine-readable reason.
    pub reason: RejectReason,
    /// A sentence for a person.
    pub remediation: String,
}

impl Rejection {
    /// A refusal for a reason.
    pub fn new(reason: RejectReason, remediation: impl Into<String>) -> Rejection {
        Rejection { reason, remediation: remediation.into() }
    }

    pub(super) fn field(name: &str, expected: &str) -> Rejection {
        Rejection::new(RejectReason::BadField, format!("`{name}` must be {expected}"))
    }
}

/// What a source may say after it has subscribed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Said {
    /// It leaves, and not because it failed.
    Bye,
    /// It cannot go on: the end of its connection is its death, and this is why.
    Failed {
        /// A sentence for a person.
        reason: String,
    },
    /// How well it sees what it is for.
    Health(Health),
}

/// How well a source sees what it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    /// It does.
    #[default]
    Alive,
    /// It does not, for this reason, and goes on trying.
    Silent {
        /// A sentence for a person.
        reason: String,
    },
}

// ---- hub to client --------------------------------------------------------------------------------------------

/// Why something could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The log was trimmed past the cursor.
    Pruned,
    /// The log has never had an event of this id; delivery goes on at the time that the id carries.
    UnknownCursor,
    /// A row cannot be decoded and could have been wanted.
    UnreadableRow,
    /// A reason that is newer than this program; a gap all the same.
    #[serde(other)]
    Unknown,
}

/// What could not be delivered, and where delivery goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The cursor after which something is missing.
    pub since: EventId,
    /// The cursor from which delivery goes on.
    pub resumed_at: EventId,
    /// How many rows are missing (a few more where another program's refused inserts used up sequence numbers);
    /// `None` when that cannot be known.
    pub missed: Option<u64>,
}

/// What the hub says about itself to a subscriber that asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubStatus {
    /// Version of the program.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Whether a service manager passed it its sockets.
    pub activated: bool,
    /// The log that it reads. Empty from a hub that does not say.
    #[serde(default)]
    pub log_path: String,
    /// Seconds since it was ready.
    pub uptime_sec: u64,
    /// Subscribers at this moment, the asking one not counted.
    pub subscribers: u64,
    /// How many of them have not been handed everything yet …
    pub lagging: u64,
    /// … and by how many rows the last of them is behind.
    pub max_lag: u64,
    /// Frames handed to subscribers since it started.
    pub delivered: u64,
    /// Rows that could not be decoded since it started.
    pub unreadable_rows: u64,
    /// The sources that it knows.
    #[serde(default)]
    pub sources: Vec<SourceStatus>,
}

/// Every frame of the hub that carries no event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Control {
    /// Always the first frame on success.
    SubscribeAck {
        /// [`PROTO`].
        proto: u64,
        /// Null without `since`, else the newest event at registration, null on an empty log.
        caught_up_at: Option<EventId>,
        /// Seconds between heartbeats, 0 when they are switched off.
        heartbeat_sec: u64,
        /// The bound of `limits`.
        max_frame_bytes: usize,
        /// The point from which this subscriber would resume.
        cursor: EventId,
        /// Warnings for a person.
        notes: Vec<String>,
        /// The log that the hub reads. Empty from a hub that does not say.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        log_path: String,
    },
    /// The subscription is refused; end of file follows.
    SubscribeRejected {
        /// Why.
        reason: RejectReason,
        /// What to do about it.
        remediation: String,
        /// The versions that the hub speaks, when that is the reason.
        supported: Option<Vec<u64>>,
    },
    /// Nothing happened for a while, and the hub is there.
    DaemonHeartbeat {
        /// Seconds since the epoch.
        ts: u64,
        /// Seconds since the hub was ready.
        uptime_sec: u64,
        /// The point from which this subscriber would resume.
        cursor: EventId,
    },
    /// Something could not be delivered.
    Gap(Gap),
    /// The hub about itself.
    HubStatus(HubStatus),
    /// A source has come, gone or died, has become silent or is so no more.
    SourceStatus(SourceStatus),
    /// Who waits for this source.
    Demand(Demand),
    /// The hub stops; end of file follows.
    Shutdown {
        /// `stopping`, `handover`, `idle` or `error`.
        reason: String,
        /// Whether reconnecting makes sense.
        retry: bool,
        /// The point from which to resume.
        cursor: EventId,
    },
}

impl Control {
    /// The frame, with its length.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        codec::encode(self).unwrap_or_default()
    }
}

impl From<&Rejection> for Control {
    fn from(rejection: &Rejection) -> Control {
        let supported = (rejection.reason == RejectReason::Version).then(|| vec![PROTO]);
        // A remediation quotes what was sent, and that may be as long as a frame.
        let remediation = super::text::one_line(&rejection.remediation);
        Control::SubscribeRejected { reason: rejection.reason, remediation, supported }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::source::Announcement;
    use super::*;

    fn parse(frame: &Value) -> Result<Subscribe, Rejection> {
        Subscribe::parse(frame.to_string().as_bytes())
    }

    fn body(frame: &Bytes) -> Value {
        assert_eq!(u32::from_be_bytes(*frame.first_chunk().unwrap()) as usize, frame.len() - codec::PREFIX_BYTES);
        serde_json::from_slice(&frame[codec::PREFIX_BYTES..]).unwrap()
    }

    #[test]
    fn an_empty_object_subscribes_to_everything_from_now_on() {
        assert_eq!(parse(&json!({})), Ok(Subscribe::default()));
        assert_eq!(parse(&json!({"proto": 1, "a_later_key": {"x": 1}})), Ok(Subscribe::default()));
    }

    #[test]
    fn only_the_integer_one_is_this_protocol() {
        for proto in [json!(true), json!(1.0), json!("1"), json!(2), json!(0), json!(-1), json!(null), json!([1])] {
            let rejection = parse(&json!({"proto": proto})).unwrap_err();
            assert_eq!(rejection.reason, RejectReason::Version, "{proto}");
            assert!(matches!(Control::from(&rejection), Control::SubscribeRejected { supported: Some(_), .. }));
        }
    }

    #[test]
    fn a_bad_field_is_named() {
        for (frame, named) in [
            (json!({"filters": "*"}), "`filters`"),
            (json!({"filters": [1]}), "`filters`"),
            (json!({"filters": vec!["*"; 65]}), "at most 64"),
            (json!({"event_types": {}}), "`event_types`"),
            (json!({"since": "x"}), "`since`"),
            (json!({"since": 5}), "`since`"),
            (json!({"envelope": "full"}), "`envelope`"),
            (json!({"match": 1}), "`match`"),
            (json!({"match": ["a=1", ["b=1"]]}), "`match`"),
            (json!({"match": vec!["a=1"; 65]}), "at most 64"),
            (json!({"match": vec![Vec::<String>::new(); 65]}), "at most 64"),
            (json!({"where": true}), "`where`"),
            (json!({"heartbeat": 1}), "`heartbeat`"),
            (json!({"announce": "docker"}), "`announce`"),
        ] {
            let rejection = parse(&frame).unwrap_err();
            assert_eq!(rejection.reason, RejectReason::BadField, "{frame}");
            assert!(rejection.remediation.contains(named), "{rejection}");
        }
        for frame in [
            json!({"filters": ["nope"]}),
            json!({"match": "a"}),
            json!({"match": [["a=1"], ["b~["]]}),
            json!({"where": "sorce == 1"}),
        ] {
            assert_eq!(parse(&frame).unwrap().filter().unwrap_err().reason, RejectReason::BadField, "{frame}");
        }
        for text in ["", "[]", "\u{7f}", "{\"a\":"] {
            assert_eq!(Subscribe::parse(text.as_bytes()).unwrap_err().reason, RejectReason::BadFrame, "{text}");
        }
    }

    #[test]
    fn what_a_client_writes_the_hub_reads() {
        let subscribe = Subscribe {
            filters: vec!["octo/*".into()],
            event_types: vec!["workflow_run".into()],
            alternatives: vec![vec!["a=1".into(), "b~x".into()], vec!["c=2".into()]],
            where_: Some("fields.x == 1".into()),
            since: Some(EventId::ZERO),
            not_before: Some(-5),
            heartbeat: false,
            status: true,
            announce: Some(
                Announcement::parse(
                    &json!({"source": "docker", "detail": {"start": "x"}, "demand": true, "silent": "y"}),
                )
                .unwrap(),
            ),
        };
        assert_eq!(Subscribe::parse(&serde_json::to_vec(&subscribe).unwrap()), Ok(subscribe));
        assert_eq!(parse(&json!({"match": "a=1"})).unwrap().alternatives, [["a=1"]]);
        assert_eq!(parse(&json!({"match": ["a=1", "b=1"]})).unwrap().alternatives, [["a=1", "b=1"]]);
    }

    #[test]
    fn reasons_of_a_newer_hub_are_understood_as_what_they_are() {
        let gap = json!({"kind": "gap", "reason": "volcano", "since": EventId::ZERO, "resumed_at": EventId::ZERO, "missed": null});
        assert!(matches!(serde_json::from_value(gap).unwrap(), Control::Gap(Gap { reason: GapReason::Unknown, .. })));
        let refusal =
            json!({"kind": "subscribe_rejected", "reason": "volcano", "remediation": "wait", "supported": null});
        let refusal = serde_json::from_value(refusal).unwrap();
        assert!(matches!(refusal, Control::SubscribeRejected { reason: RejectReason::Unknown, .. }));
    }

    #[test]
    fn control_frames_read_back_as_themselves() {
        let gap = Gap { reason: GapReason::Pruned, since: EventId::ZERO, resumed_at: EventId::ZERO, missed: None };
        for control in [
            Control::Gap(gap),
            Control::Shutdown { reason: "stopping".into(), retry: true, cursor: EventId::ZERO },
            Control::from(&Rejection::new(RejectReason::Version, "no")),
        ] {
            assert_eq!(serde_json::from_value::<Control>(body(&control.encode())).unwrap(), control);
        }
        assert_eq!(body(&Control::Gap(gap).encode())["reason"], "pruned");
    }
}
