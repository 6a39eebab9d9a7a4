//! Sources that say of themselves that they are there: an announcement, which holds for as long as its connection is
//! open; what becomes known to others, a status; and what a source hears, the demand. PROTOCOL.md, "Announcing a source",
//! is the normative text.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{check_name, is_too_deep};
use super::filter::RepoFilter;
use super::limits::MAX_DETAIL_BYTES;
use super::text::one_line;

/// What a source knows about itself: `start`, a command that would bring it back, and whatever else it likes.
pub type Detail = Map<String, Value>;

/// The key of [`Detail`] that makes a source a presence.
const PRESENCE: &str = "presence";

/// A connection is a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Announcement {
    /// The source of the events.
    pub source: String,
    /// What it knows about itself.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub detail: Detail,
    /// Whether it wants to hear who waits for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub demand: bool,
    /// Why it sees nothing just now, if it does not: a sentence for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
}

impl Announcement {
    /// Reads the value of `announce`; the error is a sentence that says what it must be.
    pub(super) fn parse(value: &Value) -> Result<Announcement, String> {
        let shape = || "an object with the name of a `source` and, if you like, an object `detail`".to_owned();
        let source = value.get("source").and_then(Value::as_str).ok_or_else(shape)?;
        check_name("source", source).map_err(|error| format!("an object with a good `source`: {}", error.problem))?;
        let detail = match value.get("detail") {
            None | Some(Value::Null) => Detail::new(),
            Some(Value::Object(detail)) => detail.clone(),
            Some(_) => return Err(shape()),
        };
        if is_too_deep(&detail) || Value::Object(detail.clone()).to_string().len() > MAX_DETAIL_BYTES {
            return Err(format!("small: its `detail` may have {MAX_DETAIL_BYTES} bytes"));
        }
        if detail.get("start").is_some_and(|start| !start.is_string()) {
            return Err("honest: its `detail.start` is the text of a command".to_owned());
        }
        let demand = match value.get("demand") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(demand)) => *demand,
            Some(_) => return Err("plain: its `demand` is true or false".to_owned()),
        };
        let silent = match value.get("silent") {
            None | Some(Value::Null) => None,
            Some(Value::String(reason)) => Some(reason.clone()),
            Some(_) => return Err("plain: its `silent` is a sentence".to_owned()),
        };
        Ok(Announcement { source: source.to_owned(), detail, demand, silent })
    }

    /// That somebody is there, of whom no event comes.
    pub(super) fn of_presence(source: String) -> Announcement {
        let detail = Detail::from_iter([(PRESENCE.to_owned(), Value::Bool(true))]);
        Announcement { source, detail, ..Announcement::default() }
    }

    /// Whether it only says that somebody is there: no events come of it, and nobody's answer depends on it.
    #[must_use]
    pub fn is_presence(&self) -> bool {
        self.detail.get(PRESENCE) == Some(&Value::Bool(true))
    }

    /// Whether it is started by whoever needs it, so that it is there also when it is not running.
    #[must_use]
    pub fn is_on_demand(&self) -> bool {
        self.detail.get("on_demand") == Some(&Value::Bool(true))
    }
}

/// How a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// It is there, or is started by whoever needs it.
    Alive,
    /// It is there, sees nothing of what it is for, and goes on trying; `detail.reason` says why.
    Silent,
    /// It has said goodbye.
    Gone,
    /// It ended without a goodbye; `detail.reason` says why, if it could say so before.
    Dead,
    /// A state that is newer than this program.
    #[serde(other)]
    Unknown,
}

/// What is known about a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub source: String,
    /// How it is.
    pub state: SourceState,
    /// What it last said about itself.
    #[serde(default)]
    pub detail: Detail,
    /// For how many seconds it has been so, as far as the hub knows; told only in [`HubStatus`](super::frame::HubStatus).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_sec: Option<u64>,
}

impl SourceStatus {
    /// The command that would bring it back, if it has told one.
    #[must_use]
    pub fn start(&self) -> Option<&str> {
        self.detail.get("start").and_then(Value::as_str)
    }

    /// Why it is silent or dead, if it is and has told.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        let has_one = matches!(self.state, SourceState::Silent | SourceState::Dead);
        self.detail.get("reason").and_then(Value::as_str).filter(|_| has_one)
    }

    /// How a dead one has ended, in words for a person.
    #[must_use]
    pub fn ending(&self) -> String {
        match self.reason() {
            Some(reason) => format!("it cannot go on: {}", one_line(reason)),
            None => "it ended without a goodbye".to_owned(),
        }
    }
}

