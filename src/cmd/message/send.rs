//! `waitbus message send`, `request` and `reply`: what is said, and waiting for what comes back.

use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;

use super::{Myself, Waited, within};
use crate::client::message::{AwaitedReceipt, Found, Sent, Who, find, is_received, send as commit, who};
use crate::client::{Begin, Inbox, Item, Letter, Mail};
use crate::cmd::emit::read_text;
use crate::cmd::exit::{Exit, Failure};
use crate::cmd::wait::Patience;
use crate::cmd::{output, time};
use crate::config::directories::Directories;
use crate::model::id::{EventId, IdGenerator};
use crate::model::limits::{MAX_MESSAGE_BYTES, SETTLING};
use crate::model::message::{Address, AgentName, Outgoing, Wanted};
use crate::model::text;

/// What is said, and who says it.
#[derive(Debug, Args)]
struct Words {
    /// What to say: a text, `@FILE`, or `-` for standard input
    #[arg(value_name = "BODY|@FILE|-", allow_hyphen_values = true)]
    body: String,

    #[command(flatten)]
    myself: Myself,
}

impl Words {
    fn body(&self) -> Result<String, Failure> {
        read_text("BODY", &self.body, MAX_MESSAGE_BYTES)
    }
}

/// Send a message, and print its id
///
/// Needs no hub: the message waits in the log for its reader.
#[derive(Debug, Args)]
pub(super) struct SendArguments {
    /// The name of an agent, or `*` for everybody who is there
    to: Address,

    #[command(flatten)]
    said: Words,

    /// The conversation that it belongs to
    #[arg(long, value_name = "TEXT")]
    thread: Option<String>,

    /// By what replies are to be recognized [default: the id of the message]
    #[arg(long, value_name = "TEXT")]
    correlation_id: Option<String>,

    /// Whom to reply to [default: the sender]
    #[arg(long, value_name = "NAME")]
    reply_to: Option<AgentName>,

    /// Wait until it has been handed to its reader
    #[arg(long)]
    receipt: bool,

    /// Give up waiting for the receipt after this long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = time::duration, requires = "receipt")]
    timeout: Option<Duration>,

    #[command(flatten)]
    patience: Patience,

    /// Print a JSON object: `{"event_id", "correlation_id", "cursor"}`; whatever answers comes after the cursor. With
    /// --receipt, another one: the receipt
    #[arg(long)]
    json: bool,
}

/// Send a message, wait for the reply, and print it
///
/// Exits 124 when --timeout elapsed first; the reply is then in the inbox when it comes.
#[derive(Debug, Args)]
pub(super) struct RequestArguments {
    /// The name of an agent, or `*` for whoever replies first
    to: Address,

    #[command(flatten)]
    said: Words,

    /// The conversation that it belongs to
    #[arg(long, value_name = "TEXT")]
    thread: Option<String>,

    /// Give up after this long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    timeout: Option<Duration>,

    #[command(flatten)]
    patience: Patience,

    /// Print the reply as one JSON object with its cursor, instead of its body
    #[arg(long)]
    json: bool,
}

/// Reply to a message, to its reply address, with its correlation id and in its thread
#[derive(Debug, Args)]
pub(super) struct ReplyArguments {
    /// The id of the message, as the inbox shows it
    message_id: EventId,

    #[command(flatten)]
    said: Words,

    /// Say nothing on standard error but errors
    #[arg(short, long)]
    quiet: bool,

    /// Print a JSON object: `{"event_id", "correlation_id", "cursor"}`
    #[arg(long)]
    json: bool,
}

pub(super) async fn send(arguments: SendArguments, directories: &Directories) -> Result<Exit, Failure> {
    let SendArguments { to, said, thread, correlation_id, reply_to, .. } = arguments;
    if arguments.receipt && to == Address::Everybody {
        return Err(Failure::usage("--receipt: a message to everybody has none; send it to an agent by its name"));
    }
    if arguments.receipt {
        may_wait(directories)?;
    }
    let from = said.myself.name()?;
    let outgoing = Outgoing { to, from, body: said.body()?, thread, correlation_id, reply_to };
    let sent = say(directories, &outgoing, arguments.json)?;
    if !arguments.patience.is_quiet() {
        say_who_is_not_there(directories, &outgoing, sent).await;
    }
    if !arguments.receipt {
        return Ok(Exit::Success);
    }
    let patience = &arguments.patience;
    let handed_over = async {
        let mut receipt = AwaitedReceipt::open(directories, sent, patience.options()).await?;
        patience.attached(receipt.feed());
        loop {
            match receipt.next().await? {
                Item::Gap(gap) => patience.gap(&gap)?,
                Item::Event { id, body } => return Ok((id, body)),
                Item::Source(_) => {}
            }
        }
    };
    match within(arguments.timeout, handed_over).await? {
        Waited::Interrupted(exit) => Ok(exit),
        Waited::Late => Ok(late(patience, &format!("{} has not been handed over", sent.id))),
        Waited::Ended((id, body)) => {
            if arguments.json {
                let _ = output::line(&output::event(id, body, true));
            }
            Ok(Exit::Success)
        }
    }
}

