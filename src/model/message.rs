//! Messages between agents: events like any other, with names for who says what to whom. PROTOCOL.md, "Messages", is the
//! normative text.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::event::{BadDraft, Draft, Event, Fields, check_length, check_name, ingest_method};
use super::frame::Subscribe;
use super::id::EventId;
use super::limits::{MAX_AGENT_NAME_BYTES, MAX_FIELDS_BYTES, MAX_MESSAGE_BYTES, MAX_THREAD_BYTES};
use super::source::{Announcement, SourceState, SourceStatus};

/// The source of every event of this kind.
pub const SOURCE: &str = "agent";
/// The type of a message.
pub const MESSAGE: &str = "agent_message";
/// The type of what says that a message has been handed to its reader.
pub const RECEIPT: &str = "agent_receipt";

/// The address of everybody.
pub const EVERYBODY: &str = "*";
/// What the name of an agent that is there begins with, as a source that is announced.
const PRESENCE: &str = "agent.";

/// The name of an agent: letters, digits, `_`, `-` and `.`, beginning with a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(String);

impl AgentName {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(part: &'static str, text: &str) -> Result<AgentName, BadDraft> {
        check_name(part, text)?;
        check_length(part, text.len(), MAX_AGENT_NAME_BYTES)?;
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(BadDraft { part, problem: format!("{text:?} does not begin with a letter or a digit") });
        }
        Ok(AgentName(text.to_owned()))
    }
}

impl FromStr for AgentName {
    type Err = BadDraft;

    fn from_str(text: &str) -> Result<AgentName, BadDraft> {
        AgentName::parse("name", text)
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Whoever reads under this name.
    Agent(AgentName),
    /// Everybody who is there, written `*`.
    Everybody,
}

impl FromStr for Address {
    type Err = BadDraft;

    fn from_str(text: &str) -> Result<Address, BadDraft> {
        match text {
            EVERYBODY => Ok(Address::Everybody),
            name => AgentName::parse("to", name).map(Address::Agent),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Agent(name) => name.fmt(f),
            Address::Everybody => f.write_str(EVERYBODY),
        }
    }
}

/// A message that has not been sent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Whom it is for.
    pub to: Address,
    /// Who says it.
    pub from: AgentName,
    /// What is said.
    pub body: String,
    /// The conversation that it belongs to.
    pub thread: Option<String>,
    /// By what a reply to it is recognized. Without one it is the id of the event.
    pub correlation_id: Option<String>,
    /// Where replies go. Without it they go to whoever says it.
    pub reply_to: Option<AgentName>,
}

impl Outgoing {
    /// The event, if the message keeps the rules.
    pub fn draft(&self) -> Result<Draft, BadDraft> {
        check_length("body", self.body.len(), MAX_MESSAGE_BYTES)?;
        for (part, text) in [("thread", &self.thread), ("correlation id", &self.correlation_id)] {
            if let Some(text) = text {
                check_mark(part, text)?;
            }
        }
        let mut fields = Fields::new();
        let reply_to = self.reply_to.as_ref().map(|name| name.0.clone());
        let parts = [
            ("msg_to", Some(self.to.to_string())),
            ("msg_from", Some(self.from.0.clone())),
            ("msg_correlation_id", self.correlation_id.clone()),
            ("msg_reply_to", reply_to),
            ("msg_thread", self.thread.clone()),
            ("msg_body", Some(self.body.clone())),
        ];
        for (name, value) in parts {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value.into());
            }
        }
        // What JSON writes longer than it is: control characters take six bytes.
        let size = serde_json::to_vec(&fields).map_or(usize::MAX, |text| text.len());
        check_length("body, as JSON", size, MAX_FIELDS_BYTES)?;
        let opening = self.body.lines().find(|line| !line.trim().is_empty()).unwrap_or("(empty)");
        let summary = format!("{} to {}: {opening}", self.from, self.to);
        Ok(draft(MESSAGE, None, summary, fields))
    }
}

/// A thread or a correlation id: one short line.
fn check_mark(part: &'static str, text: &str) -> Result<(), BadDraft> {
    check_length(part, text.len(), MAX_THREAD_BYTES)?;
    if text.is_empty() || text.contains(char::is_control) {
        return Err(BadDraft { part, problem: "must be a non-empty line of text".into() });
    }
    Ok(())
}

