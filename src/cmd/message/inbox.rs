//! `waitbus message inbox`: what is addressed to a name.

use std::time::Duration;

use clap::Args;

use super::{Myself, Waited, within};
use crate::client::{Begin, BusError, Inbox, Letter, Mail};
use crate::cmd::exit::{Exit, Failure};
use crate::cmd::wait::{Patience, Start};
use crate::cmd::{output, time};
use crate::config::directories::Directories;
use crate::model::limits::SETTLING;
use crate::model::message::Wanted;
use crate::model::text::{lines, one_line};

/// Print the messages that are addressed to a name, or to everybody
///
/// Without --since or --after these are the ones that have not been read under this name. A message to the name is
/// answered with a receipt once it has been printed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    myself: Myself,

    /// Wait for a message if there is none
    #[arg(long, conflicts_with = "follow")]
    wait: bool,

    /// Print also what comes, until interrupted
    #[arg(long)]
    follow: bool,

    /// With --wait or --follow: end after this long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    timeout: Option<Duration>,

    #[command(flatten)]
    start: Start,

    /// Only messages of this thread; with --since or --after, because a thread has no place of its own
    #[arg(long, value_name = "TEXT")]
    thread: Option<String>,

    #[command(flatten)]
    patience: Patience,

    /// Print each message as one JSON object with its cursor
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, directories: &Directories) -> Result<Exit, Failure> {
    let name = arguments.myself.name()?;
    let wanted = Wanted { thread: arguments.thread.clone(), ..Wanted::of(name) };
    wanted.check().map_err(Failure::usage)?;
    if arguments.timeout.is_some() && !(arguments.wait || arguments.follow) {
        return Err(Failure::usage("--timeout goes with --wait or --follow: without them nothing is waited for"));
    }
    let begin = match arguments.start.cursor(directories)? {
        Some(cursor) => Begin::After(cursor),
        None if wanted.thread.is_none() => Begin::Unread,
        None => {
            return Err(Failure::usage(
                "--thread: what has been read is known of the whole inbox only; say where to begin, with --since WHEN \
                 or --after CURSOR",
            ));
        }
    };
    let mut inbox = Inbox::open(directories, wanted, begin, arguments.patience.options())?;
    let mut shown = Shown::default();
    let waited = within(arguments.timeout, shown.show(&mut inbox, &arguments)).await;
    shown.mention(inbox.close(SETTLING).await, &arguments);
    Ok(match waited? {
        Waited::Ended(()) => Exit::Success,
        Waited::Interrupted(exit) => exit,
        // What has come is what was waited for.
        Waited::Late if arguments.wait && shown.letters > 0 => Exit::Success,
        Waited::Late => Exit::TimedOut,
    })
}

/// What has been shown.
#[derive(Default)]
struct Shown {
    letters: usize,
    /// Whether it has been said that what was read cannot be remembered.
    mentioned: bool,
}

impl Shown {
    async fn show(&mut self, inbox: &mut Inbox, arguments: &Arguments) -> Result<(), Failure> {
        loop {
            let mail = match inbox.here().await? {
                Some(mail) => mail,
                None if arguments.follow || (arguments.wait && self.letters == 0) => {
                    if inbox.feed().is_none() {
                        inbox.attach().await?;
                        inbox.feed().into_iter().for_each(|feed| arguments.patience.attached(feed));
                    }
                    inbox.next().await?
                }
                None => return Ok(()),
            };
            match mail {
                Mail::Gap(gap) => arguments.patience.gap(&gap)?,
                Mail::Letter(letter) => {
                    if output::line(&written(*letter, arguments.json)).is_err() {
                        return Ok(());
                    }
                    self.letters += 1;
                    inbox.handed_over();
                }
            }
            self.mention(inbox.take_problem(), arguments);
        }
    }

    /// Says once why messages may come again.
    fn mention(&mut self, problem: Option<BusError>, arguments: &Arguments) {
        if let Some(problem) = problem
            && !std::mem::replace(&mut self.mentioned, true)
            && !arguments.patience.is_quiet()
        {
            output::say(&format!("waitbus: {problem}; what has been printed may be printed again"));
        }
    }
}

/// A message as it is shown: who says it, and what, on lines that cannot be taken for another's first.
fn written(letter: Letter, json: bool) -> String {
    let Letter { message, event } = letter;
    if json {
        return output::event(message.id, event, true);
    }
    let from = message.from.as_deref().map_or_else(|| "(nobody)".to_owned(), one_line);
    let thread = message.thread.as_deref().map(|thread| format!(", thread {}", one_line(thread))).unwrap_or_default();
    let mut text = format!("{} from {from} to {}{thread}:", message.id, one_line(&message.to));
    for line in lines(&message.body) {
        text.push_str("\n  ");
        text.push_str(&line);
    }
    text
}