pub(super) async fn request(arguments: RequestArguments, directories: &Directories) -> Result<Exit, Failure> {
    let RequestArguments { to, said, thread, timeout, patience, json } = arguments;
    let from = said.myself.name()?;
    if to == Address::Agent(from.clone()) {
        return Err(Failure::usage(format!(
            "a request from {from} to {from} would be its own reply: ask somebody else"
        )));
    }
    may_wait(directories)?;
    // Nobody else has it, so nothing but a reply to this has it.
    let correlation_id = Some(IdGenerator::default().next(SystemTime::now()).to_string());
    let wanted = Wanted { name: from.clone(), thread: None, correlation_id: correlation_id.clone() };
    let outgoing = Outgoing { to, from, body: said.body()?, thread, correlation_id, reply_to: None };
    let sent = commit(directories, &outgoing.draft().map_err(Failure::usage)?)?;
    if !patience.is_quiet() {
        say_who_is_not_there(directories, &outgoing, sent).await;
    }
    let mut inbox = Inbox::open(directories, wanted, Begin::After(sent.mark), patience.options())?;
    let reply = async {
        inbox.attach().await?;
        inbox.feed().into_iter().for_each(|feed| patience.attached(feed));
        loop {
            match inbox.next().await? {
                Mail::Gap(gap) => patience.gap(&gap)?,
                Mail::Letter(letter) => return Ok(letter),
            }
        }
    };
    let waited = within(timeout, reply).await;
    let exit = waited.map(|waited| match waited {
        Waited::Interrupted(exit) => exit,
        Waited::Late => {
            late(&patience, &format!("no reply to {}; it will be in the inbox of {}", sent.id, outgoing.from))
        }
        Waited::Ended(letter) => {
            let Letter { message, event } = *letter;
            let text =
                if json { output::event(message.id, event, true) } else { text::lines(&message.body).join("\n") };
            if output::line(&text).is_ok() {
                inbox.handed_over();
            }
            Exit::Success
        }
    });
    if let Some(problem) = inbox.close(SETTLING).await
        && !patience.is_quiet()
    {
        output::say(&format!("waitbus: {problem}; the reply will be in the inbox as well"));
    }
    exit
}

pub(super) async fn reply(arguments: ReplyArguments, directories: &Directories) -> Result<Exit, Failure> {
    let from = arguments.said.myself.name()?;
    let id = arguments.message_id;
    let message = match find(directories, id)? {
        Found::Message(message) => message,
        Found::Another => return Err(Failure::usage(format!("{id} is an event, but no message"))),
        Found::Nothing => return Err(Failure::usage(format!("this log has no message {id}; it may have been pruned"))),
    };
    let outgoing = message.reply(from, arguments.said.body()?).map_err(Failure::usage)?;
    let sent = say(directories, &outgoing, arguments.json)?;
    if !arguments.quiet {
        say_who_is_not_there(directories, &outgoing, sent).await;
    }
    Ok(Exit::Success)
}

/// Refuses before anything is sent what could not be waited for.
fn may_wait(directories: &Directories) -> Result<(), Failure> {
    directories.broadcast().map(|_| ()).map_err(Failure::usage)
}

/// Sends a message and prints its id.
fn say(directories: &Directories, outgoing: &Outgoing, json: bool) -> Result<Sent, Failure> {
    let sent = commit(directories, &outgoing.draft().map_err(Failure::usage)?)?;
    let id = sent.id.to_string();
    let text = if json {
        let correlation_id = outgoing.correlation_id.as_ref().unwrap_or(&id);
        json!({"event_id": id, "correlation_id": correlation_id, "cursor": sent.mark}).to_string()
    } else {
        id
    };
    // It is committed, whether or not anybody reads its name.
    let _ = output::line(&text);
    Ok(sent)
}

/// Says so if nobody waits for a message. It is sent, so whatever goes wrong here is said and is no failure.
async fn say_who_is_not_there(directories: &Directories, outgoing: &Outgoing, sent: Sent) {
    let who = who(directories).await.unwrap_or_else(|error| Who::Unknown(error.to_string()));
    let there = match who {
        Who::Known(there) => there,
        Who::Unknown(problem) => {
            output::say(&format!("waitbus: sent; who is there is not known: {problem}"));
            return;
        }
    };
    let nobody = match &outgoing.to {
        Address::Agent(name) if there.iter().any(|present| present.name == *name) => return,
        // Whoever has read it may have left since.
        Address::Agent(name) if is_received(directories, sent, name).unwrap_or(false) => return,
        Address::Agent(name) => format!("{name} is not known to be there"),
        Address::Everybody if there.iter().any(|present| present.name != outgoing.from) => return,
        Address::Everybody => "nobody else is known to be there".to_owned(),
    };
    output::say(&format!("waitbus: {nobody}; the message waits in the log"));
}

fn late(patience: &Patience, what: &str) -> Exit {
    if !patience.is_quiet() {
        output::say(&format!("waitbus: timed out; {what}"));
    }
    Exit::TimedOut
}
