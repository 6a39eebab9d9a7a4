//! The first frame of a client: what it is as text, and how it is read and compiled.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::expression::Expression;
use super::filter::{Filter, RepoFilter};
use super::frame::{PROTO, RejectReason, Rejection};
use super::id::EventId;
use super::limits;
use super::predicate::{BadCondition, Condition, Conjunction};
use super::source::Announcement;

/// The first and only frame that a client has to send, as text that has not been compiled yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// `owner/repo`, `owner/*` or `*`.
    pub filters: Vec<String>,
    /// Exact event types; empty means all.
    pub event_types: Vec<String>,
    /// Alternatives of conditions that must all hold; empty means no condition.
    pub alternatives: Vec<Vec<String>>,
    /// An expression that must hold, too.
    pub where_: Option<String>,
    /// Delivery starts strictly after this event; `None` means from now on.
    pub since: Option<EventId>,
    /// Events that say that they happened before this time are left out, in nanoseconds since the epoch.
    pub not_before: Option<i64>,
    /// Whether this subscriber wants heartbeats.
    pub heartbeat: bool,
    /// Whether the hub tells about itself once, after the acknowledgement.
    pub status: bool,
    /// This connection is a source.
    pub announce: Option<Announcement>,
}

impl Default for Subscribe {
    fn default() -> Subscribe {
        Subscribe {
            filters: vec!["*".to_owned()],
            event_types: Vec::new(),
            alternatives: Vec::new(),
            where_: None,
            since: None,
            not_before: None,
            heartbeat: true,
            status: false,
            announce: None,
        }
    }
}

impl Serialize for Subscribe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("proto", &PROTO)?;
        map.serialize_entry("filters", &self.filters)?;
        if !self.event_types.is_empty() {
            map.serialize_entry("event_types", &self.event_types)?;
        }
        map.serialize_entry("since", &self.since)?;
        if !self.alternatives.is_empty() {
            map.serialize_entry("match", &self.alternatives)?;
        }
        if let Some(expression) = &self.where_ {
            map.serialize_entry("where", expression)?;
        }
        if let Some(time) = self.not_before {
            map.serialize_entry("not_before", &time)?;
        }
        map.serialize_entry("heartbeat", &self.heartbeat)?;
        if self.status {
            map.serialize_entry("status", &true)?;
        }
        if let Some(announcement) = &self.announce {
            map.serialize_entry("announce", announcement)?;
        }
        map.end()
    }
}

/// What compiles an expression, or finds that it has been compiled before.
pub type Compile<'a> = dyn FnMut(&str) -> Result<Arc<Expression>, BadCondition> + 'a;

impl Subscribe {
    /// Reads the body of a subscribe frame. Unknown keys are ignored.
    pub fn parse(body: &[u8]) -> Result<Subscribe, Rejection> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            Rejection::new(RejectReason::BadFrame, format!("the subscribe frame is not JSON: {error}"))
        })?;
        let Value::Object(frame) = value else {
            return Err(Rejection::new(RejectReason::BadFrame, "the subscribe frame must be a JSON object"));
        };
        match frame.get("proto") {
            None => {}
            Some(Value::Number(version)) if version.as_u64() == Some(PROTO) => {}
            Some(other) => {
                let problem = format!("this hub speaks protocol 1, not {other}; send `\"proto\": 1`");
                return Err(Rejection::new(RejectReason::Version, problem));
            }
        }
        match frame.get("envelope") {
            None | Some(Value::Null) => {}
            Some(Value::String(kind)) if kind == "diffs" => {}
            Some(_) => return Err(Rejection::field("envelope", "\"diffs\" or absent")),
        }
        let filters = strings(&frame, "filters", limits::MAX_FILTERS)?.unwrap_or_else(|| vec!["*".to_owned()]);
        let subscribe = Subscribe {
            filters,
            event_types: strings(&frame, "event_types", limits::MAX_EVENT_TYPES)?.unwrap_or_default(),
            alternatives: alternatives(frame.get("match"))?,
            where_: expression(frame.get("where"))?,
            since: since(frame.get("since"))?,
            not_before: not_before(frame.get("not_before"))?,
            heartbeat: flag(&frame, "heartbeat", true)?,
            status: flag(&frame, "status", false)?,
            announce: announcement(frame.get("announce"))?,
        };
        Ok(subscribe)
    }

    /// Whether there may be patterns among the conditions, which take time to compile.
    #[must_use]
    pub fn has_patterns(&self) -> bool {
        self.alternatives.iter().flatten().any(|condition| condition.contains('~') || condition.contains("*="))
    }

    /// Compiles what was asked for.
    pub fn filter(&self) -> Result<Filter, Rejection> {
        self.filter_with(&mut |text| Expression::compile(text).map(Arc::new))
    }

    /// Compiles what was asked for, and has `compile` do it for the expression.
    pub fn filter_with(&self, compile: &mut Compile<'_>) -> Result<Filter, Rejection> {
        let bad = |error: &dyn std::fmt::Display| Rejection::new(RejectReason::BadField, error.to_string());
        let repos = self.filters.iter().map(|text| RepoFilter::parse(text).map_err(|error| bad(&error)));
        let alternatives = self.alternatives.iter().map(|conditions| {
            let parsed: Result<Vec<_>, _> = conditions.iter().map(|text| Condition::parse(text)).collect();
            parsed.map(Conjunction::new).map_err(|error| bad(&error))
        });
        let mut filter = Filter {
            repos: repos.collect::<Result<_, _>>()?,
            event_types: self.event_types.clone(),
            alternatives: alternatives.collect::<Result<_, _>>()?,
            where_: self.where_.as_deref().map(compile).transpose().map_err(|error| bad(&error))?,
            not_before: self.not_before,
        };
        if filter.repos.contains(&RepoFilter::Any) {
            filter.repos.clear();
        }
        Ok(filter)
    }
}

