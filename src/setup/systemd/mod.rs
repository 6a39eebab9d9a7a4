//! systemd: the units in the user's own directory, or those of a package where they do the same; and what the user
//! manager has to be told about them.

pub mod credential;
pub mod manager;
pub mod text;
pub mod units;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::{self, Change};
use super::{Plan, Removal, SetupError, Step, Wanted, secret};
use crate::config::directories::Directories;
use manager::{Manager, UnitState};
use units::{NAMED, SOCKETS, Setting, UNITS, WEBHOOK_SOCKET, of_source, source_of};

/// Where packages put units of a user manager.
pub const PACKAGED: &str = "/usr/lib/systemd/user";

/// What leads from what is there to units as they are wanted, enabled and listening.
pub fn install(wanted: &Wanted<'_>) -> Result<Plan, SetupError> {
    let manager = Manager::find()?;
    let changes = differences(&manager, wanted.program, wanted.directories)?;
    let states = States::ask(&manager)?;
    let sockets = SOCKETS.into_iter().chain(wanted.webhook.then_some(WEBHOOK_SOCKET));
    let source = wanted.source.map(of_source);
    let mut plan: Plan = changes.iter().cloned().map(Step::Change).collect();
    if !changes.is_empty() || states.any(|state| state.get("NeedDaemonReload") == "yes") {
        plan.push(Step::Ask(manager.request(&["daemon-reload"])));
    }
    plan.extend(about(&manager, &["reset-failed"], &states.those(|state| state.get("ActiveState") == "failed")));
    let without =
        |what: fn(&UnitState) -> bool| -> Vec<_> { sockets.clone().filter(|name| !states.are(name, what)).collect() };
    let enabled = source.as_deref().filter(|unit| !states.are(unit, UnitState::is_enabled));
    plan.extend(about(&manager, &["enable"], &[without(UnitState::is_enabled), Vec::from_iter(enabled)].concat()));
    // In one go: a socket that listens elsewhere now is opened anew while its service is down. A service whose sockets
    // are what they were keeps them, and whoever waits resumes.
    let changed = |name: &str| {
        let of_it = UNITS.into_iter().filter(|unit| unit.is_of(name));
        of_it.into_iter().any(|unit| changes.iter().any(|change| change.path.ends_with(unit.name)))
    };
    let mut outdated = Vec::new();
    for (name, state) in &states.0 {
        if state.is_active() && (changed(name) || manager.is_outdated(name, state, wanted.program)?) {
            outdated.push(&**name);
        }
    }
    plan.extend(about(&manager, &["try-restart"], &outdated));
    plan.extend(about(&manager, &["start"], &without(UnitState::is_active)));
    if let Some(unit) = source.as_deref().filter(|unit| !outdated.contains(unit)) {
        let state = states.get(unit);
        let to_restart = state.is_to_be_restarted() || has_old_settings(&state, wanted.directories);
        // Last, and on its own: what follows from its failure is the source's affair.
        match (state.is_active(), to_restart) {
            (true, false) => {}
            (true, true) => plan.extend(about(&manager, &["restart"], &[unit])),
            (false, _) => plan.extend(about(&manager, &["start"], &[unit])),
        }
    }
    Ok(plan)
}

/// Whether `waitbus.toml` has been written since a service read it.
fn has_old_settings(state: &UnitState, directories: &Directories) -> bool {
    let written = fs::metadata(directories.settings()).and_then(|found| found.modified());
    state.started().zip(written.ok()).is_some_and(|(started, written)| written > started)
}

/// What leads to a source that neither runs nor starts with the session.
pub fn disable(source: &str) -> Result<Plan, SetupError> {
    let manager = Manager::find()?;
    let unit = of_source(source);
    let unit = unit.as_str();
    let state = manager.show(&[unit])?.remove(0);
    let mut plan = Plan::new();
    plan.extend(state.is_active().then(|| Step::Ask(manager.request(&["stop", unit]))));
    plan.extend(state.is_enabled().then(|| Step::Ask(manager.request(&["disable", unit]))));
    let failed = state.get("ActiveState") == "failed";
    plan.extend(failed.then(|| Step::Ask(manager.request(&["reset-failed", unit]))));
    Ok(plan)
}

