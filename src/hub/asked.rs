//! What can be asked of the hub. Nothing here changes it.

use std::time::Instant;

use super::{Hub, SubscriberId};
use crate::model::frame::HubStatus;
use crate::model::row::Position;

impl Hub {
    /// When [`Hub::tick`] has to be called next, or [`Hub::is_idle`] asked.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let idle = self.idle_since.zip(self.identity.idle_exit).map(|(since, after)| since + after);
        idle.or_else(|| self.heartbeats.first().map(|&(due, _)| due))
    }

    /// Whether nobody has been there for so long that the hub may leave.
    #[must_use]
    pub fn is_idle(&self, now: Instant) -> bool {
        self.idle_since.zip(self.identity.idle_exit).is_some_and(|(since, after)| now >= since + after)
    }

    /// Whether the hub stays only because another part of this process is in use.
    #[must_use]
    pub fn is_used_elsewhere(&self) -> bool {
        self.used_elsewhere
    }

    /// How many subscribers there are.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    /// The newest row that the hub has read.
    #[must_use]
    pub fn tail(&self) -> Position {
        self.ring.tail()
    }

    /// The point from which a subscriber would resume if it had read everything that was buffered for it.
    #[must_use]
    pub fn cursor(&self, id: SubscriberId) -> Position {
        let tail = self.ring.tail();
        self.subscribers.get(&id).map_or(tail, |subscriber| subscriber.position(tail))
    }

    pub(super) fn status(&self, now: Instant) -> HubStatus {
        let tail = self.ring.tail().seq.0;
        let lags = self.subscribers.values().filter(|subscriber| !subscriber.live);
        let lags: Vec<u64> = lags
            .map(|subscriber| u64::try_from(tail - subscriber.cursor.seq.0).unwrap_or(0))
            .filter(|&lag| lag > 0)
            .collect();
        HubStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: self.identity.pid,
            activated: self.identity.activated,
            log_path: self.identity.log_path.clone(),
            uptime_sec: self.uptime(now),
            subscribers: self.subscribers.len() as u64,
            lagging: lags.len() as u64,
            max_lag: lags.into_iter().max().unwrap_or(0),
            delivered: self.delivered,
            unreadable_rows: self.unreadable_rows,
            sources: self.sources.statuses(now),
        }
    }

    pub(super) fn uptime(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.identity.started).as_secs()
    }
}
