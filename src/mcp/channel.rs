//! Claude Code's channel: events that are pushed into a session, which its model then reads without having asked.
//!
//! It is off unless whoever starts the server asks for it, and pushes what they say and no more. The notification and the
//! capability that announces it are the vendor's: `content` is a text, `meta` a flat map of texts.

use rmcp::model::{CustomNotification, JsonObject, ServerNotification};
use rmcp::service::{Peer, RoleServer};
use serde_json::{Value, json};
use tokio::task::spawn_local;

use super::rings::Follower;
use super::{Server, shown};
use crate::client::Item;
use crate::model::event_frame::event_of;
use crate::model::frame::Subscribe;

/// The notification …
const METHOD: &str = "notifications/claude/channel";
/// … and the capability.
pub(super) const CAPABILITY: &str = "claude/channel";

/// What of an event goes beside its line: keys whose values are words.
const META: [&str; 6] = ["event_id", "source", "event_type", "status", "conclusion", "author_association"];

/// Pushes what a subscription brings for as long as the session lasts.
pub(super) async fn push(server: &Server, subscribe: Subscribe, peer: Peer<RoleServer>) {
    let mut follower = match Follower::open(server, subscribe).await {
        Ok(follower) => follower,
        Err(error) => return (server.complain)(&format!("nothing is pushed: {error}")),
    };
    spawn_local(async move {
        while let Some(item) = follower.next().await {
            let Some((content, meta)) = told(&item) else { continue };
            let said = CustomNotification::new(METHOD, Some(json!({"content": content, "meta": meta})));
            if peer.send_notification(ServerNotification::CustomNotification(said)).await.is_err() {
                return;
            }
        }
    });
}

fn told(item: &Item) -> Option<(String, JsonObject)> {
    match item {
        Item::Event { body, .. } => {
            let event = event_of(body)?;
            let mut meta = shown::event(&event);
            meta.retain(|key, value| META.contains(&key.as_str()) && value.is_string());
            Some((shown::line(&event), meta))
        }
        Item::Gap(gap) => {
            let content =
                format!("events after {} are missing; list_events goes on from {}", gap.since, gap.resumed_at);
            Some((content, JsonObject::from_iter([("kind".to_owned(), Value::from("gap"))])))
        }
        Item::Source(_) => None,
    }
}
