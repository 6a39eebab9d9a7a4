//! Every source that there is or could be here: what was set up, who runs it, how it is, and the one step that is missing.
//! Looks, and starts nothing. It is right without a hub, and without a service manager.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::known::{PYTEST, is_told, lines};
use crate::client::status::HubState;
use crate::config::directories::Directories;
use crate::config::secret::{ALERTMANAGER_WEBHOOK, GITHUB_TOKEN, GITHUB_WEBHOOK, Known};
use crate::config::settings::Settings;
use crate::model::source::{SourceState, SourceStatus};
use crate::model::vocabulary::Kind as NameKind;
use crate::setup::launchd;
use crate::setup::secret::Keeper;
use crate::setup::systemd;
use crate::setup::systemd::manager::Manager;
use crate::setup::systemd::units::{WEBHOOK_SOCKET, of_source, source_of};
use crate::source::Setup;
use crate::store::{LogPaths, Reader};
use crate::sys::manager::{KIND, Kind};

/// How the events of a source get here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cmd) enum By {
    /// `waitbus source NAME` fetches them.
    Waitbus,
    /// A program of the user's prints them, and is kept running.
    Command,
    /// They are sent to the webhook listener.
    Webhook,
    /// A plugin of another program sends them.
    Plugin,
    /// A program announces itself and sends them.
    Itself,
}

impl By {
    /// The word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            By::Waitbus => "waitbus",
            By::Command => "command",
            By::Webhook => "webhook",
            By::Plugin => "plugin",
            By::Itself => "itself",
        }
    }
}

/// What a service manager has of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cmd) struct Service {
    /// Whether it starts with each session.
    pub(in crate::cmd) enabled: bool,
    /// Whether it runs, or listens.
    pub(in crate::cmd) active: bool,
    /// Whether it has ended as it should not.
    pub(in crate::cmd) failed: bool,
    /// Since when its process runs.
    since: Option<SystemTime>,
    /// What it said last.
    pub(in crate::cmd) said: String,
}

/// A source, and all that is known of it.
#[derive(Clone, Debug)]
pub(in crate::cmd) struct Row {
    /// Its name, which its events carry.
    pub(in crate::cmd) source: String,
    pub(in crate::cmd) by: By,
    /// Whether it has a section in `waitbus.toml`.
    pub(in crate::cmd) section: bool,
    /// Whether that says what the source cannot do without.
    told_enough: bool,
    /// What is wrong with it.
    pub(in crate::cmd) mistake: Option<String>,
    /// None where there is no manager, or where it has nothing of it.
    pub(in crate::cmd) service: Option<Service>,
    /// The secret that it uses, and whether that is set.
    pub(super) secret: Option<(Known, bool)>,
    /// What the hub knows of it.
    told: Option<SourceStatus>,
    /// Whether the log has, or has had, an event of it; none where there is no log to ask.
    pub(super) seen: Option<bool>,
    manager: bool,
}

/// What can be looked at.
pub(in crate::cmd) struct Here<'a> {
    pub(in crate::cmd) directories: &'a Directories,
    pub(in crate::cmd) hub: &'a HubState,
    pub(in crate::cmd) settings: &'a Settings,
}

/// All of them, by their names.
pub(in crate::cmd) fn rows(here: &Here<'_>) -> Vec<Row> {
    let manager = Manager::find().ok();
    let services = services(manager.as_ref());
    let keeper = Keeper::open(here.directories).ok();
    let is_set =
        |known| keeper.as_ref().is_some_and(|keeper| keeper.stored(known).is_ok_and(|stored| stored.is_some()));
    let told: BTreeMap<_, _> = match here.hub {
        HubState::Running(status) => status.sources.iter().map(|source| (&*source.source, source)).collect(),
        HubState::NotRunning | HubState::Silent { .. } => BTreeMap::new(),
    };
    let seen = seen(here.directories);
    let row = |source: &str, by, service: Option<Service>, secret: Option<Known>| {
        let section = here.settings.sources.get(source).filter(|_| matches!(by, By::Waitbus | By::Command));
        Row {
            source: source.to_owned(),
            by,
            section: section.is_some(),
            told_enough: is_told(source, section),
            mistake: section.and_then(|section| Setup::of(section).err()).map(|error| error.to_string()),
            service,
            secret: secret.map(|known| (known, is_set(known))),
            told: told.get(source).filter(|_| !matches!(by, By::Webhook)).map(|told| (*told).clone()),
            seen: seen.as_ref().map(|seen| seen.contains(source)),
            manager: manager.is_some() || KIND == Kind::Launchd,
        }
    };
    let sections = here.settings.sources.keys().map(String::as_str);
    let ours: BTreeSet<&str> =
        Setup::BUILT_IN.into_iter().chain(sections).chain(services.keys().filter_map(|unit| source_of(unit))).collect();
    let mut rows = Vec::new();
    for name in &ours {
        let by = if Setup::BUILT_IN.contains(name) { By::Waitbus } else { By::Command };
        let secret = (*name == "github").then_some(GITHUB_TOKEN);
        rows.push(row(name, by, services.get(&of_source(name)).cloned(), secret));
    }
    for known in [GITHUB_WEBHOOK, ALERTMANAGER_WEBHOOK] {
        let source = if known == GITHUB_WEBHOOK { "github" } else { "alertmanager" };
        rows.push(row(source, By::Webhook, services.get(WEBHOOK_SOCKET).cloned(), Some(known)));
    }
    rows.push(row("pytest", By::Plugin, None, None));
    let others = told.keys().filter(|name| !ours.contains(**name) && **name != "pytest");
    rows.extend(others.map(|name| row(name, By::Itself, None, None)));
    rows.sort_by(|one, other| one.source.cmp(&other.source));
    rows
}

