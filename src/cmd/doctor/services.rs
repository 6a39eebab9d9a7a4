//! What the service manager has of us: units, sockets, services and secrets.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Finding, Here};
use crate::client::status::HubState;
use crate::config::secret::{KNOWN, Known};
use crate::setup::secret::{InUse, Keeper, Rung};
use crate::setup::systemd::manager::{Manager, UnitState};
use crate::setup::systemd::units::{SOCKETS, UNITS, WEBHOOK_SOCKET};
use crate::setup::{Plan, SetupError, Wanted, launchd, systemd};
use crate::sys::manager::{KIND, Kind};

/// What a check without a manager has to say: nothing, the check of the manager has said it.
fn with_manager(here: &Here, check: impl FnOnce(&Manager) -> Result<Vec<Finding>, SetupError>) -> Vec<Finding> {
    let Ok(manager) = &here.manager else { return Vec::new() };
    check(manager).unwrap_or_else(|error| vec![not_looked_at(&error)])
}

/// Something that could not even be looked at.
fn not_looked_at(error: &SetupError) -> Finding {
    let found = Finding::problem(error.to_string(), "The user manager has to answer");
    // All the others say what to do.
    if matches!(error, SetupError::Refused(_)) { found } else { Finding { fix: None, ..found } }
}

pub(super) fn manager(here: &Here) -> Vec<Finding> {
    if KIND == Kind::Launchd {
        let wanted = Wanted { directories: &here.directories, program: &here.program, webhook: false };
        return vec![agents(launchd::is_installed(), launchd::install(&wanted))];
    }
    vec![match &here.manager {
        Ok(manager) => {
            Finding::ok(format!("systemd {}, units in {}", manager.version, manager.unit_directory.display()))
        }
        // Waitbus works without; whoever wants one finds out what is missing.
        Err(SetupError::NoManager { problem, remedy }) => Finding::warning(problem.clone(), remedy.clone()),
        Err(error) => Finding::problem(error.to_string(), "Units cannot be installed before that"),
    }]
}

/// The agents of launchd, seen by what installing them again would have to do.
fn agents(installed: bool, plan: Result<Plan, SetupError>) -> Finding {
    match plan {
        Err(SetupError::NoManager { problem, remedy }) => Finding::warning(problem, remedy),
        Err(error) => Finding::problem(error.to_string(), "Agents cannot be installed before that"),
        Ok(_) if !installed => {
            Finding::ok("no agents are installed; `waitbus install` does that, and a wait works without")
        }
        Ok(plan) if plan.is_empty() => Finding::ok("launchd knows the agents, which are as this program writes them"),
        Ok(_) => Finding::warning(
            "launchd does not know the agents, or they are other than this program would have them",
            "`waitbus install --dry-run` shows what is missing, `waitbus install` repairs it",
        ),
    }
}

pub(super) fn units(here: &Here) -> Vec<Finding> {
    with_manager(here, |manager| {
        if states(manager)?.iter().all(|(_, state)| state.get("LoadState") == "not-found") {
            return Ok(vec![Finding::ok("none are installed; `waitbus install` does that, and a wait works without")]);
        }
        let changes = systemd::differences(manager, &here.program, &here.directories)?;
        if changes.is_empty() {
            let program = here.program.display();
            return Ok(vec![Finding::ok(format!("as this program writes them, for {program} and these directories"))]);
        }
        let names: Vec<_> = changes.iter().filter_map(|change| change.path.file_name()?.to_str()).collect();
        let what = format!("other than this program would have them: {}", names.join(", "));
        let fix = "`waitbus install --dry-run` shows the difference, `waitbus install` repairs it";
        let program = manager.program_of("waitbus.service")?;
        Ok(vec![match program.filter(|program| !program.exists()) {
            Some(gone) => Finding::problem(format!("they run {}, which is not there", gone.display()), fix),
            None => Finding::warning(what, fix),
        }])
    })
}

pub(super) fn drop_ins(here: &Here) -> Vec<Finding> {
    with_manager(here, |manager| {
        let found =
            UNITS.iter().filter_map(|unit| fs::read_dir(manager.unit_directory.join(format!("{}.d", unit.name))).ok());
        let paths = found.flatten().flatten().map(|entry| entry.path());
        let foreign = paths.filter(|path| crate::setup::files::ours(path).is_err());
        Ok(foreign.map(|path| Finding::ok(format!("{} is yours, and left alone", path.display()))).collect())
    })
}