/// What a source that could not be started has said last.
#[must_use]
pub fn last_words(source: &str) -> Option<String> {
    let said = Manager::find().ok()?.show(&[&of_source(source)]).ok()?.remove(0);
    Some(said.get("StatusText").to_owned()).filter(|said| !said.is_empty())
}

/// What leads from what is there to a manager that has never heard of us, or where none can be told, to no file of ours.
pub fn uninstall(directories: &Directories) -> Result<Removal, SetupError> {
    let untold = match Manager::find() {
        Ok(manager) => return Ok(Removal { plan: uninstall_from(&manager, directories)?, untold: None }),
        Err(SetupError::NoManager { problem, .. }) => problem,
        Err(SetupError::Refused(refused)) => refused.to_string(),
        Err(error) => return Err(error),
    };
    let mut plan = Plan::new();
    let places: BTreeSet<_> = Directories::unit_directories(&|_| None).into_iter().collect();
    for place in places {
        // What `disable` would remove: whatever it leads to, it has our name.
        let links = UNITS.map(|unit| place.join("sockets.target.wants").join(unit.name));
        plan.extend(links.into_iter().filter(|link| link.is_symlink()).map(Step::Remove));
        plan.extend(links_to_sources(&place).map(Step::Remove));
        plan.extend(unit_files(&place)?);
        plan.extend(secret::hand_over_files(directories, &place)?);
    }
    plan.extend(secret::stored_files(directories));
    plan.extend(hub_log(directories));
    Ok(Removal { plan, untold: Some(untold) })
}

fn uninstall_from(manager: &Manager, directories: &Directories) -> Result<Plan, SetupError> {
    let states = States::ask(manager)?;
    let mut plan = Plan::new();
    plan.extend(about(manager, &["stop"], &states.those(UnitState::is_active)));
    plan.extend(about(manager, &["disable"], &states.those(UnitState::is_enabled)));
    plan.extend(about(manager, &["reset-failed"], &states.those(|state| state.get("ActiveState") == "failed")));
    plan.extend(secret::stop_helpers(directories, manager)?);
    let mut files = unit_files(&manager.unit_directory)?;
    files.extend(secret::hand_over_files(directories, &manager.unit_directory)?);
    let reload = !files.is_empty();
    plan.extend(files);
    plan.extend(secret::stored_files(directories));
    plan.extend(reload.then(|| Step::Ask(manager.request(&["daemon-reload"]))));
    plan.extend(hub_log(directories));
    Ok(plan)
}

/// The links by which sources start with the session.
fn links_to_sources(place: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(place.join("default.target.wants")).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_str().and_then(source_of).is_some());
    ours.map(|entry| entry.path()).filter(|path| path.is_symlink())
}

/// The removal of the units that we have written into a directory.
fn unit_files(directory: &Path) -> Result<Plan, SetupError> {
    let mut plan = Plan::new();
    for unit in UNITS {
        plan.extend(files::removal(&directory.join(unit.name))?.map(Step::Change));
    }
    Ok(plan)
}

fn hub_log(directories: &Directories) -> Option<Step> {
    let log = directories.hub_log();
    log.exists().then_some(Step::Remove(log))
}

/// Writes the units for all users of a machine, or of the package that is made below `root`, and returns where. Nothing
/// is compared: what lies there is the package's.
pub fn install_for_all(root: &Path, program: Option<&Path>) -> Result<Vec<PathBuf>, SetupError> {
    let setting = Setting { program: program.map(Path::to_owned), ..Setting::default() };
    let directory = root.join(PACKAGED.trim_start_matches('/'));
    let mut written = Vec::new();
    for unit in UNITS {
        let path = directory.join(unit.name);
        Change { path: path.clone(), before: None, after: Some(unit.render(&setting)?) }.make()?;
        written.push(path);
    }
    Ok(written)
}