fn draft(event_type: &str, delivery_id: Option<String>, summary: String, fields: Fields) -> Draft {
    let (source, event_type, ingest_method) = (SOURCE.to_owned(), event_type.to_owned(), ingest_method::EMIT);
    Draft { source, event_type, delivery_id, ingest_method, summary, fields, ..Draft::default() }
}

/// A message that somebody has sent. Any program may have written it, so its texts are outside text, of any length, and
/// its names need not be names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The event.
    pub id: EventId,
    /// Whom it is for.
    pub to: String,
    /// Who says it.
    pub from: Option<String>,
    /// What is said; anything but a text as the JSON that it is.
    pub body: String,
    /// The conversation that it belongs to.
    pub thread: Option<String>,
    /// By what a reply to it is recognized, if it says so.
    pub correlation_id: Option<String>,
    /// Where replies go, if it says so.
    pub reply_to: Option<String>,
}

impl Message {
    /// The message that an event is, if it is one.
    #[must_use]
    pub fn of(event: &Event) -> Option<Message> {
        if event.source != SOURCE || event.event_type != MESSAGE {
            return None;
        }
        let text = |name: &str| event.fields.get(name)?.as_str().map(str::to_owned);
        let body = match event.fields.get("msg_body") {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        Some(Message {
            id: event.id,
            to: text("msg_to")?,
            from: text("msg_from"),
            body,
            thread: text("msg_thread"),
            correlation_id: text("msg_correlation_id"),
            reply_to: text("msg_reply_to"),
        })
    }

    /// Whether it is for everybody.
    #[must_use]
    pub fn is_for_everybody(&self) -> bool {
        self.to == EVERYBODY
    }

    /// Whether whoever reads under this name has said it to everybody, and need not be told.
    #[must_use]
    pub fn is_own_broadcast(&self, name: &AgentName) -> bool {
        self.is_for_everybody() && self.from.as_deref() == Some(name.as_str())
    }

    /// A reply: to its reply address, with its correlation id and in its thread.
    pub fn reply(&self, from: AgentName, body: String) -> Result<Outgoing, BadDraft> {
        let address = self.reply_to.as_ref().or(self.from.as_ref());
        let nobody = || BadDraft { part: "reply", problem: "the message does not say who sent it".into() };
        let to = AgentName::parse("reply address", address.ok_or_else(nobody)?)?;
        let correlation_id = Some(self.correlation_id.clone().unwrap_or_else(|| self.id.to_string()));
        let (to, thread) = (Address::Agent(to), self.thread.clone());
        Ok(Outgoing { to, from, body, thread, correlation_id, reply_to: None })
    }

    /// What says that it has been handed to its reader; nothing does of what was said to everybody, because a word to
    /// many would come back from each of them. Said twice, it is stored once.
    #[must_use]
    pub fn receipt(&self, reader: &AgentName) -> Option<Draft> {
        if self.is_for_everybody() {
            return None;
        }
        let mut fields = Fields::new();
        let to = self.reply_to.clone().or_else(|| self.from.clone());
        let parts = [
            ("msg_id", Some(self.id.to_string())),
            ("msg_from", Some(reader.0.clone())),
            ("msg_to", to),
            ("msg_correlation_id", self.correlation_id.clone()),
            ("msg_thread", self.thread.clone()),
        ];
        for (name, value) in parts {
            // A text that another program made too long need not be said again.
            if let Some(value) = value.filter(|value| value.len() <= MAX_THREAD_BYTES) {
                fields.insert(name.to_owned(), value.into());
            }
        }
        let summary = format!("{reader} has received {}", self.id);
        Some(draft(RECEIPT, Some(receipt_key(self.id, reader)), summary, fields))
    }
}

/// The `delivery_id` of a receipt.
#[must_use]
pub fn receipt_key(message: EventId, reader: &AgentName) -> String {
    format!("receipt.{message}.{reader}")
}

/// Which messages an inbox is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Those to this name, and to everybody.
    pub name: AgentName,
    /// Only those of this thread.
    pub thread: Option<String>,
    /// Only those that reply to this, by their correlation id.
    pub correlation_id: Option<String>,
}

impl Wanted {
    /// Everything for a name.
    #[must_use]
    pub fn of(name: AgentName) -> Wanted {
        Wanted { name, thread: None, correlation_id: None }
    }