pub(super) fn enabled(here: &Here) -> Vec<Finding> {
    with_manager(here, |manager| {
        let states = states(manager)?;
        let installed = states.iter().filter(|(_, state)| state.get("LoadState") != "not-found");
        let sockets = installed.filter(|(name, _)| SOCKETS.contains(name) || *name == WEBHOOK_SOCKET);
        Ok(sockets.map(|(name, state)| socket(name, state)).collect())
    })
}

fn socket(name: &str, state: &UnitState) -> Finding {
    let start = format!("Run `systemctl --user enable --now {name}`");
    if state.get("LoadState") == "masked" {
        return Finding::warning(format!("{name} is masked"), format!("Run `systemctl --user unmask {name}`"));
    }
    match (state.is_enabled(), state.is_active()) {
        (true, true) => Finding::ok(format!("{name} is enabled, and listens")),
        (_, false) if state.get("ActiveState") == "failed" => {
            let fix = format!(
                "`journalctl --user -u {name}` says why; then run `systemctl --user reset-failed {name}` and `systemctl \
                 --user start {name}`"
            );
            Finding::problem(format!("{name} has failed ({})", state.get("Result")), fix)
        }
        (true, false) => {
            // Where its address is taken, systemd 257 and later do not even call it failed.
            let fix = format!("{start}; where that fails, `journalctl --user -u {name}` says why");
            Finding::problem(format!("{name} is enabled, but does not listen"), fix)
        }
        (false, true) => Finding::warning(format!("{name} listens, but will not after the next start"), start),
        (false, false) if name == WEBHOOK_SOCKET => Finding::ok(format!("{name} is not enabled: no webhooks")),
        (false, false) => Finding::warning(format!("{name} is installed, but not enabled"), start),
    }
}

pub(super) fn running(here: &Here) -> Vec<Finding> {
    with_manager(here, |manager| {
        let states = states(manager)?;
        let services = states.iter().filter(|(name, _)| name.ends_with(".service"));
        let mut found: Vec<_> = services
            .filter_map(|(name, state)| {
                let how = match state {
                    state if state.get("ActiveState") == "failed" => "has failed",
                    // The units have no limit of starts, so this is what a broken service is for good.
                    state if state.is_to_be_restarted() => "fails, and is started again each time",
                    _ => return None,
                };
                let fix = format!("`journalctl --user -u {name}` says why");
                Some(Finding::problem(format!("{name} {how} ({})", state.get("Result")), fix))
            })
            .collect();
        for (name, state) in &states {
            if manager.is_outdated(name, state, &here.program)? {
                let fix = format!("Run `waitbus install`, or `systemctl --user restart {name}`");
                found.push(Finding::warning(format!("{name} still runs the program before an update"), fix));
            }
        }
        let listens = states.iter().any(|(name, state)| SOCKETS.contains(name) && state.is_active());
        if let HubState::Running(status) = &here.hub
            && listens
            && !status.activated
        {
            let what = format!("the hub (process {}) is not the service's, although its sockets listen", status.pid);
            found.push(Finding::warning(what, "It hands over to the service with the next connection"));
        }
        Ok(found)
    })
}

pub(super) fn linger(here: &Here) -> Vec<Finding> {
    with_manager(here, |manager| {
        if states(manager)?.iter().all(|(_, state)| !state.is_enabled()) {
            return Ok(Vec::new());
        }
        let uid = rustix::process::geteuid().as_raw().to_string();
        let said = manager.tool("loginctl", &["show-user", &uid, "--property=Linger", "--value"]).run();
        Ok(match said.as_deref().map(<[u8]>::trim_ascii) {
            Ok(b"yes") => vec![Finding::ok("the services stay when you log out")],
            Ok(_) => vec![Finding::ok("the services end with your last session; `loginctl enable-linger` keeps them")],
            // A session without logind ends when it ends.
            Err(_) => Vec::new(),
        })
    })
}

pub(super) fn secret(here: &Here) -> Vec<Finding> {
    let keeper = match Keeper::open(&here.directories) {
        Ok(keeper) => keeper,
        Err(error) => return vec![Finding::problem(error.to_string(), "No secret can be handed over before that")],
    };
    let looked = |known| look(here, &keeper, known);
    KNOWN.into_iter().map(|known| looked(known).unwrap_or_else(|error| not_looked_at(&error))).collect()
}