fn strings(frame: &Map<String, Value>, name: &str, limit: usize) -> Result<Option<Vec<String>>, Rejection> {
    match frame.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) if items.len() <= limit => {
            list(items).map(Some).ok_or_else(|| Rejection::field(name, "a list of strings"))
        }
        Some(Value::Array(items)) => {
            Err(Rejection::field(name, &format!("a list of at most {limit} strings, not {}", items.len())))
        }
        Some(_) => Err(Rejection::field(name, "a list of strings")),
    }
}

fn list(items: &[Value]) -> Option<Vec<String>> {
    items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// A string, a list of strings (all must hold) or a list of such lists (one must hold).
fn alternatives(value: Option<&Value>) -> Result<Vec<Vec<String>>, Rejection> {
    let wrong = || Rejection::field("match", "a string, a list of strings (AND), or a list of lists (OR of ANDs)");
    let found = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) => vec![vec![text.clone()]],
        Some(Value::Array(items)) if items.is_empty() => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.iter().all(Value::is_array) => {
            let lists = items.iter().filter_map(Value::as_array).map(|items| list(items).ok_or_else(wrong));
            lists.collect::<Result<Vec<_>, _>>()?
        }
        Some(Value::Array(items)) => vec![list(items).ok_or_else(wrong)?],
        Some(_) => return Err(wrong()),
    };
    if found.iter().map(|conditions| conditions.len().max(1)).sum::<usize>() > limits::MAX_CONDITIONS {
        return Err(Rejection::field("match", &format!("at most {} conditions in all", limits::MAX_CONDITIONS)));
    }
    Ok(found)
}

fn expression(value: Option<&Value>) -> Result<Option<String>, Rejection> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Rejection::field("where", "an expression as a string")),
    }
}

fn since(value: Option<&Value>) -> Result<Option<EventId>, Rejection> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text
            .parse()
            .map(Some)
            .map_err(|error| Rejection::field("since", &format!("null or an event id; it is {error}"))),
        Some(_) => Err(Rejection::field("since", "null or an event id as a string")),
    }
}

fn not_before(value: Option<&Value>) -> Result<Option<i64>, Rejection> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let time = value.as_i64();
            time.map(Some).ok_or_else(|| Rejection::field("not_before", "null or nanoseconds since the epoch"))
        }
    }
}

fn announcement(value: Option<&Value>) -> Result<Option<Announcement>, Rejection> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => Announcement::parse(value).map(Some).map_err(|must| Rejection::field("announce", &must)),
    }
}

fn flag(frame: &Map<String, Value>, name: &str, default: bool) -> Result<bool, Rejection> {
    match frame.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Rejection::field(name, "true or false")),
    }
}