    /// The subscription, without a place to begin. What the name itself has said to everybody passes.
    #[must_use]
    pub fn subscription(&self) -> Subscribe {
        let quoted = |key: &str, text: &str| format!("{key}={}", Value::from(text));
        // Two of one key are alternatives.
        let mut all = vec![quoted("msg_to", self.name.as_str()), quoted("msg_to", EVERYBODY)];
        all.extend(self.thread.as_ref().map(|thread| quoted("msg_thread", thread)));
        all.extend(self.correlation_id.as_ref().map(|id| quoted("msg_correlation_id", id)));
        agents(MESSAGE, all)
    }

    /// Whether a thread or a correlation id that was asked for is one.
    pub fn check(&self) -> Result<(), BadDraft> {
        for (part, text) in [("thread", &self.thread), ("correlation id", &self.correlation_id)] {
            if let Some(text) = text {
                check_mark(part, text)?;
            }
        }
        Ok(())
    }
}

/// The subscription to the receipt of a message.
#[must_use]
pub fn receipt_of(message: EventId) -> Subscribe {
    agents(RECEIPT, vec![format!("msg_id=\"{message}\"")])
}

fn agents(event_type: &str, mut conditions: Vec<String>) -> Subscribe {
    conditions.push(format!("source={SOURCE}"));
    let event_types = vec![event_type.to_owned()];
    Subscribe { event_types, alternatives: vec![conditions], heartbeat: false, ..Subscribe::default() }
}

/// The announcement of whoever waits for messages under a name.
#[must_use]
pub fn presence(name: &AgentName) -> Announcement {
    Announcement::of_presence(format!("{PRESENCE}{name}"))
}

/// An agent that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its name.
    pub name: AgentName,
    /// For how long, in seconds, as far as the hub knows.
    pub for_sec: u64,
}

