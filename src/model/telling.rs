//! What somebody tells the bus, from a command line, a line of a batch or a tool: the same keys, the same rules, and the
//! same line for a person where nobody has written one.

use serde::Deserialize;
use serde_json::Value;

use super::event::{BadDraft, Draft, Fields};
use super::limits;

/// An event as it is told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telling {
    /// Key under which the source says this only once.
    pub id: Option<String>,
    /// Who says it; whoever hears it may know that already.
    pub source: Option<String>,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Repository owner, or empty.
    #[serde(default)]
    pub owner: String,
    /// Repository name, or empty.
    #[serde(default)]
    pub repo: String,
    /// The field `status`.
    pub status: Option<String>,
    /// The field `conclusion`.
    pub conclusion: Option<String>,
    /// One line for a person.
    pub summary: Option<String>,
    /// Everything else that it knows.
    #[serde(default)]
    pub fields: Fields,
    /// What to store with it, unbroadcast.
    pub payload: Option<Value>,
}

impl Telling {
    /// What is stored of it, checked; of `source` if it does not say of whom it is.
    pub fn into_draft(self, source: Option<&str>, ingest_method: &'static str) -> Result<Draft, BadDraft> {
        let Some(source) = self.source.or_else(|| source.map(str::to_owned)) else {
            return Err(BadDraft { part: "source", problem: "is missing".into() });
        };
        let mut fields = self.fields;
        for (name, value) in [("status", self.status), ("conclusion", self.conclusion)] {
            if let Some(value) = value
                && fields.insert(name.to_owned(), value.into()).is_some()
            {
                return Err(BadDraft { part: name, problem: "is given twice, as itself and among the fields".into() });
            }
        }
        let size = serde_json::to_vec(&fields).map_or(usize::MAX, |text| text.len());
        if size > limits::MAX_FIELDS_BYTES {
            let problem = format!("{size} bytes, but at most {} are allowed", limits::MAX_FIELDS_BYTES);
            return Err(BadDraft { part: "fields", problem });
        }
        let summary = self.summary.unwrap_or_else(|| {
            let verdict = fields.get("conclusion").or_else(|| fields.get("status")).and_then(Value::as_str);
            let verdict = verdict.map(|verdict| format!(": {verdict}")).unwrap_or_default();
            format!("{source} {}{verdict}", self.event_type)
        });
        let draft = Draft {
            source,
            event_type: self.event_type,
            owner: self.owner,
            repo: self.repo,
            delivery_id: self.id,
            is_certain: false,
            ingest_method,
            summary,
            fields,
            payload: self.payload.map(|payload| match payload {
                Value::String(text) => text,
                other => other.to_string(),
            }),
        };
        draft.check()?;
        Ok(draft)
    }
}

/// The two parts of `owner/repo`, if it has them.
#[must_use]
pub fn owner_and_repo(name: &str) -> Option<(&str, &str)> {
    name.split_once('/').filter(|(owner, repo)| !owner.is_empty() && !repo.is_empty())
}