/// What the service manager has of sources and of the listener, by its units.
fn services(manager: Option<&Manager>) -> BTreeMap<String, Service> {
    if KIND == Kind::Launchd {
        let service = |active| Service { enabled: true, active, ..Service::default() };
        return launchd::enabled_sources()
            .into_iter()
            .map(|(name, known)| (of_source(&name), service(known)))
            .collect();
    }
    let states = manager.map(systemd::states).and_then(Result::ok).unwrap_or_default();
    let of_interest = states.into_iter().filter(|(unit, _)| unit == WEBHOOK_SOCKET || source_of(unit).is_some());
    let service = |(unit, state): (String, systemd::manager::UnitState)| {
        let failed = state.get("ActiveState") == "failed" || state.is_to_be_restarted();
        let active = state.is_active() && !failed;
        let since = state.started().filter(|_| active);
        (unit, Service { enabled: state.is_enabled(), active, failed, since, said: state.get("StatusText").to_owned() })
    };
    of_interest.map(service).collect()
}

/// Whether a service manager has a source.
pub(super) fn is_managed(name: &str) -> bool {
    services(Manager::find().ok().as_ref()).contains_key(&of_source(name))
}

/// The sources of which the log has had an event, as far as that can be told in passing.
fn seen(directories: &Directories) -> Option<BTreeSet<String>> {
    let reader = Reader::open(&LogPaths::new(&directories.state)).ok()?;
    let mut known = reader.names().ok()?;
    let _ = reader.learn_at_once(&mut known);
    let names = known.vocabulary.names().filter(|(kind, _)| *kind == NameKind::Source);
    Some(names.map(|(_, name)| name.to_owned()).collect())
}

impl Row {
    /// How it is, in a word.
    pub(in crate::cmd) fn state(&self) -> String {
        let told =
            self.told.as_ref().and_then(|told| serde_json::to_value(told.state).ok()?.as_str().map(str::to_owned));
        let set = self.secret.is_some_and(|(_, set)| set);
        match (self.by, &self.service) {
            _ if self.mistake.is_some() => "mistake".to_owned(),
            (By::Webhook, Some(service)) if service.active && set => "listening".to_owned(),
            (By::Webhook, _) => "off".to_owned(),
            // It may have been heard of last before it was started again.
            (_, Some(service)) if service.failed => "failed".to_owned(),
            _ if told.is_some() => told.unwrap_or_default(),
            (_, Some(service)) if service.active => "running".to_owned(),
            (By::Plugin, _) if self.seen == Some(true) => "seen".to_owned(),
            _ => "off".to_owned(),
        }
    }

    /// Why it sees nothing, or has failed.
    pub(in crate::cmd) fn reason(&self) -> Option<&str> {
        let told = self.told.as_ref().and_then(|told| told.detail.get("reason")?.as_str());
        let failed = self.service.as_ref().filter(|service| service.failed && !service.said.is_empty());
        self.mistake.as_deref().or(failed.map(|service| &*service.said)).or(told)
    }

    /// Since when its process runs, where a manager runs it.
    pub(super) fn since(&self) -> Option<SystemTime> {
        self.service.as_ref().and_then(|service| service.since)
    }

    /// Whether somebody speaks for it now.
    pub(in crate::cmd) fn is_there(&self) -> bool {
        let told = self.told.as_ref();
        let gone = told.is_none_or(|told| matches!(told.state, SourceState::Gone | SourceState::Dead));
        !gone || self.service.as_ref().is_some_and(|service| service.active)
    }

    /// The one thing to do for it to be there, if it is not: a command, or lines and a command.
    pub(in crate::cmd) fn next(&self) -> Option<String> {
        let name = &self.source;
        let enable = format!("waitbus source enable {name}");
        match self.by {
            By::Webhook => self.next_for_webhook(),
            By::Plugin if self.seen == Some(true) || self.is_there() => None,
            By::Plugin => Some(PYTEST.to_owned()),
            By::Itself => {
                let told = self.told.as_ref().filter(|_| !self.is_there())?;
                told.start().map(str::to_owned)
            }
            By::Waitbus | By::Command => match &self.service {
                _ if self.mistake.is_some() => Some("correct that line of waitbus.toml".to_owned()),
                Some(service) if service.failed => Some(match KIND {
                    Kind::Systemd => format!("journalctl --user -u {}; then {enable}", of_source(name)),
                    Kind::Launchd => enable,
                }),
                _ if self.is_there() => None,
                _ if !self.told_enough => {
                    let lines = lines(name).replace('\n', " with ");
                    Some(format!("add to waitbus.toml: {lines}; then {}", self.runs(enable)))
                }
                _ => Some(self.runs(enable)),
            },
        }
    }

    /// Where nobody can be told to run it, it runs in the foreground.
    fn runs(&self, enable: String) -> String {
        if self.manager { enable } else { format!("waitbus source {}", self.source) }
    }

    fn next_for_webhook(&self) -> Option<String> {
        let (known, set) = self.secret?;
        let secret = format!("waitbus secret set {}", known.name);
        let listens = self.service.as_ref().is_some_and(|service| service.active);
        let listen = if self.manager { "waitbus install --webhook" } else { "waitbus serve" };
        match (set, listens) {
            (true, true) => None,
            (false, true) => Some(secret),
            (true, false) => Some(listen.to_owned()),
            (false, false) => Some(format!("{secret}; then {listen}")),
        }
    }
}
