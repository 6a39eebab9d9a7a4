//! `send_message` and `read_messages`: what `waitbus message` does.

use std::time::Duration;

use rmcp::model::{CallToolResult, JsonObject};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::super::arguments::{Arguments, ToolError};
use super::super::{Server, clients, progress, shown};
use super::log::blocking;
use super::object;
use super::wait::{gap_json, start};
use crate::client::message::{Found, Sent, Who, find, is_received, send as commit, who};
use crate::client::{Begin, Inbox, Letter, Mail, Options};
use crate::model::event::BadDraft;
use crate::model::event_frame::event_of;
use crate::model::fence::Fenced;
use crate::model::frame::Gap;
use crate::model::id::EventId;
use crate::model::limits::{
    FENCED_BYTES, GRACE, LAST_RECEIPTS, LISTED_BYTES, LISTED_EVENTS, MAX_LISTED_EVENTS, WAIT_MAX,
};
use crate::model::message::{Address, AgentName, Message, Outgoing, SOURCE, Wanted};

/// The name under which a call sends or reads.
fn name(server: &Server, arguments: &mut Arguments) -> Result<AgentName, ToolError> {
    server.scope.check_source("as", SOURCE)?;
    let given = arguments.parsed("as", |text| text.parse::<AgentName>().map_err(|bad| bad.problem))?;
    match (given, &server.scope.agent) {
        (Some(given), Some(own)) if given != *own => {
            Err(ToolError::argument("as", format!("this server sends and reads the messages of {own} only")))
        }
        (Some(given), _) => Ok(given),
        (None, _) => server.name.clone().ok_or_else(|| {
            ToolError::argument("as", "is missing: give the name under which you send and read, such as your role")
        }),
    }
}

/// Sends one.
pub(in crate::mcp) async fn send(server: &Server, mut arguments: Arguments) -> Result<CallToolResult, ToolError> {
    let from = name(server, &mut arguments)?;
    let to = arguments.parsed("to", |text| text.parse::<Address>().map_err(|bad| bad.problem))?;
    let answers = arguments.parsed("in_reply_to", |text| text.parse::<EventId>().map_err(|bad| bad.to_string()))?;
    let body = arguments.required("body")?;
    let (thread, correlation_id) = (arguments.text("thread_id")?, arguments.text("correlation_id")?);
    let is_given = correlation_id.is_some();
    let reply_to = arguments.parsed("reply_to", |text| text.parse::<AgentName>().map_err(|bad| bad.problem))?;
    let outgoing = match (to, answers) {
        (Some(to), None) => Outgoing { to, from, body, thread, correlation_id, reply_to },
        (Some(_), Some(_)) => {
            return Err(ToolError::argument("to", "does not go with in_reply_to, which says whom it is for"));
        }
        (None, None) => return Err(ToolError::argument("to", "is missing: the name of an agent, or * for everybody")),
        (None, Some(id)) => {
            let reply = answered(server, id).await?.reply(from, body).map_err(unanswerable)?;
            Outgoing {
                thread: thread.or(reply.thread),
                correlation_id: correlation_id.or(reply.correlation_id),
                reply_to,
                ..reply
            }
        }
    };
    let draft = outgoing.draft().map_err(named)?;
    let directories = server.directories.clone();
    let sent = blocking(move || commit(&directories, &draft)).await??;
    // It is sent, so whatever goes wrong here is said and is no failure.
    let there = is_there(server, &outgoing, sent).await;
    let line = match &there {
        Ok(true) => format!("sent as {}", sent.id),
        Ok(false) => format!("sent as {}; nobody it is for is known to be there, so it waits in the log", sent.id),
        Err(problem) => format!("sent as {}; who is there is not known: {problem}", sent.id),
    };
    let mut structured = object(json!({"event_id": sent.id, "cursor": sent.mark, "receiver_is_there": there.ok()}));
    let correlation_id = outgoing.correlation_id.unwrap_or_else(|| sent.id.to_string());
    if is_given || is_id(&correlation_id) {
        structured.insert("correlation_id".into(), correlation_id.into());
    } else {
        // It came with the message that is replied to.
        structured.insert("data".into(), Fenced::of(json!({"correlation_id": correlation_id})).into());
    }
    Ok(shown::result(&line, structured))
}

