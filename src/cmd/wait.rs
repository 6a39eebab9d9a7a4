//! `waitbus wait`: block until it happens.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::Args;

use super::conditions::Conditions;
use super::exit::{Exit, Failure};
use super::output;
use super::time::{self, When};
use crate::client::{Feed, Item, Mode, Options};
use crate::config::directories::Directories;
use crate::model::frame::Gap;
use crate::model::id::EventId;
use crate::model::limits::GRACE;

/// Block until an event matches, and print it
///
/// At least one condition is needed. Without --since or --after, only what is committed once the wait is attached
/// counts. Exits 0 when it has happened, 124 when --timeout elapsed first, 3 when that cannot be known.
#[derive(Debug, Args)]
#[command(after_help = "Example: waitbus wait --source github --match \"conclusion=success\"")]
pub(super) struct Arguments {
    #[command(flatten)]
    conditions: Conditions,

    #[command(flatten)]
    start: Start,

    /// How many events have to match
    #[arg(long, value_name = "N", default_value = "1")]
    count: NonZeroU64,

    /// Give up after this long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    timeout: Option<Duration>,

    #[command(flatten)]
    patience: Patience,

    /// Print the whole event as one JSON object with its cursor, instead of its summary
    #[arg(long)]
    json: bool,
}

/// Where to begin.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// Count what has happened since then: `10m` (ago), an RFC 3339 time, epoch seconds, or a cursor
    #[arg(long, value_name = "WHEN", value_parser = time::when, conflicts_with = "after")]
    since: Option<When>,

    /// Count what has happened after this cursor, as printed by `waitbus mark` or --json
    #[arg(long, value_name = "CURSOR", value_parser = time::cursor)]
    after: Option<EventId>,
}

impl Start {
    pub(super) fn cursor(&self, directories: &Directories) -> Result<Option<EventId>, Failure> {
        match (self.after, self.since) {
            (Some(cursor), _) => Ok(Some(cursor)),
            (None, Some(when)) => Ok(Some(when.resolve(directories)?)),
            (None, None) => Ok(None),
        }
    }
}

/// What to put up with.
#[derive(Debug, Args)]
pub(super) struct Patience {
    /// How long the hub may be away [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    grace: Option<Duration>,

    /// Go on when events are missing, instead of ending with exit code 3
    #[arg(long)]
    allow_gap: bool,

    /// Say on standard error when the subscription is attached
    #[arg(short, long)]
    verbose: bool,

    /// Say nothing on standard error but errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

impl Patience {
    /// Subscribes, and says what there is to say about it.
    pub(super) async fn open(
        &self,
        directories: &Directories,
        conditions: &Conditions,
        since: Option<EventId>,
    ) -> Result<Feed, Failure> {
        let subscribe = crate::model::frame::Subscribe { since, ..conditions.subscribe()? };
        let feed = Feed::open(directories, subscribe, Options { grace: self.grace.unwrap_or(GRACE) }).await?;
        if !self.quiet {
            if feed.mode() == Mode::LogAlone {
                output::say("waitbus: AF_UNIX sockets are forbidden here; reading the event log directly");
            }
            for note in feed.notes() {
                output::say(&format!("waitbus: {note}"));
            }
        }
        if self.verbose {
            output::say(&format!("waitbus: attached after {}", feed.cursor()));
        }
        Ok(feed)
    }

    /// What a gap means for whoever reads.
    pub(super) fn gap(&self, gap: &Gap) -> Result<(), Failure> {
        let missed = gap.missed.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
        let why = match gap.reason {
            crate::model::frame::GapReason::Pruned => "were pruned from the log before they could be read",
            crate::model::frame::GapReason::UnknownCursor => {
                "may be missing, because this log has never had that cursor"
            }
            crate::model::frame::GapReason::UnreadableRow => "in the log cannot be read",
            crate::model::frame::GapReason::Unknown => "are missing, for a reason that is newer than this program",
        };
        let sentence = format!("{missed} event(s) after {} {why}", gap.since);
        if self.allow_gap {
            if !self.quiet {
                output::say(&format!("waitbus: {sentence}; going on"));
            }
            return Ok(());
        }
        Err(Failure::bus(format!("{sentence}, so the answer is unknown (--allow-gap goes on)")))
    }
}

pub(super) async fn run(arguments: Arguments, directories: &Directories) -> Result<Exit, Failure> {
    if arguments.conditions.is_empty() {
        return Err(Failure::usage(
            "wait for what? Give at least one of --source, --type, --repo and --match, for example\n  \
             waitbus wait --source github --match \"conclusion=success\"",
        ));
    }
    let deadline = async {
        match arguments.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        exit = interrupted() => exit,
        outcome = matched(&arguments, directories) => outcome,
        () = deadline => {
            if !arguments.patience.quiet {
                output::say("waitbus: timed out");
            }
            Ok(Exit::TimedOut)
        }
    }
}

async fn matched(arguments: &Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let since = arguments.start.cursor(directories)?;
    let mut feed = arguments.patience.open(directories, &arguments.conditions, since).await?;
    let mut missing = arguments.count.get();
    while missing > 0 {
        match feed.next().await? {
            Item::Gap(gap) => arguments.patience.gap(&gap)?,
            Item::Source(_) => {}
            Item::Event { id, body } => {
                missing -= 1;
                // If nobody reads what matched, somebody may still read that it did.
                let _ = output::line(&output::event(id, body, arguments.json));
            }
        }
    }
    Ok(Exit::Success)
}

/// Returns when the person or a supervisor ends us.
pub(super) async fn interrupted() -> Result<Exit, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let refused = |error| Failure::bus(format!("the system refuses signal handlers: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(refused)?;
    let number = tokio::select! {
        _ = interrupt.recv() => SignalKind::interrupt(),
        _ = terminate.recv() => SignalKind::terminate(),
        _ = hang_up.recv() => SignalKind::hangup(),
    };
    Ok(Exit::Signal(u8::try_from(number.as_raw_value()).unwrap_or(0)))
}
