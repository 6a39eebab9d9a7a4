//! `waitbus status`: what is running.

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output;
use crate::client::status::{HubState, hub};
use crate::config::directories::Directories;
use crate::model::source::{SourceState, SourceStatus};
use crate::model::text::one_line;
use crate::store::{LogPaths, Reader, StoreError};

/// Say what is running, since when, and how much is in the log
///
/// Exits 0 when the bus works, which includes a hub that is not running: the first wait starts it. Starts nothing.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let state = hub(directories).await.map_err(Failure::usage)?;
    let paths = LogPaths::new(&directories.state);
    let log = match Reader::open(&paths) {
        Ok(reader) => Some((reader.size()?, reader.newest()?.id)),
        Err(StoreError::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    if arguments.json {
        let hub = match &state {
            HubState::NotRunning => json!({"state": "not_running"}),
            HubState::Running(status) => json!({"state": "running", "status": status}),
            HubState::Silent { pid, problem } => json!({"state": "silent", "pid": pid, "problem": problem}),
        };
        let log = log.map(|(size, newest)| json!({"events": size.rows, "bytes": size.bytes, "newest": newest}));
        let _ = output::line(
            &json!({"hub": hub, "log": log, "log_path": paths.database(), "runtime_dir": directories.runtime})
                .to_string(),
        );
    } else {
        let _ = output::line(&describe_hub(&state));
        if let HubState::Running(status) = &state {
            for source in &status.sources {
                let _ = output::line(&describe_source(source));
            }
        }
        let path = paths.database();
        let _ = output::line(&match log {
            None => format!("log: none yet; it will be {}", path.display()),
            Some((size, newest)) => {
                format!("log: {} events, {} KiB, newest {newest}, {}", size.rows, size.bytes / 1_024, path.display())
            }
        });
    }
    Ok(if matches!(state, HubState::Silent { .. }) { Exit::Bus } else { Exit::Success })
}

fn describe_hub(state: &HubState) -> String {
    match state {
        HubState::NotRunning => "hub: not running; the first wait starts it".to_owned(),
        HubState::Silent { pid, problem } => {
            let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            format!("hub: process {pid} does not answer: {problem}")
        }
        HubState::Running(status) => format!(
            "hub: running for {} s (process {}, version {}{}), {} subscribers, {} behind by up to {} rows, {} frames \
             delivered, {} unreadable rows",
            status.uptime_sec,
            status.pid,
            status.version,
            if status.activated { ", activated by the service manager" } else { "" },
            status.subscribers,
            status.lagging,
            status.max_lag,
            status.delivered,
            status.unreadable_rows,
        ),
    }
}

fn describe_source(source: &SourceStatus) -> String {
    let name = &source.source;
    match (source.state, source.start()) {
        (SourceState::Alive, _) => format!("source {name}: alive"),
        (SourceState::Silent, _) => {
            let reason = source.reason().unwrap_or("it has not told why");
            format!("source {name}: silent, it sees nothing and goes on trying: {}", one_line(reason))
        }
        (SourceState::Gone, _) => format!("source {name}: gone, it has said goodbye"),
        (SourceState::Dead, None) => format!("source {name}: dead, {}", source.ending()),
        (SourceState::Dead, Some(start)) => {
            format!("source {name}: dead, {}; to have it back: {}", source.ending(), one_line(start))
        }
        (SourceState::Unknown, _) => format!("source {name}: in a state that is newer than this program"),
    }
}
