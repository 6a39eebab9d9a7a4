//! The unit files, as they are shipped, and as this program writes them: with its own path, and with the directories of
//! whoever installs where the service would choose others.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::text;
use crate::setup::SetupError;
use crate::setup::files::MARK;

/// A unit, or a drop-in of one, as it is shipped.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// Its file, below a directory of units.
    pub name: &'static str,
    shipped: &'static str,
}

macro_rules! units {
    ($($name:literal),*) => {
        [$(Unit { name: $name, shipped: include_str!(concat!("../../../units/", $name)) }),*]
    };
}

/// All of them.
pub const UNITS: [Unit; 10] = units![
    "waitbus.socket",
    "waitbus-doorbell.socket",
    "waitbus.service",
    "waitbus-webhook.socket",
    "waitbus-webhook.service",
    "waitbus-source@.service",
    "waitbus-source@alertmanager.service.d/10-waitbus.conf",
    "waitbus-source@docker.service.d/10-waitbus.conf",
    "waitbus-source@fs.service.d/10-waitbus.conf",
    "waitbus-source@github.service.d/10-waitbus.conf"
];
/// Those that systemd can be asked about; of the template there are as many as there are sources.
pub const NAMED: [&str; 5] =
    ["waitbus.socket", "waitbus-doorbell.socket", "waitbus.service", WEBHOOK_SOCKET, WEBHOOK_SERVICE];
/// The sockets that every installation enables.
pub const SOCKETS: [&str; 2] = ["waitbus.socket", "waitbus-doorbell.socket"];
/// The socket that is enabled when it is asked for.
pub const WEBHOOK_SOCKET: &str = "waitbus-webhook.socket";
/// The services, which nobody enables.
pub const SERVICES: [&str; 2] = ["waitbus.service", WEBHOOK_SERVICE];
/// The only process that is given the secret.
pub const WEBHOOK_SERVICE: &str = "waitbus-webhook.service";

/// What the unit of a source is called before its name.
const SOURCE_PREFIX: &str = "waitbus-source@";
/// What follows the name.
const SOURCE_SUFFIX: &str = ".service";

/// The unit of a source. All that a name of a source may have stays as it is in the name of a unit.
#[must_use]
pub fn of_source(name: &str) -> String {
    format!("{SOURCE_PREFIX}{name}{SOURCE_SUFFIX}")
}

/// The source whose unit this is.
#[must_use]
pub fn source_of(unit: &str) -> Option<&str> {
    unit.strip_prefix(SOURCE_PREFIX)?.strip_suffix(SOURCE_SUFFIX).filter(|name| !name.is_empty())
}

/// The program in the shipped units, which is where packages put it.
const SHIPPED_PROGRAM: &str = "/usr/bin/waitbus";
/// The directory of the sockets in the shipped units.
const SHIPPED_RUNTIME: &str = "%t/waitbus";
/// The directory of the log in the shipped units.
const SHIPPED_STATE: &str = "%h/.local/state/waitbus";

/// What differs from the shipped units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The program, where it is not that of a package.
    pub program: Option<PathBuf>,
    /// Another directory for the sockets.
    pub runtime: Option<PathBuf>,
    /// Another directory for the log.
    pub state: Option<PathBuf>,
    /// Variables that the services need to choose the directories of whoever installs.
    pub variables: Vec<(&'static str, PathBuf)>,
}

impl Unit {
    /// The text of the file.
    pub fn render(&self, setting: &Setting) -> Result<String, SetupError> {
        let mut text = String::new();
        for line in self.shipped.lines() {
            text += &setting.apply(line)?;
            text.push('\n');
            // A drop-in adds to a unit that has them.
            if line == "[Service]" && self.unit() == self.name {
                for (name, path) in &setting.variables {
                    // Writing to a String cannot fail.
                    let _ = writeln!(text, "Environment={}", text::word(&format!("{name}={}", utf8(path)?)));
                }
            }
        }
        Ok(text)
    }

    /// The same with a head that says whose it is, as it is written into a user's directory.
    pub fn render_for_user(&self, setting: &Setting) -> Result<String, SetupError> {
        let head = format!("# {MARK} install`, which writes it anew: changes belong in a drop-in.\n");
        Ok(head + &format!("# systemctl --user edit {}\n\n{}", self.unit(), self.render(setting)?))
    }

    /// The unit that it is, or adds to.
    fn unit(&self) -> &'static str {
        self.name.split_once(".d/").map_or(self.name, |(unit, _)| unit)
    }

    /// Whether it says something of a unit.
    #[must_use]
    pub fn is_of(&self, unit: &str) -> bool {
        self.unit() == unit || (source_of(unit).is_some() && self.name == of_source(""))
    }
}

