//! The user manager of this session: whether there is one, where it reads units, what it gives a service, and how the
//! units are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::units::{of_source, source_of};
use crate::config::directories::{BadDirectory, Directories};
use crate::setup::SetupError;
use crate::setup::request::{Refused, Request};
use crate::sys::manager::{has_user_manager, runs};

/// The manager, which answers.
#[derive(Clone, Debug)]
pub struct Manager {
    session: PathBuf,
    /// What it gives every service.
    environment: BTreeMap<String, String>,
    /// Where it reads the units that its user has written.
    pub unit_directory: PathBuf,
    /// Its version, as it says it.
    pub version: String,
}

/// How a unit is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// Its properties, as `systemctl show` has them.
    properties: BTreeMap<String, String>,
}

impl UnitState {
    /// One of the properties that are asked for.
    #[must_use]
    pub fn get(&self, property: &str) -> &str {
        self.properties.get(property).map_or("", String::as_str)
    }

    /// Whether it is started with the session.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.get("UnitFileState") == "enabled"
    }

    /// Whether it runs, or listens.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "reloading" | "activating")
    }

    /// Since when its process runs, or has run.
    #[must_use]
    pub fn started(&self) -> Option<SystemTime> {
        let time = jiff::fmt::strtime::parse("%a %F %T%.f UTC", self.get("ExecMainStartTimestamp")).ok()?;
        let time = jiff::tz::TimeZone::UTC.to_timestamp(time.to_datetime().ok()?).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_micros(time.as_microsecond().try_into().ok()?))
    }

    /// Whether it has ended as it should not and waits to be started again.
    #[must_use]
    pub fn is_to_be_restarted(&self) -> bool {
        self.get("SubState").starts_with("auto-restart")
    }
}

/// What is asked for.
const PROPERTIES: &str = "--property=Id,LoadState,UnitFileState,ActiveState,SubState,Result,FragmentPath,\
     NeedDaemonReload,MainPID,StatusText,ExecMainStartTimestamp";
/// How times are told: to the microsecond, and not in the words of a place.
const TIMES: &str = "--timestamp=us+utc";

impl Manager {
    /// The manager of this session.
    pub fn find() -> Result<Manager, SetupError> {
        let session = Directories::session().filter(|session| has_user_manager(session)).ok_or_else(no_manager)?;
        let ask = |arguments: &[&str]| text(&systemctl(&session, arguments));
        let environment = variables(&ask(&["show-environment"])?);
        let searched = ask(&["show", "--property=UnitPath", "--value"])?;
        let version = ask(&["show", "--property=Version", "--value"])?.trim().to_owned();
        let candidates = Directories::unit_directories(&|name| environment.get(name).map(Into::into));
        let found = candidates.iter().find(|path| searched.split_whitespace().any(|entry| Path::new(entry) == **path));
        // A directory whose name has a space is not to be told from two.
        let found = found.or_else(|| candidates.iter().find(|path| searched.contains(&*path.to_string_lossy())));
        let Some(unit_directory) = found.cloned() else {
            return Err(SetupError::Elsewhere { looked: candidates, searched: searched.trim().to_owned() });
        };
        Ok(Manager { session, environment, unit_directory, version })
    }

    /// The session's runtime directory.
    #[must_use]
    pub fn session(&self) -> &Path {
        &self.session
    }

    /// Something that it is asked to do.
    #[must_use]
    pub fn request(&self, arguments: &[&str]) -> Request {
        systemctl(&self.session, arguments)
    }

    /// Another tool that talks to it.
    #[must_use]
    pub fn tool(&self, program: &'static str, arguments: &[&str]) -> Request {
        Request::new(program, arguments.iter().copied()).with("XDG_RUNTIME_DIR", self.session.clone())
    }

    /// How units are, in the order in which they are asked for.
    pub fn show(&self, units: &[&str]) -> Result<Vec<UnitState>, Refused> {
        let said = text(&self.request(&[&["show", TIMES, PROPERTIES, "--"], units].concat()))?;
        let mut known: BTreeMap<String, UnitState> = said
            .split("\n\n")
            .map(|block| UnitState { properties: variables(block) })
            .map(|state| (state.get("Id").to_owned(), state))
            .collect();
        Ok(units.iter().map(|name| known.remove(*name).unwrap_or_default()).collect())
    }

