//! `waitbus wait`: block until it happens.

use std::pin::pin;
use std::time::Duration;

use clap::Args;

use super::asked::{self, Asked};
use super::commit::{self, Begun};
use super::conditions::Conditions;
use super::exit::{Exit, Failure};
use super::output;
use super::time::{self, When};
use crate::child::signals::{ASK_TO_END, Signals};
use crate::client::{Feed, Mode, News, Options, Waiter, news_since};
use crate::config::directories::Directories;
use crate::model::frame::{Gap, GapReason, Subscribe};
use crate::model::id::EventId;
use crate::model::limits::GRACE;
use crate::model::source::SourceStatus;
use crate::model::text::one_line;
use crate::waiting::commit::Asked as Commit;
use crate::waiting::none_of::FORBIDDEN;
use crate::waiting::{Ending, Question, Shown};

/// Block until it happens, and print it
///
/// At least one condition is needed. Without --since or --after, only what is committed once the wait is attached
/// counts. Exits 0 when it has happened, 124 when --timeout elapsed first, 3 when that cannot be known.
#[derive(Debug, Args)]
#[command(after_help = "Example: waitbus wait --source github --match \"conclusion=success\"", after_long_help = asked::HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    wait: Wait,

    /// Print the whole event as one JSON object with its cursor, instead of its summary
    #[arg(long)]
    json: bool,
}

/// What to wait for, and how: the same for every verb that does something then.
#[derive(Debug, Args)]
pub(super) struct Wait {
    #[command(flatten)]
    pub(super) asked: Asked,

    #[command(flatten)]
    pub(super) start: Start,

    /// Give up after this long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    timeout: Option<Duration>,

    /// The exit code for a word of a verdict, as in `neutral=0`; `none_of` is the word of --none-of
    #[arg(long, value_name = "WORD=CODE", value_parser = exit_on)]
    exit_on: Vec<(String, u8)>,

