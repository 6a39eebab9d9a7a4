//! Reading the configuration again, when the manager or a person asks for it (SIGHUP).
//!
//! What can change while a service runs is how much it logs; how long it stays when nobody uses it holds from its next
//! start. A configuration that makes no sense changes nothing and is named in the log and in the status.

use tracing::{error, info};

use crate::config::directories::Directories;
use crate::config::settings::Settings;
use crate::sys::logging::{self, Level};
use crate::sys::manager;

/// What to read again.
#[derive(Debug)]
pub struct Reload {
    directories: Directories,
}

impl Reload {
    /// The configuration of this user.
    #[must_use]
    pub fn of(directories: &Directories) -> Reload {
        Reload { directories: directories.clone() }
    }

    /// Reads it and applies what can change.
    pub fn now(&self) {
        manager::reloading();
        match Settings::load(&self.directories) {
            Ok(settings) => {
                let level = settings.log.unwrap_or(Level::INFO);
                logging::set_level(level);
                info!(log = %level, "the configuration has been read again");
                manager::ready("Ready");
            }
            Err(problem) => {
                error!(%problem, "the configuration stays as it was");
                manager::ready(&format!("Ready; the configuration stays as it was: {problem}"));
            }
        }
    }
}