/// What the manager is told about some units, if there are any.
fn about(manager: &Manager, verb: &[&str], units: &[&str]) -> Option<Step> {
    (!units.is_empty()).then(|| Step::Ask(manager.request(&[verb, units].concat())))
}

/// How all units are that can be asked about, those of sources among them.
pub fn states(manager: &Manager) -> Result<Vec<(String, UnitState)>, SetupError> {
    let sources = manager.sources()?.into_iter().map(|source| of_source(&source));
    let names: Vec<_> = NAMED.map(str::to_owned).into_iter().chain(sources).collect();
    let shown = manager.show(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(names.into_iter().zip(shown).collect())
}

/// How all of our units are.
struct States(Vec<(String, UnitState)>);

impl States {
    fn ask(manager: &Manager) -> Result<States, SetupError> {
        states(manager).map(States)
    }

    fn are(&self, name: &str, what: fn(&UnitState) -> bool) -> bool {
        self.0.iter().any(|(known, state)| known == name && what(state))
    }

    fn get(&self, name: &str) -> UnitState {
        self.0.iter().find(|(known, _)| known == name).map(|(_, state)| state.clone()).unwrap_or_default()
    }

    fn any(&self, what: fn(&UnitState) -> bool) -> bool {
        self.0.iter().any(|(_, state)| what(state))
    }

    fn those(&self, what: fn(&UnitState) -> bool) -> Vec<&str> {
        self.0.iter().filter(|(_, state)| what(state)).map(|(name, _)| &**name).collect()
    }
}

/// The units as this program would have them beside those that are there.
pub fn differences(manager: &Manager, program: &Path, directories: &Directories) -> Result<Vec<Change>, SetupError> {
    let setting = setting(manager, program, directories);
    let packaged = is_packaged(&setting)?;
    let mut changes = Vec::new();
    for unit in UNITS {
        let path = manager.unit_directory.join(unit.name);
        changes.extend(if packaged {
            files::removal(&path)?
        } else {
            files::difference(&files::Wanted { path, text: unit.render_for_user(&setting)? })?
        });
    }
    Ok(changes)
}

/// One of the directories.
type Which = fn(&Directories) -> &PathBuf;

/// How the units have to differ from those that are shipped: these have the places of somebody who has set nothing, and
/// a service chooses what its manager's variables say.
#[must_use]
pub fn setting(manager: &Manager, program: &Path, wanted: &Directories) -> Setting {
    // A manager that names no home leaves everything to be said.
    let (chosen, shipped) = (manager.directories().ok(), manager.usual_directories().ok());
    let differs = |from: &Option<Directories>, path: Which| from.as_ref().is_none_or(|from| path(from) != path(wanted));
    let (runtime, state): (Which, Which) = (|d| &d.runtime, |d| &d.state);
    let which = [differs(&chosen, runtime), differs(&chosen, state), differs(&chosen, |d| &d.config)];
    let variables = wanted.variables().into_iter().zip(which).filter(|(_, differs)| *differs);
    Setting {
        program: Some(program.to_owned()),
        runtime: differs(&shipped, runtime).then(|| wanted.runtime.clone()),
        state: differs(&shipped, state).then(|| wanted.state.clone()),
        variables: variables.map(|((name, path), _)| (name, path.to_owned())).collect(),
    }
}

/// Whether a package has installed units that are what we would write, so that ours would only hide them.
fn is_packaged(setting: &Setting) -> Result<bool, SetupError> {
    for unit in UNITS {
        let text = unit.render(setting)?;
        if fs::read_to_string(Path::new(PACKAGED).join(unit.name)).is_ok_and(|packaged| packaged == text) {
            continue;
        }
        return Ok(false);
    }
    Ok(true)
}
