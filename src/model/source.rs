//! Sources that say of themselves that they are there: an announcement, which holds for as long as its connection is
//! open, and what becomes known to others, a status. PROTOCOL.md, "Announcing a source", is the normative text.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{check_name, is_too_deep};
use super::filter::RepoFilter;
use super::limits::MAX_DETAIL_BYTES;

/// What a source knows about itself: `start`, a command that would bring it back, and whatever else it likes.
pub type Detail = Map<String, Value>;

/// A connection is a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Announcement {
    /// The source of the events.
    pub source: String,
    /// What it knows about itself.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub detail: Detail,
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
        Ok(Announcement { source: source.to_owned(), detail })
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
    /// It has said goodbye.
    Gone,
    /// It ended without a goodbye.
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
}

impl SourceStatus {
    /// The command that would bring it back, if it has told one.
    #[must_use]
    pub fn start(&self) -> Option<&str> {
        self.detail.get("start").and_then(Value::as_str)
    }
}

/// Who waits for events of a source: the repositories that its subscribers ask for. Nobody waits when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Each as it was asked for; `*` is every repository.
    pub filters: Vec<RepoFilter>,
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
        ] {
            let sentence = Announcement::parse(&bad).unwrap_err();
            assert!(sentence.contains(named), "{bad}: {sentence}");
        }
    }

    #[test]
    fn a_state_of_a_newer_hub_is_a_state_all_the_same() {
        let status: SourceStatus = serde_json::from_value(json!({"source": "x", "state": "asleep"})).unwrap();
        assert_eq!((status.state, status.start()), (SourceState::Unknown, None));
    }
}
