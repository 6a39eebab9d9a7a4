//! The heartbeat of an Alertmanager: an alert that always fires, so that its absence means that Prometheus, Alertmanager or
//! the way from there to here is gone. Alerts arrive at the webhook listener; this waits for the one, and says when it
//! stays away and when it is back.
//!
//! There is one deadline and no period. The listener stores the heartbeat once in [`HEARTBEATS_STORED`]th of the time that
//! it may stay away, so the deadline is that much later: what is told to be missing has been away for at least as long as
//! was set, and for at most half as long again.
//!
//! Time is counted as this machine is awake. One that sleeps hears no heartbeat, and the first after that may take as long
//! as any; so if the wall clock has run ahead of ours since the last one, the time begins anew. A clock that somebody has
//! set forward looks the same and costs the same delay; one that was set back changes nothing. Neither does a source that
//! begins know whether the listener was there before: what it finds in the log counts from then, and what it does not
//! find may come for as long as was set.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{Broken, Outlet};
use crate::client::{BusError, Feed, Item, Options};
use crate::config::heartbeat::Heartbeat;
use crate::config::section::Section;
use crate::config::settings::BadSettings;
use crate::ingest::alertmanager::{HEARTBEAT, SOURCE};
use crate::model::event::{Draft, Fields, ingest_method};
use crate::model::limits::{CLOCK_SLACK, GRACE, HEARTBEATS_STORED, MAX_POSITION_BYTES};
use crate::model::subscribe::Subscribe;
use crate::model::text::one_line;
use crate::store::{LogPaths, Reader};

/// The type of what is said about the heartbeat.
const WATCHDOG: &str = "prometheus_watchdog";
/// How a position begins that was reached with the heartbeat missing; milliseconds since the epoch and its name follow.
const MISSING: &str = "missing ";
/// The position that was reached with its return.
const BACK: &str = "back";

/// What it was told.
#[derive(Clone, Debug)]
pub struct Setup {
    heartbeat: Heartbeat,
}

impl Setup {
    /// What the configuration says.
    pub fn of(section: &Section) -> Result<Setup, BadSettings> {
        Ok(Setup { heartbeat: Heartbeat::of(section)? })
    }
}

/// Works until it is cancelled or cannot go on.
pub async fn run(setup: Setup, outlet: Outlet) -> Broken {
    match watch(&setup.heartbeat, &outlet).await {
        Err(error) => Broken(error.to_string()),
        Ok(never) => match never {},
    }
}

enum Never {}

async fn watch(heartbeat: &Heartbeat, outlet: &Outlet) -> Result<Never, BusError> {
    let missing_since = outlet.position().and_then(|position| missing_since(position, &heartbeat.alert));
    let mut expected = Expected::new(heartbeat.within, missing_since.is_some(), Now::read());
    let from =
        missing_since.or_else(|| SystemTime::now().checked_sub(expected.wait())).unwrap_or(SystemTime::UNIX_EPOCH);
    let since = Reader::open(&LogPaths::new(&outlet.directories().state))?.before(from)?.id;
    let subscribe = Subscribe { since: Some(since), heartbeat: false, ..subscription(&heartbeat.alert) };
    let mut feed = Feed::open(outlet.directories(), subscribe, Options { grace: GRACE }).await?;
    let mut last = None;
    loop {
        let item = tokio::select! {
            item = feed.next() => item?,
            () = sleep_until(expected.deadline), if !expected.is_missing => {
                // The hub may be away just then, and what it has not brought is in the log.
                if feed.is_behind().await? {
                    // It is brought as soon as the hub is back.
                    expected.deadline = Instant::now() + GRACE;
                } else if expected.is_over(Now::read()) {
                    expected.is_missing = true;
                    tell_missing(heartbeat, last, outlet).await;
                }
                continue;
            }
        };
        match item {
            Item::Event { body, .. } => {
                let at = body.get("received_at").and_then(Value::as_u64).map(Duration::from_nanos);
                last = at.map(|at| SystemTime::UNIX_EPOCH + at);
                if expected.heard(last, Now::read()) {
                    tell_back(heartbeat, outlet).await;
                }
            }
            // Nobody knows what was in it.
            Item::Gap(_) => expected.begin(Now::read()),
            Item::Source(_) => {}
        }
    }
}