    /// The sources that start with the session, run, or have failed.
    pub fn sources(&self) -> Result<BTreeSet<String>, Refused> {
        let wanted = self.request(&["show", "--property=Wants", "--value", "--", "default.target"]);
        let loaded = of_source("*");
        let loaded = self.request(&["list-units", "--all", "--plain", "--no-legend", "--", &loaded]);
        let said = text(&wanted)? + "\n" + &text(&loaded)?;
        Ok(said.split_whitespace().filter_map(source_of).map(str::to_owned).collect())
    }

    /// The program that a service runs, if it is known.
    pub fn program_of(&self, unit: &str) -> Result<Option<PathBuf>, Refused> {
        let said = text(&self.request(&["show", "--property=ExecStart", "--value", "--", unit]))?;
        let path = said.split_once("path=").and_then(|(_, rest)| Some(rest.split_once(" ; ")?.0));
        // A shell stands there for a program that systemd cannot run itself.
        Ok(path.filter(|path| *path != "/bin/sh").map(PathBuf::from))
    }

    /// Whether a service still runs the program that was there before the one that its unit names, or before `program`
    /// where the unit's is not known.
    pub fn is_outdated(&self, unit: &str, state: &UnitState, program: &Path) -> Result<bool, Refused> {
        if !state.is_active() || !unit.ends_with(".service") {
            return Ok(false);
        }
        let named = self.program_of(unit)?;
        Ok(runs(state.get("MainPID"), named.as_deref().unwrap_or(program)) == Some(false))
    }

    /// The directories that a service chooses when nobody tells it any.
    pub fn directories(&self) -> Result<Directories, BadDirectory> {
        Directories::from_variables(&|name| match name {
            // The manager itself has it from its own start, and so has every service.
            "XDG_RUNTIME_DIR" => Some(self.session.clone().into()),
            _ => self.environment.get(name).map(Into::into),
        })
    }

    /// The directories of a service whose manager has no such variables.
    pub fn usual_directories(&self) -> Result<Directories, BadDirectory> {
        Directories::from_variables(&|name| match name {
            "XDG_RUNTIME_DIR" => Some(self.session.clone().into()),
            "HOME" => self.environment.get(name).map(Into::into),
            _ => None,
        })
    }

    /// Where the credentials of a running service are.
    #[must_use]
    pub fn credentials_of(&self, unit: &str) -> PathBuf {
        self.session.join("credentials").join(unit)
    }
}

fn systemctl(session: &Path, arguments: &[&str]) -> Request {
    let all = ["--user"].iter().chain(arguments).copied();
    Request::new("systemctl", all).with("XDG_RUNTIME_DIR", session.to_owned())
}

fn text(request: &Request) -> Result<String, Refused> {
    request.run().map(|said| String::from_utf8_lossy(&said).into_owned())
}

fn no_manager() -> SetupError {
    SetupError::NoManager {
        problem: "no systemd user manager serves this session".to_owned(),
        remedy: "Where systemd runs, log in rather than `su` (or set XDG_RUNTIME_DIR to /run/user/UID), or have \
                 `loginctl enable-linger` keep the manager without a login."
            .to_owned(),
    }
}

/// Lines of `NAME=VALUE`. A value with special characters is quoted as a shell would (`$'…'`).
fn variables(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), unquoted(value)));
    text.lines().filter_map(pair).collect()
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix("$'").and_then(|value| value.strip_suffix('\'')) else {
        return value.to_owned();
    };
    let mut plain = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '\\' { characters.next() } else { None }) {
            (_, Some('n')) => plain.push('\n'),
            (_, Some('t')) => plain.push('\t'),
            (_, Some(escaped)) => plain.push(escaped),
            (c, None) => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_read_to_the_microsecond() {
        let state = |time: &str| UnitState { properties: variables(&format!("ExecMainStartTimestamp={time}")) };
        let started = state("Fri 2026-11-27 09:33:35.000123 UTC").started().unwrap();
        let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!((since.as_secs(), since.subsec_micros()), (1_795_772_015, 123));
        assert_eq!((state("").started(), state("n/a").started()), (None, None));
    }

    #[test]
    fn the_environment_of_the_manager_is_read_as_it_is_quoted() {
        let said = "HOME=/home/dev\nXDG_STATE_HOME=$'/my \\'state\\' \\\\ \\n'\nEMPTY=\nA=b=c\n";
        let read = variables(said);
        assert_eq!(read["HOME"], "/home/dev");
        assert_eq!(read["XDG_STATE_HOME"], "/my 'state' \\ \n");
        assert_eq!((&*read["EMPTY"], &*read["A"]), ("", "b=c"));
    }
}
