//! What a call that takes long says meanwhile, to a client that wants to hear it.

use std::pin::pin;
use std::time::{Duration, Instant};

use rmcp::model::ProgressNotificationParam;
use rmcp::service::{RequestContext, RoleServer};
use tokio::time::{MissedTickBehavior, interval_at};

use crate::model::limits::PROGRESS_EVERY;

/// Does some work that takes so long at most, and says now and again that it is still waited for, if the call has a
/// progress token. Nothing comes of it when the call is cancelled.
pub(super) async fn beside<T>(
    context: &RequestContext<RoleServer>,
    most: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let token = context.meta.get_progress_token();
    let began = Instant::now();
    let mut work = pin!(work);
    let mut progress = interval_at((began + PROGRESS_EVERY).into(), PROGRESS_EVERY);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = context.ct.cancelled() => return None,
            outcome = &mut work => return Some(outcome),
            _ = progress.tick(), if token.is_some() => {
                let Some(token) = token.clone() else { continue };
                let said = ProgressNotificationParam::new(token, began.elapsed().as_secs_f64())
                    .with_total(most.as_secs_f64())
                    .with_message("still waiting");
                // A client that has gone is noticed by the end of its input.
                let _ = context.peer.notify_progress(said).await;
            }
        }
    }
}
