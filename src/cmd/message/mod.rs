//! `waitbus message`: messages between agents. Who says something and who is there; [`send`] has what is said, [`inbox`]
//! what is read.

mod inbox;
mod send;

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use jiff::{Timestamp, Unit};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output;
use super::wait::{interrupted, late};
use crate::client::message::{Who, who};
use crate::config::directories::Directories;
use crate::config::environment::{self, AGENT};
use crate::model::message::{AgentName, Present};

/// Send messages to other agents, and read those that they have sent
///
/// A message is an event in the log; it waits there for its reader, whether or not a hub runs. An agent is whoever reads
/// under its name.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  waitbus message send bob 'the build is green' --as alice
  waitbus message inbox --as bob --wait --timeout 10m
  answer=$(waitbus message request bob 'which port?' --as alice --timeout 1m)")]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Send(send::SendArguments),
    Request(send::RequestArguments),
    Reply(send::ReplyArguments),
    Inbox(inbox::Arguments),
    Who(WhoArguments),
}

/// Print which agents are there, and since when: those whose inbox waits
#[derive(Debug, Args)]
struct WhoArguments {
    /// Print a JSON object an agent: `{"name", "since", "for_sec"}`
    #[arg(long)]
    json: bool,
}

/// Under which name.
#[derive(Clone, Debug, Args)]
pub(super) struct Myself {
    /// The name under which to send and read: letters, digits, `_`, `-` and `.` [default: `$WAITBUS_AGENT`]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<AgentName>,
}

impl Myself {
    fn name(&self) -> Result<AgentName, Failure> {
        let nobody = || Failure::usage(format!("who are you? Give a name with --as NAME, or set {AGENT}"));
        self.name_if_any()?.ok_or_else(nobody)
    }

    /// The same for whom it is no mistake to have none.
    pub(super) fn name_if_any(&self) -> Result<Option<AgentName>, Failure> {
        if self.name.is_some() {
            return Ok(self.name.clone());
        }
        let named = environment::get_text(AGENT).map(|name| name.parse());
        named.transpose().map_err(|bad| Failure::usage(format!("{AGENT}: {bad}")))
    }
}

pub(super) async fn run(arguments: Arguments, directories: &Directories) -> Result<Exit, Failure> {
    match arguments.verb {
        Verb::Send(arguments) => send::send(arguments, directories).await,
        Verb::Request(arguments) => send::request(arguments, directories).await,
        Verb::Reply(arguments) => send::reply(arguments, directories).await,
        Verb::Inbox(arguments) => inbox::run(arguments, directories).await,
        Verb::Who(arguments) => print_who(&arguments, directories).await,
    }
}

async fn print_who(arguments: &WhoArguments, directories: &Directories) -> Result<Exit, Failure> {
    let there = match who(directories).await.map_err(Failure::usage)? {
        Who::Known(there) => there,
        Who::Unknown(problem) => return Err(Failure::bus(format!("who is there is not known: {problem}"))),
    };
    for Present { name, for_sec } in there {
        let since = since(for_sec);
        let text = if arguments.json {
            json!({"name": name.as_str(), "since": since, "for_sec": for_sec}).to_string()
        } else {
            format!("{name}, since {since}")
        };
        let _ = output::line(&text);
    }
    Ok(Exit::Success)
}

/// The time so many seconds ago, as people and programs write it.
fn since(for_sec: u64) -> String {
    let time = SystemTime::now().checked_sub(Duration::from_secs(for_sec)).unwrap_or(SystemTime::UNIX_EPOCH);
    let second = Timestamp::try_from(time).and_then(|time| time.round(Unit::Second));
    second.map_or_else(|_| "an unknown time".to_owned(), |second| second.to_string())
}

/// How what was waited for has ended.
enum Waited<T> {
    Ended(T),
    Interrupted(Exit),
    Late,
}

/// Waits for something, for no longer than that.
async fn within<T>(
    timeout: Option<Duration>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<Waited<T>, Failure> {
    tokio::select! {
        biased;
        exit = interrupted() => exit.map(Waited::Interrupted),
        ended = work => ended.map(Waited::Ended),
        () = late(timeout) => Ok(Waited::Late),
    }
}
