//! `mark`, `list_events`, `get_event`: the log, read where it lies. No hub is needed.

use std::ops::ControlFlow;

use rmcp::model::{CallToolResult, JsonObject};
use serde_json::{Value, json};

use super::super::arguments::{Arguments, ToolError};
use super::super::scope::Scope;
use super::super::{Server, shown};
use super::object;
use super::wait::{conditions, gap_json, start};
use crate::client::when::newest;
use crate::model::event::Event;
use crate::model::filter::Filter;
use crate::model::frame::Gap;
use crate::model::id::{EventId, Seq};
use crate::model::limits::{LISTED_BYTES, LISTED_EVENTS, MAX_LISTED_EVENTS, SCANNED_ROWS};
use crate::model::row::{Position, Row};
use crate::store::{LogPaths, Reader, StoreError};
use crate::waiting::asked::Asked;

/// The cursor of now.
pub(in crate::mcp) fn mark(server: &Server) -> Result<CallToolResult, ToolError> {
    let cursor = newest(&server.directories)?;
    Ok(shown::result(&format!("the cursor of now is {cursor}"), object(json!({"cursor": cursor}))))
}

/// A page of the log.
pub(in crate::mcp) async fn list(server: &Server, mut arguments: Arguments) -> Result<CallToolResult, ToolError> {
    let asked = Asked { conditions: conditions(&mut arguments)?, ..Asked::default() };
    let most = MAX_LISTED_EVENTS as u64;
    let limit = arguments.number("limit", 1..=most)?.and_then(|limit| usize::try_from(limit).ok());
    let start = start(server, &mut arguments)?;
    server.scope.check(&asked)?;
    let filter = asked.conditions.subscribe()?.filter().map_err(|bad| ToolError(bad.remediation))?;
    let begin = match start {
        Some(begin) => begin,
        None => newest(&server.directories)?,
    };
    let mut page = Page {
        scope: server.scope.clone(),
        filter,
        limit: limit.unwrap_or(LISTED_EVENTS),
        events: Vec::new(),
        bytes: 0,
        cursor: begin,
        gap: None,
        more: false,
    };
    let paths = LogPaths::new(&server.directories.state);
    let page = blocking(move || page.read(&paths).map(|()| page)).await??;
    let plural = if page.events.len() == 1 { "event" } else { "events" };
    let more = if page.more { ", and there may be more" } else { "" };
    let line = format!("{} {plural}{more}; the cursor is {}", page.events.len(), page.cursor);
    let mut structured = object(json!({"events": page.events, "cursor": page.cursor, "more": page.more}));
    if let Some(gap) = page.gap {
        structured.insert("gap".into(), gap_json(&gap));
    }
    Ok(shown::result(&line, structured))
}

/// What of the log is told.
struct Page {
    scope: Scope,
    filter: Filter,
    limit: usize,
    events: Vec<JsonObject>,
    bytes: usize,
    cursor: EventId,
    /// The first thing that is missing.
    gap: Option<Gap>,
    more: bool,
}

impl Page {
    fn read(&mut self, paths: &LogPaths) -> Result<(), StoreError> {
        let reader = match Reader::open(paths) {
            Err(StoreError::Missing(_)) => return Ok(()),
            other => other?,
        };
        let resolved = reader.resolve(self.cursor)?;
        let mut position = resolved.position;
        if let Some(reason) = resolved.gap {
            self.gap = Some(Gap { reason, since: self.cursor, resumed_at: position.id, missed: None });
        }
        self.more = !reader.scan(position.seq, SCANNED_ROWS, self.filter.reads_payload(), &mut |row| {
            if self.events.len() >= self.limit || self.bytes >= LISTED_BYTES {
                return ControlFlow::Break(());
            }
            let from = position;
            position = row.position(from);
            self.take(&row, from);
            ControlFlow::Continue(())
        })?;
        self.cursor = position.id;
        Ok(())
    }

    fn take(&mut self, row: &Row, from: Position) {
        if !self.filter.concerns(row) {
            return;
        }
        match row {
            Row::Event(record) if self.scope.shows(&record.event) => {
                let event = shown::event(&record.event);
                self.bytes += event.get("data").and_then(Value::as_str).map_or(0, str::len);
                self.events.push(event);
            }
            Row::Event(_) => {}
            Row::Unreadable(_) | Row::Lost(_) => self.gap = self.gap.or(row.gap(from)),
        }
    }
}

/// One event, with its payload.
pub(in crate::mcp) async fn get(server: &Server, mut arguments: Arguments) -> Result<CallToolResult, ToolError> {
    let id = arguments.required("event_id")?;
    let id: EventId = id.parse().map_err(|bad| ToolError::argument("event_id", bad))?;
    let found = find(server, id).await?;
    let Some((event, payload)) = found else {
        let problem = if unreadable(server, id).await? {
            format!("{id} is in the log, in a row that cannot be read")
        } else {
            format!("the log has no event {id}")
        };
        return Err(ToolError::argument("event_id", problem));
    };
    let (event, payload) = blocking(move || (event_line(&event), shown::payload(id, payload.as_deref()))).await?;
    let (line, event) = event;
    let mut structured = object(json!({"event": event}));
    structured.extend(payload);
    Ok(shown::result(&line, structured))
}

fn event_line(event: &Event) -> (String, JsonObject) {
    (shown::line(event), shown::event(event))
}

/// An event that this server shows, and its payload.
pub(in crate::mcp) async fn find(server: &Server, id: EventId) -> Result<Option<(Event, Option<String>)>, ToolError> {
    let paths = LogPaths::new(&server.directories.state);
    let found = blocking(move || match Reader::open(&paths) {
        Err(StoreError::Missing(_)) => Ok(None),
        other => other?.find(id),
    });
    let found = found.await??;
    Ok(found.map(|(record, payload)| (record.event, payload)).filter(|(event, _)| server.scope.shows(event)))
}

/// Whether there is a row of this name that is no event, and that this server could show if it were one.
async fn unreadable(server: &Server, id: EventId) -> Result<bool, ToolError> {
    let (paths, scope) = (LogPaths::new(&server.directories.state), server.scope.clone());
    let found = blocking(move || -> Result<bool, StoreError> {
        let reader = match Reader::open(&paths) {
            Err(StoreError::Missing(_)) => return Ok(false),
            other => other?,
        };
        let before = Seq(reader.resolve(id)?.position.seq.0.saturating_sub(1));
        let mut found = false;
        reader.scan(before, 1, false, &mut |row| {
            if let Row::Unreadable(row) = row {
                found = row.id == Some(id) && row.envelope.source.is_none_or(|source| scope.has_source(&source));
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    });
    Ok(found.await??)
}

/// Does what may take its time beside the requests.
pub(in crate::mcp) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ToolError> {
    tokio::task::spawn_blocking(work).await.map_err(|ended| ToolError(format!("it failed: {ended}")))
}