fn look(here: &Here, keeper: &Keeper, known: Known) -> Result<Finding, SetupError> {
    let set = format!("`waitbus secret set {}` stores one", known.name);
    let Some(stored) = keeper.stored(known)? else {
        let what = format!("{} is not set", known.name);
        return Ok(if listens(here)? && !is_one_set(keeper, known.service)? {
            Finding::warning(format!("{what}: deliveries are answered with 503"), set)
        } else {
            Finding::ok(what)
        });
    };
    if is_open(&stored.path) {
        let fix = format!(
            "Run `chmod 600 {}`, and replace it: `waitbus secret rotate {}`",
            stored.path.display(),
            known.name
        );
        return Ok(Finding::problem(format!("others can read {}", stored.path.display()), fix));
    }
    if !is_readable(&stored.path) {
        let shown = stored.path.display();
        let fix = format!("Run `chmod 600 {shown}`, or replace it: `waitbus secret rotate {}`", known.name);
        let what = format!("{shown} cannot be read, and {} may not start with it", known.service);
        return Ok(Finding::problem(what, fix));
    }
    let restart = format!("Run `systemctl --user restart {}`", known.service);
    let what = format!("{} is stored {}", known.name, stored.rung);
    Ok(match keeper.in_use(known, Some(&stored))? {
        InUse::Older => Finding::warning(format!("{what}, but {} uses an older one", known.service), restart),
        InUse::Without => Finding::problem(format!("{what}, but {} has none", known.service), restart),
        InUse::NotRunning | InUse::Current => Finding::ok(what),
    })
}

/// Whether somebody may come with a delivery.
fn listens(here: &Here) -> Result<bool, SetupError> {
    match &here.manager {
        Ok(manager) => Ok(manager.show(&[WEBHOOK_SOCKET])?.iter().any(UnitState::is_active)),
        Err(_) => Ok(false),
    }
}

/// Whether a service has a secret at all: whoever has GitHub alone, or Alertmanager alone, lacks nothing.
fn is_one_set(keeper: &Keeper, service: &str) -> Result<bool, SetupError> {
    for known in KNOWN.into_iter().filter(|known| known.service == service) {
        if keeper.stored(known)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_open(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.mode() & 0o077 != 0)
}

/// Opened as well as looked at: it may be somebody else's, and root may open what the services may not.
fn is_readable(path: &Path) -> bool {
    fs::File::open(path).and_then(|file| file.metadata()).is_ok_and(|found| found.mode() & 0o400 != 0)
}

pub(super) fn secret_store(here: &Here) -> Vec<Finding> {
    let Ok(keeper) = Keeper::open(&here.directories) else { return Vec::new() };
    let best = keeper.best();
    let stored = KNOWN.into_iter().filter_map(|known| Some((known, keeper.stored(known).ok()??)));
    let mut found: Vec<_> = stored
        .filter(|(_, stored)| stored.rung > best)
        .map(|(known, stored)| {
            let what = format!("{} is {}, and could be {best}", known.name, stored.rung);
            Finding::warning(what, format!("Give it once more to `waitbus secret set {}`", known.name))
        })
        .collect();
    if found.is_empty() {
        let better = if best == Rung::File && KIND == Kind::Systemd {
            "; systemd encrypts for a user from version 256 on"
        } else {
            ""
        };
        found.push(Finding::ok(format!("the best that works here: {best}{better}")));
    }
    found
}

fn states(manager: &Manager) -> Result<Vec<(&'static str, UnitState)>, SetupError> {
    let names = UNITS.map(|unit| unit.name);
    Ok(names.into_iter().zip(manager.show(&names)?).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::setup::Step;

    #[test]
    fn agents_are_well_when_installing_them_again_would_do_nothing() {
        let something = || vec![Step::Remove("/a".into())];
        let nobody = || SetupError::NoManager { problem: "nobody".into(), remedy: "log in".into() };
        for (installed, plan, level) in [
            (true, Ok(Plan::new()), Level::Ok),
            (true, Ok(something()), Level::Warning),
            (false, Ok(something()), Level::Ok),
            (true, Err(nobody()), Level::Warning),
            (true, Err(SetupError::NotText("/a".into())), Level::Problem),
        ] {
            let found = agents(installed, plan);
            assert_eq!(found.level, level, "{found:?}");
            assert_eq!(found.fix.is_none(), level == Level::Ok, "{found:?}");
        }
    }
}