/// Since when a heartbeat has been known to be missing. What a position says of one of another name, or without a name,
/// is said of another one.
fn missing_since(position: &str, alert: &str) -> Option<SystemTime> {
    let (since, name) = position.strip_prefix(MISSING)?.split_once(' ')?;
    let since = Duration::from_millis(since.parse().ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since).filter(|_| name == short(alert))
}

fn position(alert: &str, since: SystemTime) -> String {
    let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{MISSING}{} {}", since.as_millis(), short(alert))
}

/// As much of a name as a position may have.
fn short(alert: &str) -> String {
    let name = one_line(alert);
    name.get(..name.floor_char_boundary(MAX_POSITION_BYTES / 2)).unwrap_or_default().to_owned()
}

fn subscription(alert: &str) -> Subscribe {
    let conditions = [
        format!("source={SOURCE}"),
        format!("event_type={HEARTBEAT}"),
        "status=firing".to_owned(),
        // As JSON it is a text, whatever it looks like.
        format!("alert_name={}", Value::from(alert)),
    ];
    Subscribe { alternatives: vec![conditions.into()], ..Subscribe::default() }
}

/// A time on both clocks: ours, which stands still while the machine sleeps, and the wall's, which does not.
#[derive(Clone, Copy, Debug)]
struct Now {
    awake: Instant,
    wall: SystemTime,
}

impl Now {
    fn read() -> Now {
        Now { awake: Instant::now(), wall: SystemTime::now() }
    }
}

/// When the heartbeat has to have come. It reads no clock.
#[derive(Debug)]
struct Expected {
    within: Duration,
    /// Since when the time runs.
    begun: Now,
    deadline: Instant,
    is_missing: bool,
}

impl Expected {
    fn new(within: Duration, is_missing: bool, now: Now) -> Expected {
        let mut expected = Expected { within, begun: now, deadline: now.awake, is_missing };
        expected.begin(now);
        expected
    }

    /// From one heartbeat that is stored to the moment at which the next one is overdue.
    fn wait(&self) -> Duration {
        self.within + self.within / HEARTBEATS_STORED
    }

    /// Has the time begin now.
    fn begin(&mut self, now: Now) {
        self.begun = now;
        self.deadline = now.awake + self.wait();
    }

    /// It was heard, at this time of the log; tells whether it had been missing.
    fn heard(&mut self, at: Option<SystemTime>, now: Now) -> bool {
        self.begin(now);
        // One from before this began counts from then. What the log calls the future is now.
        let age = at.and_then(|at| now.wall.duration_since(at).ok()).unwrap_or_default();
        self.deadline -= age.min(self.wait());
        std::mem::take(&mut self.is_missing)
    }

    /// At the deadline: whether it is missing. If the machine has slept since the time began, it begins anew instead.
    fn is_over(&mut self, now: Now) -> bool {
        let awake = now.awake.saturating_duration_since(self.begun.awake);
        let wall = now.wall.duration_since(self.begun.wall).unwrap_or_default();
        if wall > awake + CLOCK_SLACK {
            self.begin(now);
        }
        now.awake >= self.deadline
    }
}

async fn tell_missing(heartbeat: &Heartbeat, last: Option<SystemTime>, outlet: &Outlet) {
    let last = last.and_then(|last| jiff::Timestamp::try_from(last).ok()).map(|last| last.to_string());
    let since = last.as_ref().map(|last| format!("; it was last stored at {last}")).unwrap_or_default();
    let within =
        jiff::SignedDuration::try_from(heartbeat.within).map(|within| format!("{within:#}")).unwrap_or_default();
    let summary = format!("{} has not come for {within}{since}", heartbeat.alert);
    let mut draft = draft(heartbeat, "missing", "failure", summary);
    if let Some(last) = last {
        draft.fields.insert("last_heard".to_owned(), last.into());
    }
    outlet.publish(vec![draft], Some(position(&heartbeat.alert, SystemTime::now()))).await;
}

