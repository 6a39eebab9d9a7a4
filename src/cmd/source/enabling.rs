//! `waitbus source enable` and `disable`: a source in the service manager's hands, from now on and with each session.

use clap::Args;

use super::known::{by_plugin, is_told, lines, there_is_no};
use super::overview::is_managed;
use crate::client::{Feed, Item, Options};
use crate::cmd::exit::{Exit, Failure};
use crate::cmd::{block_on, install, output};
use crate::config::directories::Directories;
use crate::config::environment;
use crate::config::settings::Settings;
use crate::model::event::check_name;
use crate::model::frame::Subscribe;
use crate::model::limits::{GRACE, SOURCE_SETTLES};
use crate::model::nearest::nearest;
use crate::model::source::{SourceState, SourceStatus};
use crate::setup::systemd::units;
use crate::setup::{self, SetupError, Wanted};
use crate::source::Setup;
use crate::sys::manager::{KIND, Kind};

/// Have the service manager run a source, now and with each session
///
/// Checks what waitbus.toml says of it, installs the units that are missing (as `waitbus install` does), and waits until
/// the source is ready, or says why it is not. Run again it repairs what differs, and has the source read its section
/// anew if waitbus.toml has changed.
#[derive(Debug, Args)]
pub(super) struct EnableArguments {
    /// Its name: alertmanager, docker, fs, github, or that of a [source.NAME] section
    name: String,

    /// Print what would be done, with all that would be written, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Stop a source, and start it no more
///
/// Its section in waitbus.toml and its events stay. Enabled again, it goes on where it was.
#[derive(Debug, Args)]
pub(super) struct DisableArguments {
    /// Its name
    name: String,

    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn enable(arguments: &EnableArguments, directories: &Directories) -> Result<Exit, Failure> {
    let name = usable(&arguments.name)?;
    let settings = Settings::load(directories).map_err(Failure::usage)?;
    check(name, &settings, directories)?;
    let program =
        environment::program_as_called().map_err(|error| Failure::bus(format!("where this program is: {error}")))?;
    let wanted = Wanted { directories, program: &program, webhook: false, source: Some(name) };
    let plan = setup::install(&wanted).map_err(|error| without_manager(name, error))?;
    if let Some(doubt) = install::place(&program)? {
        output::say(&format!("waitbus: warning: {} {doubt}", program.display()));
    }
    install::follow(&plan, arguments.dry_run).map_err(|failure| explained(name, &failure))?;
    if arguments.dry_run {
        return Ok(Exit::Success);
    }
    let heard = block_on(first_words(name, directories))?;
    match heard.as_ref().map(|status| (status.state, status)) {
        Some((SourceState::Dead, _)) => Err(explained(name, &Failure::bus(format!("the source {name} has ended")))),
        Some((SourceState::Silent, status)) => {
            let reason = status.reason().unwrap_or("it does not say why");
            output::say(&format!("waitbus: the source {name} runs, sees nothing yet and goes on trying: {reason}"));
            Ok(Exit::Success)
        }
        _ => {
            output::say(&format!("waitbus: the source {name} runs, and starts with each session"));
            Ok(Exit::Success)
        }
    }
}

/// What becomes known of a source that has just become ready; nothing where all is well.
async fn first_words(name: &str, directories: &Directories) -> Result<Option<SourceStatus>, Failure> {
    // No event has this source and no id.
    let nothing = vec![vec![format!("source={name}"), "event_id=null".to_owned()]];
    let subscribe = Subscribe { alternatives: nothing, heartbeat: false, ..Subscribe::default() };
    let mut feed = Feed::open(directories, subscribe, Options { grace: GRACE }).await?;
    let mut heard = None;
    let listening = async {
        while let Ok(item) = feed.next().await {
            if let Item::Source(status) = item {
                heard = Some(status);
            }
        }
    };
    let _ = tokio::time::timeout(SOURCE_SETTLES, listening).await;
    Ok(heard)
}

pub(super) fn disable(arguments: &DisableArguments, directories: &Directories) -> Result<Exit, Failure> {
    let name = usable(&arguments.name)?;
    check_there_is(name, directories)?;
    let plan = setup::disable(name).map_err(|error| without_manager(name, error))?;
    install::follow(&plan, arguments.dry_run)
}

/// A failure with what the source has said last, if it has failed.
fn explained(name: &str, failure: &Failure) -> Failure {
    let log = match KIND {
        Kind::Systemd => format!("`journalctl --user -u {}` has its log", units::of_source(name)),
        Kind::Launchd => format!("its log is source-{name}.log, beside the event log"),
    };
    match setup::last_words(name) {
        Some(said) => Failure::of(failure.exit, format!("the source {name} fails: {said}. {log}")),
        None => Failure::of(failure.exit, format!("{failure}. {log}")),
    }
}

/// A name that a source can have, and that is no verb.
fn usable(name: &str) -> Result<&str, Failure> {
    check_name("name", name).map_err(Failure::usage)?;
    if name.starts_with('-') || ["list", "enable", "disable", "help"].contains(&name) {
        return Err(Failure::usage(format!(
            "{name:?} cannot be the name of a source that is run: `waitbus source {name}` is something else"
        )));
    }
    Ok(name)
}

/// Whether there is anything of this name to stop: a source, or what is left of one whose section has gone.
fn check_there_is(name: &str, directories: &Directories) -> Result<(), Failure> {
    // A section with a mistake stops nobody from stopping what runs.
    let Ok(settings) = Settings::load(directories) else { return Ok(()) };
    let is_known = Setup::BUILT_IN.contains(&name) || settings.sources.contains_key(name);
    if is_known || is_managed(name) {
        return Ok(());
    }
    Err(Failure::usage(there_is_no(name, &settings)))
}

/// Whether the source was told what it needs.
fn check(name: &str, settings: &Settings, directories: &Directories) -> Result<(), Failure> {
    let section = settings.sources.get(name);
    if let Some(section) = section {
        Setup::of(section).map_err(Failure::usage)?;
    }
    if is_told(name, section) {
        return Ok(());
    }
    if let Some(plugin) = by_plugin(name) {
        return Err(Failure::usage(plugin));
    }
    let known = settings.sources.keys().map(String::as_str).chain(Setup::BUILT_IN);
    let meant = nearest(name, known.filter(|known| *known != name));
    let meant = meant.map(|meant| format!(" (or did you mean {meant:?}?)")).unwrap_or_default();
    let path = directories.settings();
    Err(Failure::usage(format!(
        "the source {name} has not been told what to do: add this to {}{meant}\n\n{}",
        path.display(),
        lines(name)
    )))
}

fn without_manager(name: &str, error: SetupError) -> Failure {
    match error {
        SetupError::NoManager { problem, remedy } => Failure::bus(format!(
            "{problem}, so nobody can be told to run it; `waitbus source {name}` runs it in the foreground. {remedy}"
        )),
        other => other.into(),
    }
}
