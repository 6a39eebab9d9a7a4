//! What is told of a source that is held back because it says too much: that it begins, and that it is over. Never one
//! event for each of its own.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;
use tracing::{info, warn};

use super::outlet::Batch;
use crate::model::event::{Draft, Fields};
use crate::model::limits::SOURCE_EVENTS_PER_SECOND;

/// The type of both events.
const THROTTLED: &str = "source_throttled";

/// Tells of each flood. It sleeps while there is none, and during one until that could be over.
pub(super) async fn announce(name: &str, batches: mpsc::Sender<Batch>, calm_at: watch::Sender<Option<Instant>>) {
    let mut changes = calm_at.subscribe();
    loop {
        // We hold a sender, so it is not closed.
        let _ = changes.wait_for(Option::is_some).await;
        let began = Instant::now();
        warn!(source = name, "says more than {SOURCE_EVENTS_PER_SECOND} events a second, and is held back");
        tell(&batches, draft(name, None)).await;
        loop {
            let until = *changes.borrow_and_update();
            let Some(at) = until.filter(|&at| at > Instant::now()) else { break };
            tokio::select! {
                () = sleep_until(at.into()) => {}
                _ = changes.changed() => {}
            }
        }
        calm_at.send_replace(None);
        info!(source = name, "is held back no more");
        tell(&batches, draft(name, Some(began.elapsed()))).await;
    }
}

async fn tell(batches: &mpsc::Sender<Batch>, draft: Draft) {
    let (committed, _) = oneshot::channel();
    // Whoever commits has ended, and with it the source.
    let _ = batches.send(Batch { drafts: vec![draft], position: None, committed }).await;
}

fn draft(name: &str, lasted: Option<Duration>) -> Draft {
    let mut fields = Fields::new();
    fields.insert("status".into(), if lasted.is_some() { "completed" } else { "in_progress" }.into());
    fields.insert("events_per_second".into(), SOURCE_EVENTS_PER_SECOND.into());
    let summary = match lasted {
        None => format!("{name} says more than {SOURCE_EVENTS_PER_SECOND} events a second, and is held back"),
        Some(lasted) => {
            fields.insert("duration_ms".into(), u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX).into());
            format!("{name} is held back no more")
        }
    };
    Draft { source: name.to_owned(), event_type: THROTTLED.to_owned(), summary, fields, ..Draft::default() }
}