/// The agents that are there, of the sources that the hub knows.
#[must_use]
pub fn present(sources: &[SourceStatus]) -> Vec<Present> {
    let alive = sources.iter().filter(|status| status.state == SourceState::Alive);
    let named = alive.filter_map(|status| {
        let name = status.source.strip_prefix(PRESENCE)?.parse().ok()?;
        Some(Present { name, for_sec: status.for_sec.unwrap_or(0) })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event::Record;
    use super::super::event::tests::record;
    use super::super::id::Seq;
    use super::*;

    fn name(text: &str) -> AgentName {
        text.parse().unwrap()
    }

    fn outgoing(to: &str, body: &str) -> Outgoing {
        let (to, from, body) = (to.parse().unwrap(), name("alice"), body.to_owned());
        Outgoing { to, from, body, thread: None, correlation_id: None, reply_to: None }
    }

    fn event(fields: &Value) -> Event {
        let mut event = record(7, SOURCE, fields).event;
        event.event_type = MESSAGE.into();
        event
    }

    #[test]
    fn a_name_is_a_name_and_fits_a_source() {
        for good in ["a", "7", "Bob", "claude-2.review_er", &"x".repeat(MAX_AGENT_NAME_BYTES)] {
            let announcement = presence(&name(good));
            let parsed = Announcement::parse(&serde_json::to_value(&announcement).unwrap());
            assert_eq!(parsed, Ok(announcement), "{good}");
        }
        for bad in ["", "*", ".", "..", "-a", "_a", "a b", "a/b", "é", "a\n", &"x".repeat(MAX_AGENT_NAME_BYTES + 1)] {
            assert_eq!(bad.parse::<AgentName>().unwrap_err().part, "name", "{bad:?}");
        }
        assert_eq!("*".parse(), Ok(Address::Everybody));
        assert_eq!("**".parse::<Address>().unwrap_err().part, "to");
    }

    #[test]
    fn what_is_sent_is_read_back_and_passes_the_inboxes_that_it_is_for() {
        let sent = Outgoing {
            thread: Some("a \"thread\"".into()),
            correlation_id: Some("12".into()),
            reply_to: Some(name("carol")),
            ..outgoing("12", "\nfirst\u{1b}[31m line\nsecond")
        };
        let draft = sent.draft().unwrap();
        assert_eq!(draft.check(), Ok(()));
        assert_eq!(draft.summary, "alice to 12: first\u{1b}[31m line");
        let event = event(&Value::Object(draft.fields));
        let message = Message::of(&event).unwrap();
        assert_eq!((&*message.to, message.from.as_deref(), &message.body), ("12", Some("alice"), &sent.body));
        let record = Record::new(Seq(7), event, None);
        let passes = |wanted: Wanted| wanted.subscription().filter().unwrap().wants(&record);
        let of = |text: &str| Wanted::of(name(text));
        assert!(passes(of("12")), "a name that looks like a number is a name");
        assert!(!passes(of("alice")) && !passes(of("1")));
        assert!(passes(Wanted { thread: sent.thread, correlation_id: sent.correlation_id, ..of("12") }));
        assert!(!passes(Wanted { thread: Some("another".into()), ..of("12") }));
        assert!(!passes(Wanted { correlation_id: Some("1".into()), ..of("12") }));
    }

    #[test]
    fn a_reply_goes_to_the_reply_address_and_says_what_it_replies_to() {
        let asked = json!({"msg_to": "bob", "msg_from": "alice", "msg_reply_to": "carol", "msg_correlation_id": "c1",
                           "msg_thread": "t", "msg_body": "?"});
        let reply = Message::of(&event(&asked)).unwrap().reply(name("bob"), "!".into()).unwrap();
        assert_eq!(
            (reply.to.to_string(), reply.correlation_id, reply.thread),
            ("carol".into(), Some("c1".into()), Some("t".into()))
        );
        let plain = Message::of(&event(&json!({"msg_to": "*", "msg_from": "alice"}))).unwrap();
        let reply = plain.reply(name("bob"), String::new()).unwrap();
        assert_eq!((reply.to.to_string(), reply.correlation_id), ("alice".into(), Some(plain.id.to_string())));
        for nobody in [
            json!({"msg_to": "bob"}),
            json!({"msg_to": "bob", "msg_from": "*"}),
            json!({"msg_to": "bob", "msg_from": 1}),
        ] {
            Message::of(&event(&nobody)).unwrap().reply(name("bob"), String::new()).unwrap_err();
        }
    }

    #[test]
    fn a_message_that_breaks_a_bound_says_which() {
        let part = |outgoing: Outgoing| outgoing.draft().unwrap_err().part;
        let good = outgoing("bob", &"x".repeat(MAX_MESSAGE_BYTES));
        good.draft().unwrap();
        assert_eq!(part(outgoing("bob", &"x".repeat(MAX_MESSAGE_BYTES + 1))), "body");
        assert_eq!(part(outgoing("bob", &"\u{1}".repeat(MAX_MESSAGE_BYTES))), "body, as JSON");
        for bad in [String::new(), "a\nb".into(), "x".repeat(MAX_THREAD_BYTES + 1)] {
            assert_eq!(part(Outgoing { thread: Some(bad.clone()), ..good.clone() }), "thread");
            assert_eq!(part(Outgoing { correlation_id: Some(bad), ..good.clone() }), "correlation id");
        }
    }

    #[test]
    fn whatever_a_foreign_row_holds_is_a_message_or_none_and_its_receipt_keeps_the_rules() {
        let long = "x".repeat(100_000);
        for (fields, body) in [
            (json!({"msg_to": "bob"}), ""),
            (json!({"msg_to": "bob", "msg_body": {"a": [1]}}), "{\"a\":[1]}"),
            (
                json!({"msg_to": "bob", "msg_body": "b", "msg_from": long, "msg_thread": 3, "msg_correlation_id": long}),
                "b",
            ),
        ] {
            let message = Message::of(&event(&fields)).unwrap();
            assert_eq!(message.body, body);
            let receipt = message.receipt(&name("bob")).unwrap();
            assert_eq!(receipt.check(), Ok(()));
            assert!(serde_json::to_vec(&receipt.fields).unwrap().len() < 1_000);
        }
        for none in [json!({}), json!({"msg_to": 1}), json!({"msg_body": "b"})] {
            assert_eq!(Message::of(&event(&none)), None);
        }
        let everybody = Message::of(&event(&json!({"msg_to": "*", "msg_from": "bob"}))).unwrap();
        assert_eq!(everybody.receipt(&name("carol")), None, "a word to many does not come back from each");
        assert!(everybody.is_own_broadcast(&name("bob")) && !everybody.is_own_broadcast(&name("carol")));
    }
}