/// Whether a text is the id of an event, which can say nothing but itself.
fn is_id(text: &str) -> bool {
    text.parse::<EventId>().is_ok_and(|id| id.to_string() == text)
}

/// A message to which nobody can reply. What is wrong with its texts is not said in their words.
fn unanswerable(bad: BadDraft) -> ToolError {
    match bad.part {
        "reply address" => ToolError::argument("in_reply_to", "the message does not come from the name of an agent"),
        _ => named(bad),
    }
}

/// The parts of a message as the arguments call them.
fn named(bad: BadDraft) -> ToolError {
    let argument = match bad.part {
        "thread" => "thread_id",
        "correlation id" => "correlation_id",
        "reply" => "in_reply_to",
        part => part,
    };
    ToolError::argument(argument, bad.problem)
}

/// The message that is replied to.
async fn answered(server: &Server, id: EventId) -> Result<Message, ToolError> {
    let directories = server.directories.clone();
    let visible = super::log::find(server, id).await?.is_some();
    match blocking(move || find(&directories, id)).await?? {
        Found::Message(message) if visible => Ok(*message),
        Found::Another if visible => {
            Err(ToolError::argument("in_reply_to", format!("{id} is an event, but no message")))
        }
        _ => Err(ToolError::argument("in_reply_to", format!("the log has no message {id}"))),
    }
}

/// Whether somebody for whom it is reads, or why nobody can tell.
async fn is_there(server: &Server, outgoing: &Outgoing, sent: Sent) -> Result<bool, String> {
    let there = match who(&server.directories).await.map_err(|error| error.to_string())? {
        Who::Known(there) => there,
        Who::Unknown(problem) => return Err(problem),
    };
    Ok(match &outgoing.to {
        // Whoever has read it may have left since.
        Address::Agent(name) => {
            there.iter().any(|present| present.name == *name)
                || is_received(&server.directories, sent, name).map_err(|error| error.to_string())?
        }
        Address::Everybody => there.iter().any(|present| present.name != outgoing.from),
    })
}

