//! What was found out, for a person and for a program.

use std::io;

use serde_json::{Value, json};

use super::plot::{Curve, plot};
use super::{Compared, Found};
use crate::config::environment;
use crate::measure::ratio::{Ratio, float, interval, number, time};
use crate::measure::{Estimate, Latencies};
use crate::sys::terminal;

/// Columns where there is no terminal to ask, and the most that a plot takes: wider says no more.
const COLUMNS: usize = 80;
const WIDEST: usize = 120;
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

pub(super) fn text(found: &Found) -> Vec<String> {
    let utf8 = environment::shows_utf8();
    let lines = lines(found, utf8);
    if utf8 { lines } else { lines.into_iter().map(|line| line.replace('µ', "u")).collect() }
}

fn lines(found: &Found, utf8: bool) -> Vec<String> {
    let columns = terminal::columns(&io::stdout()).unwrap_or(COLUMNS).min(WIDEST);
    let whose = if found.live { "the hub that runs" } else { "a private bus" };
    let mut lines =
        vec![format!("waitbus {}, {whose}; emit to receive, 95 % intervals in brackets", env!("CARGO_PKG_VERSION"))];
    for compared in &found.paces {
        lines.push(String::new());
        lines.push(format!("{} events a second", number(float(compared.rate))));
        for (name, latencies) in [("floor", &compared.floor), ("waitbus", &compared.bus)] {
            let figures: Vec<_> =
                told(latencies).map(|(quantile, at)| format!("{quantile} {}", interval(at))).collect();
            lines.push(format!("  {name:<9}{}", figures.join("   ")));
        }
        lines.push(format!("  p50 is {} times the floor", ratio(compared)));
        let curves =
            [Curve { latencies: &compared.floor, dotted: true }, Curve { latencies: &compared.bus, dotted: false }];
        lines.extend(plot(&curves, columns, utf8));
    }
    lines.push(String::new());
    if let Some(memory) = found.memory {
        let megabytes = |bytes: u64| number(float(bytes) / 1e6);
        lines.push(format!(
            "The hub has {} MB in memory, {} MB of it its own.",
            megabytes(memory.resident),
            megabytes(memory.own)
        ));
    }
    if let Some(crowd) = &found.crowd {
        let bytes = crowd
            .bytes_each
            .map_or_else(String::new, |bytes| format!(" A subscriber takes {} bytes.", number(float(bytes))));
        lines.push(format!(
            "Of {} subscribers the last has an event after {}.{bytes}",
            crowd.subscribers,
            time(float(crowd.last_served.at(0.5).at))
        ));
    }
    lines
}

pub(super) fn json(found: &Found) -> String {
    let paces = found.paces.iter().map(|compared| {
        let Ratio { low, at, high } = ratio(compared);
        json!({
            "rate": compared.rate,
            "floor": latencies(&compared.floor),
            "bus": latencies(&compared.bus),
            "ratio_p50": {"low": low, "at": at, "high": high},
        })
    });
    let memory = found.memory.map(|memory| json!({"resident_bytes": memory.resident, "own_bytes": memory.own}));
    let crowd = found.crowd.as_ref().map(|crowd| {
        json!({
            "count": crowd.subscribers,
            "bytes_each": crowd.bytes_each,
            "last_served": latencies(&crowd.last_served),
        })
    });
    let whole = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "live": found.live,
        "seconds": found.seconds,
        "emit_to_receive": paces.collect::<Vec<_>>(),
        "hub_memory": memory,
        "subscribers": crowd,
    });
    whole.to_string()
}

fn ratio(compared: &Compared) -> Ratio {
    Ratio::of(compared.bus.at(0.5), compared.floor.at(0.5))
}

/// The percentiles that these samples can tell.
fn told(latencies: &Latencies) -> impl Iterator<Item = (&'static str, Estimate)> + '_ {
    let told = QUANTILES.into_iter().filter(|(_, quantile)| *quantile <= latencies.furthest());
    told.map(|(name, quantile)| (name, latencies.at(quantile)))
}

fn latencies(latencies: &Latencies) -> Value {
    let mut shown = json!({"samples": latencies.len(), "histogram": latencies.counts().collect::<Vec<_>>()});
    for (name, Estimate { low, at, high }) in told(latencies) {
        shown[name] = json!({"low": low, "at": at, "high": high});
    }
    shown
}
