//! `waitbus mcp`: the bus for agents, on standard input and output.

use std::sync::Arc;

use clap::Args;

use super::exit::{Exit, Failure};
use super::message::Myself;
use super::output;
use super::wait::interrupted;
use crate::config::directories::Directories;
use crate::mcp::{self, Options, Scope};
use crate::model::event::check_name;
use crate::model::filter::RepoFilter;
use crate::waiting::asked::Conditions;

/// Serve the bus to an agent over MCP, on standard input and output
///
/// An agent's host starts it. It ends when its input does. MCP.md says how to add it to a client, and what an agent gets
/// to read.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Offer no tool that writes
    #[arg(long)]
    read_only: bool,

    /// Show only events of this source; may be repeated
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,

    /// Show only events of this repository, `owner/repo` or `owner/*`; may be repeated
    #[arg(long, value_name = "OWNER/REPO")]
    repo: Vec<String>,

    /// The name of its agent; without one each message says under which it is sent or read
    #[command(flatten)]
    myself: Myself,

    /// Of the messages between agents, show only those from that name, to it, and to everybody
    #[arg(long)]
    own_messages: bool,

    /// Push events into the session of a client that takes pushes (Claude Code's channels): those that meet all these
    /// conditions, in the grammar of `wait --match`; without one, all that are shown
    #[arg(long, value_name = "CONDITION", num_args = 0..)]
    channel: Option<Vec<String>>,
}

impl Arguments {
    fn options(&self) -> Result<Options, Failure> {
        for name in &self.source {
            check_name("--source", name).map_err(Failure::usage)?;
        }
        let repos = self.repo.iter().map(|name| RepoFilter::parse(name).map_err(Failure::usage));
        let name = self.myself.name_if_any()?;
        let agent = name.clone().filter(|_| self.own_messages);
        if self.own_messages && agent.is_none() {
            return Err(Failure::usage("--own-messages: whose? Give a name with --as NAME, or set WAITBUS_AGENT"));
        }
        let scope = Scope { sources: self.source.clone(), repos: repos.collect::<Result<_, _>>()?, agent };
        let pushed = self.channel.as_ref().map(|conditions| Conditions {
            matching: conditions.clone(),
            repo: self.repo.clone(),
            // Several sources are alternatives, as those of the scope are.
            source: self.source.clone(),
            ..Conditions::default()
        });
        let channel = pushed.map(|conditions| conditions.subscribe()).transpose()?;
        Ok(Options { read_only: self.read_only, scope, name, channel })
    }
}

pub(super) async fn run(arguments: &Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let options = arguments.options()?;
    let complain = Arc::new(|text: &str| output::say(&format!("waitbus: {text}")));
    let serving = mcp::serve(directories, options, rmcp::transport::stdio_pipes(), complain, interrupted());
    let served = Box::pin(serving).await;
    let exit = served.map_err(|error| Failure::bus(format!("the client cannot be served: {error}")))?;
    exit.unwrap_or(Ok(Exit::Success))
}