async fn tell_back(heartbeat: &Heartbeat, outlet: &Outlet) {
    let summary = format!("{} comes again", heartbeat.alert);
    outlet.publish(vec![draft(heartbeat, "back", "success", summary)], Some(BACK.to_owned())).await;
}

fn draft(heartbeat: &Heartbeat, status: &str, conclusion: &str, summary: String) -> Draft {
    let fields: Fields = [
        ("status", json!(status)),
        ("conclusion", json!(conclusion)),
        ("alert_name", json!(heartbeat.alert)),
        ("within_ms", json!(u64::try_from(heartbeat.within.as_millis()).unwrap_or(u64::MAX))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect();
    Draft {
        source: SOURCE.to_owned(),
        event_type: WATCHDOG.to_owned(),
        ingest_method: ingest_method::SOURCE,
        summary,
        fields,
        ..Draft::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// After so many minutes on our clock, and on the wall's.
    fn after(start: Now, awake: u32, wall: u32) -> Now {
        Now { awake: start.awake + MINUTE * awake, wall: start.wall + MINUTE * wall }
    }

    #[test]
    fn what_does_not_come_is_missing_once_and_back_once() {
        let start = Now::read();
        let mut expected = Expected::new(MINUTE * 4, false, start);
        assert_eq!(expected.deadline, start.awake + MINUTE * 6, "as long as was set, and what is not stored");
        assert!(!expected.heard(Some(after(start, 5, 5).wall), after(start, 5, 5)));
        assert!(!expected.is_over(after(start, 6, 6)));
        assert_eq!(expected.deadline, start.awake + MINUTE * 11);
        assert!(expected.is_over(after(start, 11, 11)));
        expected.is_missing = true;
        assert!(expected.heard(Some(after(start, 20, 20).wall), after(start, 20, 20)));
        assert!(!expected.heard(Some(after(start, 21, 21).wall), after(start, 21, 21)));
    }

    #[test]
    fn a_position_says_which_heartbeat_is_missing() {
        let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1_234);
        let long = "ü".repeat(MAX_POSITION_BYTES);
        for name in ["Watchdog", "Dead Man", "a\nb", &long] {
            let position = position(name, since);
            assert!(position.len() <= MAX_POSITION_BYTES && !position.contains(char::is_control), "{position:?}");
            assert_eq!(missing_since(&position, name), Some(since), "{position:?}");
            assert_eq!(missing_since(&position, "Another"), None);
        }
        for odd in ["missing 1234", "missing x Watchdog", "back", ""] {
            assert_eq!(missing_since(odd, "Watchdog"), None, "{odd:?}");
        }
    }

    #[test]
    fn a_machine_that_has_slept_gives_the_heartbeat_its_whole_time() {
        // It was told to be missing a moment after the lid was opened.
        let start = Now::read();
        let mut expected = Expected::new(MINUTE * 4, false, start);
        let woken = after(start, 6, 6 + 8 * 60);
        assert!(!expected.is_over(woken));
        assert_eq!(expected.deadline, woken.awake + MINUTE * 6);
        assert!(expected.is_over(after(woken, 6, 6)), "and no more than that");
    }

    #[test]
    fn a_clock_that_is_set_changes_nothing_or_costs_one_delay() {
        let start = Now::read();
        let mut expected = Expected::new(MINUTE * 4, false, start);
        let back = Now { awake: start.awake + MINUTE * 6, wall: start.wall - MINUTE * 60 };
        assert!(expected.is_over(back), "set back");
        // A heartbeat from what is the future by now has come now.
        assert!(!expected.heard(Some(start.wall), back));
        assert_eq!(expected.deadline, back.awake + MINUTE * 6);
        let forward = Now { awake: back.awake + MINUTE * 6, wall: back.wall + MINUTE * 600 };
        assert!(!expected.is_over(forward), "set forward");
        assert!(expected.is_over(after(forward, 6, 6)));
    }

    #[test]
    fn what_the_log_has_from_before_the_start_counts_from_then() {
        let start = Now::read();
        let mut expected = Expected::new(MINUTE * 4, false, start);
        expected.heard(Some(start.wall - MINUTE * 5), start);
        assert_eq!(expected.deadline, start.awake + MINUTE);
        assert!(expected.is_over(after(start, 1, 1)));
    }
}