/// What a source says about itself, and why it is silent or dead: cleaned, and cut so that both together keep to the bound.
#[must_use]
pub fn with_reason(mut detail: Detail, reason: &str) -> Detail {
    detail.insert("reason".to_owned(), "".into());
    let Some(mut room) = MAX_DETAIL_BYTES.checked_sub(Value::Object(detail.clone()).to_string().len()) else {
        detail.remove("reason");
        return detail;
    };
    // Of a clean line JSON escapes only these two.
    let fits = |c: &char| {
        let left = room.checked_sub(c.len_utf8() + usize::from(matches!(c, '"' | '\\')));
        room = left.unwrap_or(0);
        left.is_some()
    };
    let reason: String = one_line(reason).chars().take_while(fits).collect();
    detail.insert("reason".to_owned(), reason.into());
    detail
}

/// Who waits for events of a source: the repositories that its subscribers ask for. Nobody waits when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Each in small letters, because a repository's name ignores case; `*` is every repository.
    pub filters: Vec<RepoFilter>,
    /// For each of them a number, which is another one when somebody has begun to wait with it. None where there are too
    /// many repositories, and from a hub that does not tell it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub newest: Vec<u64>,
}

impl Demand {
    /// The filters with which somebody has begun to wait since that demand.
    pub fn newcomers<'a>(&'a self, since: &'a Demand) -> impl Iterator<Item = &'a RepoFilter> {
        let known = |this: &(&RepoFilter, Option<u64>)| since.each().any(|that| that == *this);
        self.each().filter(move |this| !known(this)).map(|(filter, _)| filter)
    }

    fn each(&self) -> impl Iterator<Item = (&RepoFilter, Option<u64>)> {
        self.filters.iter().enumerate().map(|(index, filter)| (filter, self.newest.get(index).copied()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_announcement_names_a_source_and_is_small() {
        let good = Announcement::parse(&json!({"source": "docker", "detail": {"start": "waitbus source docker"}}));
        assert_eq!(good.unwrap().detail["start"], "waitbus source docker");
        assert_eq!(Announcement::parse(&json!({"source": "docker", "detail": null})).unwrap().detail, Detail::new());
        let nested = (0..100).fold(json!(1), |inner, _| json!([inner]));
        for (bad, named) in [
            (json!("docker"), "`source`"),
            (json!({}), "`source`"),
            (json!({"source": "a b"}), "a b"),
            (json!({"source": "docker", "detail": "text"}), "`detail`"),
            (json!({"source": "docker", "detail": {"x": "y".repeat(MAX_DETAIL_BYTES)}}), "bytes"),
            (json!({"source": "docker", "detail": {"x": nested}}), "small"),
            (json!({"source": "docker", "detail": {"start": ["rm"]}}), "`detail.start`"),
            (json!({"source": "docker", "demand": 1}), "`demand`"),
            (json!({"source": "docker", "silent": true}), "`silent`"),
        ] {
            let sentence = Announcement::parse(&bad).unwrap_err();
            assert!(sentence.contains(named), "{bad}: {sentence}");
        }
    }

    #[test]
    fn who_has_come_is_known_by_a_number_or_else_by_what_is_new() {
        let demand = |text: &str| serde_json::from_str::<Demand>(text).unwrap();
        let came = |now: &str, before: &str| -> Vec<String> {
            demand(now).newcomers(&demand(before)).map(ToString::to_string).collect()
        };
        let one = r#"{"filters":["*","o/a"],"newest":[1,2]}"#;
        assert_eq!(came(one, one), [""; 0]);
        assert_eq!(came(r#"{"filters":["*","o/a"],"newest":[1,3]}"#, one), ["o/a"]);
        assert_eq!(came(r#"{"filters":["o/a"],"newest":[2]}"#, one), [""; 0], "who goes");
        assert_eq!(came(one, r#"{"filters":[]}"#), ["*", "o/a"]);
        // A hub that does not tell it.
        assert_eq!(came(r#"{"filters":["*","o/a"]}"#, r#"{"filters":["*"]}"#), ["o/a"]);
    }

    #[test]
    fn a_reason_is_clean_and_keeps_to_the_bound_of_the_details() {
        let detail = |bytes: usize| Detail::from_iter([("x".to_owned(), json!("y".repeat(bytes)))]);
        assert_eq!(with_reason(detail(1), "a\u{1b}[31m\nb")["reason"], "a b");
        for bytes in [1, 300, 700, 740, 750, MAX_DETAIL_BYTES - 8] {
            for reason in ["\"".repeat(400), "ä".repeat(400), "plain".to_owned()] {
                let told = with_reason(detail(bytes), &reason);
                let length = Value::Object(told.clone()).to_string().len();
                assert!(length <= MAX_DETAIL_BYTES, "{bytes}: {length}");
                assert!(bytes > 740 || told["reason"].as_str().unwrap().len() > 1, "{bytes}: {told:?}");
                assert_eq!(told["x"], detail(bytes)["x"]);
            }
        }
    }

    #[test]
    fn a_state_of_a_newer_hub_is_a_state_all_the_same() {
        let status: SourceStatus = serde_json::from_value(json!({"source": "x", "state": "asleep"})).unwrap();
        assert_eq!((status.state, status.start()), (SourceState::Unknown, None));
    }
}
