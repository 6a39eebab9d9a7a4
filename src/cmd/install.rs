//! `waitbus install` and `waitbus uninstall`: the services of this user's session, in a service manager's hands.

use std::path::{Path, PathBuf};

use clap::Args;
use similar::{Algorithm, ChangeTag, capture_diff_slices};

use super::exit::{Exit, Failure};
use super::output;
use crate::config::directories::Directories;
use crate::config::environment;
use crate::setup::files::Change;
use crate::setup::{self, Plan, Removal, SetupError, Step, Wanted, systemd};
use crate::sys::manager::{KIND, Kind};

/// Have the service manager open the sockets and run this program when somebody uses them
///
/// Writes units (on macOS agents) that run this program, wherever it lives, and has their sockets opened; a service
/// starts with the first connection. Run again it repairs what differs, or says that nothing has to be done. Changes of your own
/// belong in drop-ins (`systemctl --user edit waitbus.service`), which are left alone.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Open the webhook listener's socket as well
    #[arg(long)]
    webhook: bool,

    /// Print what would be done, with all that would be written, and do nothing
    #[arg(long, conflicts_with = "system_wide")]
    dry_run: bool,

    /// For packagers: write the units for all users into /usr/lib/systemd/user, and enable nothing
    #[arg(long, conflicts_with = "webhook")]
    system_wide: bool,

    /// With --system-wide: write below this directory instead of /
    #[arg(long, value_name = "DIR", requires = "system_wide")]
    root: Option<PathBuf>,

    /// With --system-wide: where the package has the program [default: /usr/bin/waitbus]
    #[arg(long, value_name = "PATH", requires = "system_wide")]
    program: Option<PathBuf>,
}

