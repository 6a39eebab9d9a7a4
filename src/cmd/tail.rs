//! `waitbus tail`: follow the bus.

use std::num::NonZeroU64;

use clap::Args;

use super::conditions::Conditions;
use super::exit::{Exit, Failure};
use super::output;
use super::wait::{Patience, Start, interrupted};
use crate::client::Item;
use crate::config::directories::Directories;
use crate::model::source::SourceState;

/// Follow the bus: print each event that matches, until interrupted
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    conditions: Conditions,

    #[command(flatten)]
    start: Start,

    /// Stop after this many events
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,

    #[command(flatten)]
    patience: Patience,

    /// Print each event as one JSON object with its cursor, instead of its summary
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, directories: &Directories) -> Result<Exit, Failure> {
    tokio::select! {
        biased;
        exit = interrupted() => exit,
        outcome = follow(&arguments, directories) => outcome,
    }
}

async fn follow(arguments: &Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let since = arguments.start.cursor(directories)?;
    let mut feed = arguments.patience.open(directories, &arguments.conditions, since).await?;
    let mut left = arguments.count.map(NonZeroU64::get);
    while left != Some(0) {
        match feed.next().await? {
            Item::Gap(gap) => arguments.patience.gap(&gap)?,
            Item::Source(status) if status.state == SourceState::Silent => arguments.patience.silent(&status),
            Item::Source(_) => {}
            Item::Event { id, body } => {
                left = left.map(|count| count - 1);
                if output::line(&output::event(id, body, arguments.json)).is_err() {
                    return Ok(Exit::Success);
                }
            }
        }
    }
    Ok(Exit::Success)
}