    #[command(flatten)]
    pub(super) patience: Patience,
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
        let subscribe = Subscribe { since, not_before: Some(news_since(since)), ..conditions.subscribe()? };
        let feed = Feed::open(directories, subscribe, self.options()).await?;
        self.attached(&feed);
        Ok(feed)
    }

    /// Puts a question to the bus, and says what there is to say about it.
    pub(super) async fn ask(
        &self,
        directories: &Directories,
        question: Box<dyn Question>,
        since: Option<EventId>,
    ) -> Result<Waiter, Failure> {
        let waiter = Waiter::open(directories, question, since, self.options()).await?;
        self.attached(waiter.feed());
        Ok(waiter)
    }

    /// Whether only errors are said.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) fn options(&self) -> Options {
        Options { grace: self.grace.unwrap_or(GRACE) }
    }

    /// Says that a subscription is attached, and what there is to say about it.
    pub(super) fn attached(&self, feed: &Feed) {
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
    }

    /// What a gap means for whoever reads.
    pub(super) fn gap(&self, gap: &Gap) -> Result<(), Failure> {
        let missed = gap.missed.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
        let why = match gap.reason {
            GapReason::Pruned => "were pruned from the log before they could be read",
            GapReason::UnknownCursor => "may be missing, because this log has never had that cursor",
            GapReason::UnreadableRow => "in the log cannot be read",
            GapReason::Unknown => "are missing, for a reason that is newer than this program",
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

    /// Says that a source sees nothing. That is no ending: it goes on trying, and makes up for what it has missed.
    pub(super) fn silent(&self, status: &SourceStatus) {
        if !self.quiet {
            let reason = one_line(status.reason().unwrap_or("it has not told why"));
            output::say(&format!(
                "waitbus: the source {} sees nothing, and goes on trying: {reason}",
                one_line(&status.source)
            ));
        }
    }
}

pub(super) async fn run(arguments: Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let Arguments { wait, json } = arguments;
    let show = |shown: &Shown| {
        // If nobody reads what matched, somebody may still read that it did.
        let _ = output::line(&output::shown(shown, json));
    };
    match wait.until_answered(directories, &show).await? {
        Outcome::Otherwise(exit) => Ok(exit),
        Outcome::Answered(ending) => {
            ending.shown.iter().for_each(show);
            Ok(wait.exit(&ending))
        }
    }
}

/// How a wait ends.
pub(super) enum Outcome {
    /// With an answer.
    Answered(Ending),
    /// Without one.
    Otherwise(Exit),
}

/// What a question has come to when it has been put.
enum Opened {
    Answered(Ending),
    Waiting(Box<Waiter>),
}

impl Wait {
    /// Puts the question and waits for its answer; `counts` shows what comes before it.
    pub(super) async fn until_answered(
        &self,
        directories: &Directories,
        counts: &dyn Fn(&Shown),
    ) -> Result<Outcome, Failure> {
        let (commit, question) = self.question()?;
        let mut interrupted = pin!(interrupted());
        let mut late = pin!(self.late());
        let mut waiter = tokio::select! {
            biased;
            exit = &mut interrupted => return exit.map(Outcome::Otherwise),
            opened = self.open(directories, commit, question) => match opened? {
                Opened::Answered(ending) => return Ok(Outcome::Answered(ending)),
                Opened::Waiting(waiter) => waiter,
            },
            () = &mut late => return Ok(Outcome::Otherwise(self.timed_out(None))),
        };
        loop {
            let news = tokio::select! {
                biased;
                exit = &mut interrupted => return exit.map(Outcome::Otherwise),
                news = waiter.next() => news?,
                () = &mut late => return Ok(Outcome::Otherwise(self.timed_out(Some(&waiter.outstanding())))),
            };
            match news {
                News::Gap(gap) => self.patience.gap(&gap)?,
                News::Dead(status) => self.asked.dead(&status)?,
                News::Silent(status) => self.patience.silent(&status),
                News::Counts(shown) => counts(&shown),
                News::Ends(ending) => return Ok(Outcome::Answered(ending)),
            }
        }
    }

    /// The question, checked before anything is started; and the commit that it is about, if it is about one.
    pub(super) fn question(&self) -> Result<(Option<Commit>, Box<dyn Question>), Failure> {
        let commit = self.asked.commit()?;
        let question: Box<dyn Question> = match &commit {
            Some(commit) => Box::new(commit::unknown(commit.clone())?),
            None => self.asked.question()?,
        };
        self.check()?;
        Ok((commit, question))
    }

    /// Puts the question.
    async fn open(
        &self,
        directories: &Directories,
        commit: Option<Commit>,
        question: Box<dyn Question>,
    ) -> Result<Opened, Failure> {
        let since = self.start.cursor(directories)?;
        let (question, since) = match commit {
            None => (question, since),
            Some(commit) => match commit::begin(directories, commit, since, &self.patience).await? {
                Begun::Answered(ending) => return Ok(Opened::Answered(ending)),
                Begun::Open(question, since) => (question, Some(since)),
            },
        };
        let waiter = self.patience.ask(directories, question, since).await?;
        Ok(Opened::Waiting(Box::new(waiter)))
    }

    /// Refuses what makes no sense together with the question.
    fn check(&self) -> Result<(), Failure> {
        if !self.exit_on.is_empty() && !self.asked.has_verdict() {
            return Err(Failure::usage("--exit-on is about verdicts: it goes with --verdict, --sha or --none-of"));
        }
        match (self.timeout, self.asked.quiet_for) {
            (Some(timeout), Some(quiet)) if timeout <= quiet => {
                Err(Failure::usage("--timeout is not longer than --quiet-for, so it would always come first"))
            }
            _ => Ok(()),
        }
    }

    /// Returns when --timeout has elapsed.
    pub(super) async fn late(&self) {
        late(self.timeout).await;
    }

    /// Says that it has, and what is still missing; or that nothing could be asked until then.
    pub(super) fn timed_out(&self, outstanding: Option<&[String]>) -> Exit {
        if self.patience.is_quiet() {
            return Exit::TimedOut;
        }
        let after = self.timeout.unwrap_or_default().as_secs_f64();
        match outstanding {
            Some(parts) => {
                output::say(&format!("waitbus: timed out after {after} s; still outstanding:"));
                for part in parts {
                    output::say(&format!("  {}", one_line(part)));
                }
            }
            None => output::say(&format!(
                "waitbus: timed out after {after} s, before the hub or the log had answered; if that was long enough, \
                 `waitbus doctor` says what is wrong"
            )),
        }
        Exit::TimedOut
    }

    /// The exit code that an answer means.
    pub(super) fn exit(&self, ending: &Ending) -> Exit {
        let word = ending.verdict.word();
        if word == FORBIDDEN && !self.patience.is_quiet() {
            output::say("waitbus: what --none-of forbids has happened");
        }
        match self.exit_on.iter().rev().find(|(mapped, _)| mapped == word) {
            // Whatever is said of success holds for it under any word.
            Some((_, 0)) => Exit::Success,
            Some((_, code)) => Exit::Mapped(*code),
            None => Exit::from(&ending.verdict),
        }
    }
}

/// `WORD=CODE`, where the code is not one that means something else.
fn exit_on(text: &str) -> Result<(String, u8), String> {
    let (word, code) = text.split_once('=').ok_or_else(|| format!("{text:?}: write WORD=CODE, as in neutral=0"))?;
    let code: u8 = code.parse().map_err(|_| format!("{code:?} is no exit code"))?;
    match code {
        _ if word.is_empty() => Err(format!("{text:?} names no word of a verdict")),
        2 | 3 => Err(format!("{code} means that there is no verdict; take another code")),
        124.. => Err(format!("{code} is taken: codes from 124 on are those of timeouts, commands and signals")),
        _ => Ok((word.to_owned(), code)),
    }
}

/// Returns when so much time has passed, or never.
pub(super) async fn late(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

/// Returns when the person or a supervisor ends us.
pub(super) async fn interrupted() -> Result<Exit, Failure> {
    let refused = |error| Failure::bus(format!("the system refuses signal handlers: {error}"));
    let signal = Signals::listen(&ASK_TO_END).map_err(refused)?.next().await;
    Ok(Exit::Signal(u8::try_from(signal).unwrap_or(0)))
}