/// Stop and remove the services, their units and the secrets; the log and `inboxes/` stay
///
/// Drop-ins of your own stay as well, and so do the units of a package. Run again it says that nothing has to be done.
/// Where no user manager can be told, the files go all the same.
#[derive(Debug, Args)]
pub(super) struct UninstallArguments {
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn install(arguments: &Arguments, directories: &Directories) -> Result<Exit, Failure> {
    if arguments.system_wide && KIND == Kind::Launchd {
        return Err(Failure::usage("--system-wide writes units for systemd, and this is macOS: run `waitbus install`"));
    }
    if arguments.system_wide {
        let root = arguments.root.as_deref().unwrap_or(Path::new("/"));
        let written = systemd::install_for_all(root, arguments.program.as_deref())?;
        for path in written {
            let _ = output::line(&format!("wrote {}", path.display()));
        }
        return Ok(Exit::Success);
    }
    let program =
        environment::program_as_called().map_err(|error| Failure::bus(format!("where this program is: {error}")))?;
    let plan = setup::install(&Wanted { directories, program: &program, webhook: arguments.webhook, source: None })?;
    if let Some(doubt) = place(&program)? {
        output::say(&format!("waitbus: warning: {} {doubt}", program.display()));
    }
    follow(&plan, arguments.dry_run)
}

pub(super) fn uninstall(arguments: &UninstallArguments, directories: &Directories) -> Result<Exit, Failure> {
    let Removal { plan, untold } = setup::uninstall(directories)?;
    if let Some(problem) = untold {
        output::say(&format!(
            "waitbus: the user manager could not be told: {problem}. One that runs out of reach keeps the sockets and \
             services that it has, and the listener its secret, until it ends or `systemctl --user stop 'waitbus*'` is \
             run in its session"
        ));
    }
    if arguments.dry_run || plan.is_empty() {
        follow(&plan, arguments.dry_run)?;
    } else {
        // A unit that cannot be stopped is no reason to leave the rest.
        let failed: Vec<_> = plan.iter().filter_map(|step| take(step).err()).map(|error| error.to_string()).collect();
        if !failed.is_empty() {
            return Err(Failure::bus(format!(
                "{}. What is left goes with a second `waitbus uninstall`",
                failed.join("; ")
            )));
        }
    }
    if directories.state.exists() {
        output::say(&format!("waitbus: the event log stays in {}", directories.state.display()));
    }
    Ok(Exit::Success)
}

/// Takes the steps, or shows them.
pub(super) fn follow(plan: &Plan, dry_run: bool) -> Result<Exit, Failure> {
    if plan.is_empty() {
        let _ = output::line("nothing has to be done");
    }
    for step in plan {
        if dry_run {
            show(step);
        } else {
            take(step)?;
        }
    }
    Ok(Exit::Success)
}

fn take(step: &Step) -> Result<(), SetupError> {
    step.take()?;
    let _ = output::line(&match step {
        Step::Directory(path) => format!("made {}", path.display()),
        Step::Change(change) if change.after.is_none() => format!("removed {}", change.path.display()),
        Step::Change(change) => format!("wrote {}", change.path.display()),
        Step::Remove(path) => format!("removed {}", path.display()),
        Step::Ask(request) => format!("ran {request}"),
    });
    Ok(())
}

/// A step, with all that it would write.
fn show(step: &Step) {
    let _ = match step {
        Step::Directory(path) => output::line(&format!("would make {}", path.display())),
        Step::Ask(request) => output::line(&format!("would run {request}")),
        Step::Remove(path) => output::line(&format!("would remove {}", path.display())),
        Step::Change(Change { path, before, after: None }) => {
            let lines = before.as_deref().map_or(0, |text| text.lines().count());
            output::line(&format!("would remove {} ({lines} lines)", path.display()))
        }
        Step::Change(Change { path, before, after: Some(after) }) => {
            let _ = output::line(&format!("would write {}", path.display()));
            let before = before.as_deref().unwrap_or_default();
            difference(before, after).into_iter().try_for_each(|line| output::line(&line))
        }
    };
}

/// The lines that differ, and no others.
fn difference(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let changes = capture_diff_slices(Algorithm::Myers, &old, &new);
    let changes = changes.iter().flat_map(|change| change.iter_changes(&old, &new));
    let differ = changes.filter(|change| change.tag() != ChangeTag::Equal);
    differ.map(|change| format!("    {} {}", change.tag(), change.value())).collect()
}

/// What is to be said about a program in this place, before units rely on it.
pub(super) fn place(program: &Path) -> Result<Option<&'static str>, Failure> {
    if environment::is_temporary(program) {
        // The services have temporary directories of their own, so they would not even find it.
        return Err(Failure::usage(format!(
            "{} is in a directory for temporary files, which the services do not see: copy the program to where it \
             stays, for example ~/.local/bin, and run that one",
            program.display()
        )));
    }
    let built = ["release", "debug"].map(|profile| Path::new("target").join(profile));
    let built = program.parent().is_some_and(|parent| built.iter().any(|end| parent.ends_with(end)));
    Ok(built.then_some("is in a build directory: the services fail when that is cleaned"))
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Failure {
        match error {
            SetupError::Unwritable(_) | SetupError::NotText(_) | SetupError::Directory(_) => Failure::usage(error),
            other => Failure::bus(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_shows_the_lines_that_differ_and_no_others() {
        assert_eq!(difference("a\nb\nc\n", "a\nB\nx\nc\n"), ["    - b", "    + B", "    + x"]);
        assert_eq!(difference("", "a\n"), ["    + a"]);
        assert_eq!(difference("a\na\n", "a\n"), ["    - a"]);
        assert!(difference("a\n", "a\n").is_empty());
        // Everything between two changes was shown as removed and written again.
        assert_eq!(difference("a\nb\nc\nd\ne\n", "A\nb\nc\nd\nE\n"), ["    - a", "    + A", "    - e", "    + E"]);
    }

    #[test]
    fn a_program_that_will_not_stay_is_not_installed_without_a_word() {
        assert!(place(Path::new("/tmp/waitbus")).unwrap_err().to_string().contains("temporary"));
        assert!(place(Path::new("/var/tmp/x/waitbus")).is_err());
        assert!(place(Path::new("/home/dev/waitbus/target/release/waitbus")).unwrap().is_some());
        assert_eq!(place(Path::new("/home/dev/.cargo/bin/waitbus")).unwrap(), None);
    }
}
