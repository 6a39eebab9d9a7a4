//! Resources: what has just happened, on the whole or in a repository or for an agent, and single events.

use std::ops::ControlFlow;

use rmcp::model::{
    CacheScope, ErrorData, JsonObject, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
};
use serde_json::{Value, json};

use super::address::{self, Address};
use super::arguments::ToolError;
use super::tools::log::{blocking, find};
use super::{Server, shown};
use crate::model::fence::Fenced;
use crate::model::id::{EventId, Seq};
use crate::model::limits::{CURRENT_EVENTS, FENCED_BYTES, SCANNED_ROWS};
use crate::store::{LogPaths, Reader, StoreError};

const JSON: &str = "application/json";

/// Those without variables.
pub(super) fn listed() -> Vec<Resource> {
    let current = Resource::new(address::CURRENT, "current")
        .with_title("What has just happened")
        .with_description(format!("The newest {CURRENT_EVENTS} events, oldest first, and the cursor of now"))
        .with_mime_type(JSON);
    vec![current]
}

/// Those with variables.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    let template = |uri: &str, name: &str, title: &str, description: &str| {
        ResourceTemplate::new(uri, name).with_title(title).with_description(description).with_mime_type(JSON)
    };
    vec![
        template(address::REPO, "repo", "What has just happened in a repository", "Its newest events, oldest first"),
        template(address::EVENT, "event", "One event", "An event with the payload that its source sent"),
        template(address::AGENT, "agent", "Messages for an agent", "The newest messages to this agent or to everybody"),
    ]
}

/// Reads one.
pub(super) async fn read(server: &Server, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let missing = || ErrorData::resource_not_found(format!("there is no resource {uri}"), Some(json!({"uri": uri})));
    let failed = |error: ToolError| ErrorData::internal_error(error.0, None);
    let address = Address::parse(uri, &server.scope).ok_or_else(missing)?;
    let contents = match address {
        Address::Event(id) => {
            let (event, payload) = find(server, id).await.map_err(failed)?.ok_or_else(missing)?;
            let shown = blocking(move || {
                let mut shown = shown::event(&event);
                shown.extend(shown::payload(id, payload.as_deref()));
                shown
            });
            vec![text(uri, shown.await.map_err(failed)?)]
        }
        Address::Raw(id) => {
            let (event, payload) = find(server, id).await.map_err(failed)?.ok_or_else(missing)?;
            let fenced = blocking(move || {
                let payload = payload.as_deref().map(Fenced::of_stored);
                payload.into_iter().chain([shown::data(&event)]).collect::<Vec<_>>()
            });
            let fenced = fenced.await.map_err(failed)?;
            fenced.iter().map(|fenced| ResourceContents::text(fenced.text(), uri)).collect()
        }
        Address::Current | Address::Repo(..) | Address::Agent(_) => {
            vec![text(uri, newest(server, address).await.map_err(failed)?)]
        }
    };
    // What it says is true at this moment.
    Ok(ReadResourceResult::new(contents).with_ttl_ms(0).with_cache_scope(CacheScope::Private))
}

fn text(uri: &str, shown: JsonObject) -> ResourceContents {
    ResourceContents::text(Value::Object(shown).to_string(), uri).with_mime_type(JSON)
}

/// The newest events of an address, as far as their text is short enough, and the cursor of now.
async fn newest(server: &Server, address: Address) -> Result<JsonObject, ToolError> {
    let paths = LogPaths::new(&server.directories.state);
    let scope = server.scope.clone();
    let read = blocking(move || -> Result<JsonObject, StoreError> {
        let (mut events, mut cursor) = (Vec::new(), EventId::ZERO);
        match Reader::open(&paths) {
            Err(StoreError::Missing(_)) => {}
            other => {
                let reader = other?;
                let now = reader.newest()?;
                cursor = now.id;
                let mut bytes = 0;
                reader.scan_back(Seq(now.seq.0 + 1), SCANNED_ROWS, &mut |record| {
                    if !(address.has(&record.event) && scope.shows(&record.event)) {
                        return ControlFlow::Continue(());
                    }
                    let shown = shown::event(&record.event);
                    bytes += shown.get("data").and_then(Value::as_str).map_or(0, str::len);
                    if bytes > FENCED_BYTES && !events.is_empty() {
                        return ControlFlow::Break(());
                    }
                    events.push(Value::Object(shown));
                    if events.len() == CURRENT_EVENTS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
            }
        }
        events.reverse();
        Ok(JsonObject::from_iter([("cursor".to_owned(), json!(cursor)), ("events".to_owned(), events.into())]))
    });
    Ok(read.await??)
}
