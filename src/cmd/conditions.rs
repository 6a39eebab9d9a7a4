//! The conditions that every verb which reads events takes.

use clap::Args;

use super::exit::Failure;
use crate::model::frame::Subscribe;
use crate::model::limits::{MAX_CONDITIONS, MAX_FRAME_BYTES};

/// Which events.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Conditions {
    /// Events of this source; several are alternatives
    #[arg(long, value_name = "NAME")]
    pub(super) source: Vec<String>,

    /// Events of this type, such as `workflow_run`; several are alternatives
    #[arg(long = "type", value_name = "NAME")]
    pub(super) event_type: Vec<String>,

    /// Events of this repository, `owner/repo` or `owner/*`; several are alternatives
    #[arg(long, value_name = "OWNER/REPO")]
    pub(super) repo: Vec<String>,

    /// A field's value: `key=value`, `key!=value`, `key>=N`, `key~REGEX`, `key*=GLOB` or `key?`. All must hold; several `=` on
    /// one key are alternatives. A value that is JSON has that type: `exit_code=0`, `name="0"`
    #[arg(long = "match", value_name = "KEY=VALUE")]
    pub(super) matching: Vec<String>,

    /// An expression in CEL over the event as --json prints it, which must hold too:
    /// `source == "docker" && fields.exit_code != 0`. What is missing is no match; `has(fields.x)` asks for it
    #[arg(long = "where", value_name = "EXPR")]
    pub(super) where_: Option<String>,
}

impl Conditions {
    /// Whether nothing was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.repo.is_empty() && !self.has_plain()
    }

    /// Whether something was asked for that does not narrow clauses as well.
    pub(super) fn has_plain(&self) -> bool {
        let named = !(self.source.is_empty() && self.event_type.is_empty());
        named || !self.matching.is_empty() || self.where_.is_some()
    }

    /// The flags as they were typed.
    pub(super) fn typed(&self) -> String {
        let flags = [
            ("--source", &self.source),
            ("--type", &self.event_type),
            ("--repo", &self.repo),
            ("--match", &self.matching),
            ("--where", &self.where_.iter().cloned().collect()),
        ];
        let quoted = |value: &String| {
            if value.contains(char::is_whitespace) { format!("{value:?}") } else { value.clone() }
        };
        let typed = flags
            .into_iter()
            .flat_map(|(flag, values)| values.iter().map(move |value| format!("{flag} {}", quoted(value))));
        typed.collect::<Vec<_>>().join(" ")
    }

    /// The subscription that asks for them, checked here so that a mistake is told before anything is started.
    pub(super) fn subscribe(&self) -> Result<Subscribe, Failure> {
        let mut all = self.matching.clone();
        for source in &self.source {
            // Quoted, because a source may be called `true` or `12`.
            all.push(format!("source={}", serde_json::Value::String(source.clone())));
        }
        let subscribe = Subscribe {
            filters: if self.repo.is_empty() { vec!["*".to_owned()] } else { self.repo.clone() },
            event_types: self.event_type.clone(),
            alternatives: if all.is_empty() { Vec::new() } else { vec![all] },
            where_: self.where_.clone(),
            heartbeat: false,
            ..Subscribe::default()
        };
        for (flag, names) in [("--source", &self.source), ("--type", &self.event_type)] {
            if names.iter().any(String::is_empty) {
                return Err(Failure::usage(format!("{flag} is empty: no event has an empty name")));
            }
        }
        check(&subscribe)?;
        Ok(subscribe)
    }
}

/// A subscription that no event passes.
pub(super) fn nothing() -> Subscribe {
    Subscribe { alternatives: vec![vec!["event_id=null".to_owned()]], heartbeat: false, ..Subscribe::default() }
}

/// What the hub would refuse is refused before one is started.
pub(super) fn check(subscribe: &Subscribe) -> Result<(), Failure> {
    let count = subscribe.alternatives.iter().map(|conditions| conditions.len().max(1)).sum::<usize>();
    if count > MAX_CONDITIONS {
        return Err(Failure::usage(format!(
            "these are {count} conditions together, each clause's source, scope and keys counted, but the hub takes at \
             most {MAX_CONDITIONS} for one subscriber: ask for less in one wait"
        )));
    }
    let text = serde_json::to_vec(subscribe).map_err(Failure::usage)?;
    if text.len() > MAX_FRAME_BYTES {
        let problem = format!("the conditions have {} bytes together, but at most {MAX_FRAME_BYTES} fit", text.len());
        return Err(Failure::usage(problem));
    }
    Subscribe::parse(&text).and_then(|read| read.filter()).map_err(Failure::usage)?;
    Ok(())
}