/// Reads those that have come, and waits for one if there is none and the call says so.
pub(in crate::mcp) async fn read(
    server: &Server,
    mut arguments: Arguments,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ToolError> {
    let name = name(server, &mut arguments)?;
    let (thread, correlation_id) = (arguments.text("thread_id")?, arguments.text("correlation_id")?);
    let wanted = Wanted { name, thread, correlation_id };
    wanted.check().map_err(named)?;
    let most = MAX_LISTED_EVENTS as u64;
    let limit = arguments.number("limit", 1..=most)?.and_then(|limit| usize::try_from(limit).ok());
    let asked = arguments.number("max_wait_seconds", 0..=WAIT_MAX.as_secs())?.map(Duration::from_secs);
    let begin = match start(server, &mut arguments)? {
        Some(cursor) => Begin::After(cursor),
        None if wanted.thread.is_none() && wanted.correlation_id.is_none() => Begin::Unread,
        None => {
            let argument = if wanted.thread.is_some() { "thread_id" } else { "correlation_id" };
            let problem =
                "what has been read is known of the whole inbox only: say where to begin, with after or since";
            return Err(ToolError::argument(argument, problem));
        }
    };
    let (client, hears) = (context.client_info(), context.meta.get_progress_token().is_some());
    let wait = asked.map(|asked| clients::wait(client.as_ref().map(|client| &*client.name), Some(asked), hears));
    // What has been told before counts as read, also while that is still being written down.
    tokio::select! {
        biased;
        () = context.ct.cancelled() => return Err(cancelled()),
        () = server.unsettled.settled() => {}
        () = server.closing() => {}
    }
    let inbox = Inbox::open(&server.directories, wanted, begin, Options { grace: GRACE })?;
    let mut reading = Reading { inbox, limit: limit.unwrap_or(LISTED_EVENTS), read: Vec::new(), bytes: 0, gap: None };
    let come = progress::beside(context, wait.unwrap_or_default(), reading.come(server, wait)).await;
    if let Err(error) = come.unwrap_or_else(|| Err(cancelled())) {
        reading.inbox.leave().await;
        return Err(error);
    }
    let problem = if reading.read.is_empty() { None } else { server.problem.take() };
    let answer = reading.result(problem.as_deref());
    hand_over(server, reading.inbox, context);
    Ok(answer)
}

fn cancelled() -> ToolError {
    ToolError("cancelled".into())
}

/// What was read has been handed over when the answer that tells of it is written, and not before: one that the client
/// cancels is told to nobody.
fn hand_over(server: &Server, mut inbox: Inbox, context: &RequestContext<RoleServer>) {
    let (written, settling) = (server.answers.written(context), server.unsettled.begin());
    let (mut ended, complain, kept) = (server.ended.clone(), server.complain.clone(), server.problem.clone());
    spawn_local(async move {
        let _settling = settling;
        if !written.await {
            return inbox.leave().await;
        }
        inbox.handed_over();
        tokio::select! {
            biased;
            () = inbox.settle() => {}
            _ = ended.wait_for(|ended| *ended) => {}
        }
        if let Some(problem) = inbox.close(LAST_RECEIPTS).await {
            complain(&format!("{problem}; messages that were read may come again"));
            kept.replace(Some(problem.to_string()));
        }
    });
}

struct Reading {
    inbox: Inbox,
    limit: usize,
    read: Vec<JsonObject>,
    bytes: usize,
    gap: Option<Gap>,
}

impl Reading {
    /// Takes what is there, or else what comes within that time.
    async fn come(&mut self, server: &Server, wait: Option<Duration>) -> Result<(), ToolError> {
        self.here().await?;
        let Some(wait) = wait.filter(|_| self.read.is_empty() && self.gap.is_none()) else { return Ok(()) };
        tokio::select! {
            biased;
            mail = self.inbox.next() => {
                let mail = mail?;
                self.take(mail);
                self.here().await?;
            }
            () = sleep(wait) => {}
            () = server.closing() => {}
        }
        Ok(())
    }

    /// Takes what is there, as much as is told at once.
    async fn here(&mut self) -> Result<(), ToolError> {
        while self.gap.is_none() && self.read.len() < self.limit && self.bytes < LISTED_BYTES {
            match self.inbox.here().await? {
                Some(mail) => self.take(mail),
                None => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, mail: Mail) {
        match mail {
            Mail::Gap(gap) => self.gap = Some(gap),
            Mail::Letter(letter) => {
                let shown = letter_json(&letter);
                self.bytes += shown.get("data").and_then(Value::as_str).map_or(0, str::len);
                self.read.push(shown);
            }
        }
    }

    /// What is told, and why some of it may have been told before.
    fn result(&self, problem: Option<&str>) -> CallToolResult {
        let cursor = self.inbox.cursor();
        let plural = if self.read.len() == 1 { "message" } else { "messages" };
        let mut line = format!("{} {plural}; the cursor is {cursor}", self.read.len());
        let status = match (&self.gap, self.read.is_empty()) {
            (Some(_), _) => "gap",
            (None, true) => "pending",
            (None, false) => "matched",
        };
        let mut structured = object(json!({"status": status, "messages": self.read, "cursor": cursor}));
        if let Some(gap) = &self.gap {
            structured.insert("gap".into(), gap_json(gap));
        }
        if let Some(problem) = problem {
            line = format!("{line}; {problem}, so these may have been read before");
        }
        shown::result(&line, structured)
    }
}

/// A message: its id and time, who says it where that is a name, and the rest from outside.
fn letter_json(letter: &Letter) -> JsonObject {
    let message = &letter.message;
    let mut shown = object(json!({"event_id": message.id}));
    if let Some(event) = event_of(&letter.event) {
        shown.insert("received_at".into(), event.received_at.into());
    }
    let is_name = |text: &&String| text.parse::<AgentName>().is_ok();
    if let Some(from) = message.from.as_ref().filter(is_name) {
        shown.insert("from".into(), from.clone().into());
    }
    shown.insert("to_everybody".into(), message.is_for_everybody().into());
    let data = Fenced::of(json!({
        "body": message.body, "from": message.from, "to": message.to, "thread_id": message.thread,
        "correlation_id": message.correlation_id, "reply_to": message.reply_to,
    }));
    let size = data.text().len();
    if size > FENCED_BYTES {
        shown.insert("data_truncated".into(), true.into());
        shown.insert("data_size_bytes".into(), size.into());
        shown.insert("raw_uri".into(), shown::raw_uri(message.id).into());
    }
    shown.insert("data".into(), data.preview(FENCED_BYTES).into());
    shown
}
