//! What the listener counts. Every label comes from a closed set in this program; nothing that a request says becomes
//! one.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counters, and the registry that prints them.
#[derive(Debug)]
pub(super) struct Metrics {
    requests: Family<[(&'static str, &'static str); 1], Counter>,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let requests = Family::default();
        let mut registry = Registry::with_prefix("waitbus_webhook");
        registry.register("requests", "Requests by what became of them", requests.clone());
        Metrics { requests, registry }
    }
}

impl Metrics {
    /// Counts a request.
    pub(super) fn count(&self, outcome: &'static str) {
        self.requests.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// All of it in the `OpenMetrics` text format.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