impl Setting {
    /// A line of a shipped unit, with what differs.
    fn apply(&self, line: &str) -> Result<String, SetupError> {
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            return Ok(line.to_owned());
        };
        let command = key.starts_with("Exec");
        if let Some(program) = &self.program
            && let Some(arguments) = value.strip_prefix(SHIPPED_PROGRAM).filter(|_| command)
        {
            return Ok(format!("{key}={}{arguments}", text::program(utf8(program)?)));
        }
        let mut places = Vec::new();
        for (shipped, place) in [(SHIPPED_RUNTIME, &self.runtime), (SHIPPED_STATE, &self.state)] {
            if let Some(place) = place {
                places.push((shipped, utf8(place)?));
            }
        }
        let replaced = |text: &str| places.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        if places.iter().all(|(shipped, _)| !value.contains(shipped)) {
            return Ok(line.to_owned());
        }
        match key {
            "ListenStream" => {
                let path = replaced(value);
                return text::rest(&path).map(|path| format!("{key}={path}")).ok_or_else(|| unwritable(&path));
            }
            "LoadCredential" => {
                let (name, path) = value.split_once(':').unwrap_or((value, ""));
                let path = replaced(path);
                let written = text::credential(&path).ok_or_else(|| unwritable(&path))?;
                return Ok(format!("{key}={name}:{written}"));
            }
            _ => {}
        }
        let written = |part: &str| match replaced(part) {
            same if same == part => same,
            other if command => text::argument(&other),
            other => text::word(&other),
        };
        Ok(format!("{key}={}", value.split(' ').map(written).collect::<Vec<_>>().join(" ")))
    }
}

fn utf8(path: &Path) -> Result<&str, SetupError> {
    path.to_str().ok_or_else(|| SetupError::Unwritable(path.to_owned()))
}

fn unwritable(path: &str) -> SetupError {
    SetupError::Unwritable(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_units_are_what_a_package_installs() {
        for unit in UNITS {
            assert_eq!(unit.render(&Setting::default()).unwrap(), unit.shipped, "{}", unit.name);
        }
    }

    #[test]
    fn the_unit_of_a_source_says_which_it_is_whatever_its_name() {
        for name in ["fs", "a.b", "a-b_c", "x.service", "0"] {
            assert_eq!(source_of(&of_source(name)), Some(name));
            let of_it: Vec<_> =
                UNITS.iter().filter(|unit| unit.is_of(&of_source(name))).map(|unit| unit.name).collect();
            assert_eq!(of_it.len(), if name == "fs" { 2 } else { 1 }, "{of_it:?}");
        }
        assert_eq!((source_of("waitbus-source@.service"), source_of("waitbus.service")), (None, None));
    }

    #[test]
    fn every_service_runs_this_program_and_has_the_directories_of_whoever_installs() {
        let setting = Setting {
            program: Some("/a b/100%/waitbus".into()),
            runtime: Some("/run/else where".into()),
            state: Some("/my$tate".into()),
            variables: vec![("WAITBUS_STATE_DIR", "/my$tate".into())],
        };
        let mut all = String::new();
        for unit in UNITS {
            let text = unit.render_for_user(&setting).unwrap();
            assert!(text.lines().next().unwrap().contains(MARK));
            for shipped in [SHIPPED_PROGRAM, SHIPPED_RUNTIME, SHIPPED_STATE] {
                let found = text.lines().find(|line| line.contains(shipped) && !line.starts_with('#'));
                assert_eq!(found, None, "{}", unit.name);
            }
            if SERVICES.contains(&unit.name) || unit.name == of_source("") {
                assert!(text.contains("\nExecStart=\"/a b/100%%/waitbus\" "), "{text}");
                assert!(text.contains("\n[Service]\nEnvironment=\"WAITBUS_STATE_DIR=/my$tate\"\n"), "{text}");
            }
            all += &text;
        }
        for line in [
            "ListenStream=/run/else where/broadcast.sock",
            "ExecStartPre=mkdir -p -m 0700 \"/my$$tate\" \"/my$$tate/credentials\" \"/run/else where\" \"/run/else where/secrets\" %t/credentials",
            "ReadWritePaths=\"-/my$tate\" \"/run/else where\"",
            "LoadCredential=github-token:/my$tate/credentials/github-token",
            "LoadCredential=github-webhook-secret:/my$tate/credentials/github-webhook-secret",
        ] {
            assert!(all.lines().any(|written| written == line), "{line}\n{all}");
        }
    }
}
