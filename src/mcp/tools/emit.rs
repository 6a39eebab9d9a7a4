//! `emit_event`: what `waitbus emit` does.

use rmcp::model::CallToolResult;
use serde_json::json;

use super::super::arguments::{Arguments, ToolError};
use super::super::{Server, shown};
use super::object;
use crate::client::BusError;
use crate::model::event::{Draft, ingest_method};
use crate::model::message::SOURCE;
use crate::model::telling::{Telling, owner_and_repo};
use crate::store::Appended;

/// Appends an event.
pub(in crate::mcp) async fn call(server: &Server, mut arguments: Arguments) -> Result<CallToolResult, ToolError> {
    let repo = arguments.text("repo")?;
    let (owner, repo) = match &repo {
        None => ("", ""),
        Some(name) => {
            owner_and_repo(name).ok_or_else(|| ToolError::argument("repo", format!("{name:?}: write owner/repo")))?
        }
    };
    let source = arguments.required("source")?;
    if source == SOURCE {
        let problem = "is that of the messages between agents, which say who has sent them: use send_message";
        return Err(ToolError::argument("source", format!("{source} {problem}")));
    }
    let told = Telling {
        id: arguments.text("id")?,
        source: Some(source),
        event_type: arguments.required("type")?,
        owner: owner.to_owned(),
        repo: repo.to_owned(),
        status: arguments.text("status")?,
        conclusion: arguments.text("conclusion")?,
        summary: arguments.text("summary")?,
        fields: arguments.object("fields")?,
        payload: None,
    };
    let appended = append(server, told.into_draft(None, ingest_method::EMIT)?).await?;
    let (id, duplicate) = (appended.id(), matches!(appended, Appended::Duplicate { .. }));
    let line =
        if duplicate { format!("already in the log as {id}; nothing was stored") } else { format!("stored as {id}") };
    Ok(shown::result(&line, object(json!({"event_id": id, "duplicate": duplicate, "cursor": id}))))
}

/// Commits and rings, beside the requests: the log may be locked for a while.
async fn append(server: &Server, draft: Draft) -> Result<Appended, ToolError> {
    let publisher = server.publisher.clone();
    let directories = server.directories.clone();
    let appended = super::log::blocking(move || -> Result<Appended, BusError> {
        let mut kept = publisher.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut open = match kept.take() {
            Some(open) => open,
            None => crate::client::Publisher::open(&directories)?,
        };
        let appended = open.publish(&draft);
        // One that has failed is opened anew: the log may have been mended.
        *kept = appended.is_ok().then_some(open);
        appended
    });
    Ok(appended.await??)
}
