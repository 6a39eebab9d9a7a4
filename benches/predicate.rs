//! What asking one event costs, for each kind of condition: in this process, on one event of the usual size.

use std::hint::black_box;
use std::time::{Instant, SystemTime};

use serde_json::json;
use waitbus::model::event::{Event, Record, ingest_method};
use waitbus::model::id::{EventId, Seq};
use waitbus::model::subscribe::Subscribe;

use crate::bus::{draft, ratio};
use crate::pace::samples;
use crate::report::Report;

/// Evaluations that are timed together, because one is shorter than looking at the clock.
const TOGETHER: u64 = 20_000;
/// How often that is done. The median is told.
const ROUNDS: usize = 11;

/// Each holds, so that nothing is cut short.
const CONDITIONS: [(&str, &str); 8] = [
    ("key=value", "conclusion=success"),
    ("key!=value", "conclusion!=failure"),
    ("key>N", "n>3"),
    ("key?", "labels.team?"),
    ("key~REGEX, 7 bytes", "conclusion~^s.*s$"),
    ("key~REGEX, 300 bytes", "text~x{3}$"),
    ("key*=GLOB", "path*=/home/*/out/*.log"),
    ("payload.key=value", "payload.run.status=completed"),
];

const EXPRESSIONS: [(&str, &str); 2] = [
    ("an expression, one comparison", "fields.n > 3"),
    (
        "an expression, four comparisons",
        "source == \"bench\" && (fields.n < 3 || fields.conclusion == \"success\") && fields.labels.team == \"core\"",
    ),
];

pub fn measure(report: &mut Report) {
    let conditions = CONDITIONS.map(|(what, condition)| {
        (what, Subscribe { alternatives: vec![vec![condition.to_owned()]], ..Subscribe::default() })
    });
    let expressions = EXPRESSIONS
        .map(|(what, expression)| (what, Subscribe { where_: Some(expression.to_owned()), ..Subscribe::default() }));
    let nothing = [("nothing", Subscribe::default())];
    for (what, subscribe) in nothing.into_iter().chain(conditions).chain(expressions) {
        report.number(format!("evaluating {what}"), "waitbus", evaluation(&subscribe), "ns");
    }
}

/// The median, in nanoseconds.
fn evaluation(subscribe: &Subscribe) -> f64 {
    let filter = subscribe.filter().unwrap();
    let record = record();
    assert!(filter.wants(&record), "{subscribe:?}");
    let together = samples(TOGETHER);
    let mut rounds = [0; ROUNDS].map(|_: u64| {
        let start = Instant::now();
        for _ in 0..together {
            black_box(filter.wants(black_box(&record)));
        }
        u64::try_from(start.elapsed().as_nanos()).unwrap()
    });
    rounds.sort_unstable();
    ratio(rounds[ROUNDS / 2], together)
}

fn record() -> Record {
    let mut draft = draft(7);
    draft.fields.insert("labels".to_owned(), json!({"team": "core"}));
    draft.fields.insert("path".to_owned(), json!("/home/you/project/out/build.log"));
    let event = Event {
        id: EventId::at(SystemTime::UNIX_EPOCH),
        delivery_id: "7".into(),
        source: draft.source,
        event_type: draft.event_type,
        owner: "octo".into(),
        repo: "hello".into(),
        received_at: 7,
        ingest_method: ingest_method::EMIT.into(),
        summary: draft.summary,
        fields: draft.fields.into(),
    };
    Record::new(Seq(1), event, Some(json!({"run": {"status": "completed"}}).to_string()))
}
