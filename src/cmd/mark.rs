//! `waitbus mark`: the cursor of now.

use clap::Args;

use super::exit::{Exit, Failure};
use super::output;
use crate::client::when::newest;
use crate::config::directories::Directories;

/// Print the cursor of now; `waitbus wait --after CURSOR` then misses nothing that happens from here on
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print it as a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let cursor = newest(directories)?;
    let text = if arguments.json { serde_json::json!({"cursor": cursor}).to_string() } else { cursor.to_string() };
    let _ = output::line(&text);
    Ok(Exit::Success)
}
