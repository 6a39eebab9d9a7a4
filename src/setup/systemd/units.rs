//! The unit files, as they are shipped, and as this program writes them: with its own path, and with the directories of
//! whoever installs where the service would choose others.

use std::path::{Path, PathBuf};

use super::text;
use crate::setup::SetupError;
use crate::setup::files::MARK;

/// A unit as it is shipped.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// Its file name.
    pub name: &'static str,
    shipped: &'static str,
}

macro_rules! units {
    ($($name:literal),*) => {
        [$(Unit { name: $name, shipped: include_str!(concat!("../../../units/", $name)) }),*]
    };
}

/// All of them.
pub const UNITS: [Unit; 5] = units![
    "waitbus.socket",
    "waitbus-doorbell.socket",
    "waitbus.service",
    "waitbus-webhook.socket",
    "waitbus-webhook.service"
];
/// The sockets that every installation enables.
pub const SOCKETS: [&str; 2] = ["waitbus.socket", "waitbus-doorbell.socket"];
/// The socket that is enabled when it is asked for.
pub const WEBHOOK_SOCKET: &str = "waitbus-webhook.socket";
/// The services, which nobody enables.
pub const SERVICES: [&str; 2] = ["waitbus.service", WEBHOOK_SERVICE];
/// The only process that is given the secret.
pub const WEBHOOK_SERVICE: &str = "waitbus-webhook.service";

/// The program in the shipped units, which is where packages put it.
const SHIPPED_PROGRAM: &str = "/usr/bin/waitbus";
/// The directory of the sockets in the shipped units.
const SHIPPED_RUNTIME: &str = "%t/waitbus";

/// What differs from the shipped units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The program, where it is not that of a package.
    pub program: Option<PathBuf>,
    /// Another directory for the sockets.
    pub runtime: Option<PathBuf>,
    /// Variables that the services need to choose the directories of whoever installs.
    pub variables: Vec<(&'static str, PathBuf)>,
}

impl Unit {
    /// The text of the file.
    pub fn render(&self, setting: &Setting) -> Result<String, SetupError> {
        let mut lines = Vec::new();
        for line in self.shipped.lines() {
            let mut line = line.to_owned();
            if let Some(program) = &setting.program
                && let Some((key, command)) = line.split_once('=').filter(|(key, _)| key.starts_with("Exec"))
                && let Some(arguments) = command.strip_prefix(SHIPPED_PROGRAM)
            {
                line = format!("{key}={}{arguments}", text::word(utf8(program)?));
            }
            if let Some(runtime) = &setting.runtime {
                let runtime = text::rest(utf8(runtime)?).ok_or_else(|| SetupError::NotText(runtime.clone()))?;
                line = line.replace(SHIPPED_RUNTIME, &runtime);
            }
            let of_a_service = line == "[Service]";
            lines.push(line);
            if of_a_service {
                for (name, path) in &setting.variables {
                    lines.push(format!("Environment={}", text::word(&format!("{name}={}", utf8(path)?))));
                }
            }
        }
        Ok(lines.join("\n") + "\n")
    }

    /// The same with a head that says whose it is, as it is written into a user's directory.
    pub fn render_for_user(&self, setting: &Setting) -> Result<String, SetupError> {
        let head = format!("# {MARK} install`, which writes it anew: changes belong in a drop-in.\n");
        Ok(head + &format!("# systemctl --user edit {}\n\n{}", self.name, self.render(setting)?))
    }
}

fn utf8(path: &Path) -> Result<&str, SetupError> {
    path.to_str().ok_or_else(|| SetupError::NotText(path.to_owned()))
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
    fn every_service_runs_this_program_and_gets_the_directories() {
        let setting = Setting {
            program: Some("/a b/100%/waitbus".into()),
            runtime: Some("/run/elsewhere".into()),
            variables: vec![("WAITBUS_STATE_DIR", "/my state".into())],
        };
        for unit in UNITS {
            let text = unit.render_for_user(&setting).unwrap();
            assert!(!text.contains(SHIPPED_PROGRAM) && !text.contains(SHIPPED_RUNTIME), "{text}");
            assert!(text.lines().next().unwrap().contains(MARK));
            if SERVICES.contains(&unit.name) {
                assert!(text.contains("\nExecStart=\"/a b/100%%/waitbus\" "), "{text}");
                assert!(text.contains("\n[Service]\nEnvironment=\"WAITBUS_STATE_DIR=/my state\"\n"), "{text}");
            }
        }
    }
}
