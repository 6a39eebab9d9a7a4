//! The conditions that every verb which reads events takes.

use clap::Args;

use super::exit::Failure;
use crate::model::frame::Subscribe;
use crate::waiting::asked;

/// Which events.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Conditions {
    /// Events of this source; several are alternatives
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,

    /// Events of this type, such as `workflow_run`; several are alternatives
    #[arg(long = "type", value_name = "NAME")]
    event_type: Vec<String>,

    /// Events of this repository, `owner/repo` or `owner/*`; several are alternatives
    #[arg(long, value_name = "OWNER/REPO")]
    pub(super) repo: Vec<String>,

    /// A field's value: `key=value`, `key!=value`, `key>=N`, `key~REGEX`, `key*=GLOB` or `key?`. All must hold; several `=` on
    /// one key are alternatives. A value that is JSON has that type: `exit_code=0`, `name="0"`
    #[arg(long = "match", value_name = "KEY=VALUE")]
    matching: Vec<String>,

    /// An expression in CEL over the event as --json prints it, which must hold too:
    /// `source == "docker" && fields.exit_code != 0`. What is missing is no match; `has(fields.x)` asks for it
    #[arg(long = "where", value_name = "EXPR")]
    where_: Option<String>,
}

impl Conditions {
    /// The same without the flags.
    pub(super) fn words(&self) -> asked::Conditions {
        asked::Conditions {
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            repo: self.repo.clone(),
            matching: self.matching.clone(),
            where_: self.where_.clone(),
        }
    }

    /// The subscription that asks for them, checked here so that a mistake is told before anything is started.
    pub(super) fn subscribe(&self) -> Result<Subscribe, Failure> {
        Ok(self.words().subscribe()?)
    }
}
