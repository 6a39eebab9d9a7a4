//! Deliveries of an Alertmanager. Its group is one transaction, and what of it is news is one event for each alert.
//!
//! The heartbeat is stored now and again, however often it comes: the log gets a row for a part of the time that it may
//! stay away. What decides is how long this process has been awake since the last one, not the wall clock, which may step
//! back and would have it taken for told; a listener that has just started stores the first that it hears.

use std::sync::PoisonError;
use std::time::SystemTime;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{info, warn};

use super::Listener;
use super::request::{Answer, SIGNATURE};
use crate::config::heartbeat::Heartbeat;
use crate::config::secret::ALERTMANAGER_WEBHOOK;
use crate::config::settings::Settings;
use crate::ingest::alertmanager::{self, Delivery};
use crate::ingest::credential;
use crate::model::limits::HEARTBEATS_STORED;
use crate::store::Appended;

impl Listener {
    /// Believes, reads and stores a delivery.
    pub(super) async fn deliver_alerts(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let secret = match self.secret_of(ALERTMANAGER_WEBHOOK) {
            Ok(secret) => secret,
            Err(answer) => return answer,
        };
        let header = |name| headers.get(name).map(HeaderValue::as_bytes);
        if let Err(unproven) = credential::verify(secret.expose(), header(AUTHORIZATION), header(SIGNATURE), body) {
            return Answer::refused(unproven.reason(), unproven);
        }
        let heartbeat = self.heartbeat();
        match alertmanager::accept(body, &heartbeat.alert) {
            Ok(delivery) => self.store_alerts(delivery, &heartbeat).await,
            Err(reject) => Answer::rejected(reject.reason(), reject),
        }
    }

    /// Read for each delivery, so that the listener and the source that waits for the heartbeat have the same, whichever
    /// of them was started first.
    fn heartbeat(&self) -> Heartbeat {
        let read = Settings::load(&self.directories).and_then(|settings| Heartbeat::in_settings(&settings));
        read.unwrap_or_else(|problem| {
            warn!(%problem, "the heartbeat is taken to be the usual one");
            Heartbeat::default()
        })
    }

    async fn store_alerts(&self, delivery: Delivery, heartbeat: &Heartbeat) -> Answer {
        let Delivery { changes, heartbeat: beat, truncated, unreadable } = delivery;
        if truncated > 0 || unreadable > 0 {
            warn!(truncated, unreadable, "not all alerts of a group are told");
        }
        let now = Instant::now();
        let pause = heartbeat.within / HEARTBEATS_STORED;
        let last = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= pause);
        let heard = beat.is_some();
        let beat: Vec<_> = beat.into_iter().filter(|_| due).collect();
        let appended = match self.commit(|writer| writer.append_changes(&changes, &beat, SystemTime::now())).await {
            Ok(appended) => appended,
            Err(answer) => return answer,
        };
        if !beat.is_empty() {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
        let stored = appended.iter().filter(|one| matches!(one, Appended::Stored { .. })).count();
        let outcome = match stored {
            0 if heard => "heartbeat",
            0 => "duplicate",
            _ => "stored",
        };
        info!(stored, alerts = appended.len(), outcome, "delivery");
        let ids: Vec<Value> = appended.iter().map(|one| one.id().to_string().into()).collect();
        Answer::ok(outcome, json!({"status": outcome, "stored": stored, "event_ids": ids}))
    }
}
