//! The secrets of the senders. One that is found is kept; while there is none, each delivery looks for it, so that setting
//! it needs no restart.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::config::directories::Directories;
use crate::config::secret::{self, ALERTMANAGER_WEBHOOK, BadSecret, GITHUB_WEBHOOK, Known, Secret};

/// The secrets that the listener is given.
pub(super) const SENDERS: [Known; 2] = [GITHUB_WEBHOOK, ALERTMANAGER_WEBHOOK];

#[derive(Debug)]
pub(super) struct Keyring {
    directories: Directories,
    found: Mutex<BTreeMap<&'static str, Secret>>,
}

impl Keyring {
    pub(super) fn of(directories: &Directories) -> Keyring {
        Keyring { directories: directories.clone(), found: Mutex::default() }
    }

    /// A secret, if it is set.
    pub(super) fn get(&self, known: Known) -> Result<Option<Secret>, BadSecret> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(secret) = found.get(known.name) {
            return Ok(Some(secret.clone()));
        }
        let secret = secret::load(known, &self.directories)?;
        if let Some(secret) = &secret {
            found.insert(known.name, secret.clone());
        }
        Ok(secret)
    }

    /// What keeps every sender from being believed; nothing if one of them can be: whoever has GitHub alone, or
    /// Alertmanager alone, lacks nothing. A secret that is there and cannot be used is always named.
    pub(super) fn problems(&self) -> Vec<String> {
        let looked: Vec<_> = SENDERS.into_iter().map(|known| (known, self.get(known))).collect();
        let has_one = looked.iter().any(|(_, secret)| matches!(secret, Ok(Some(_))));
        let problem = |(known, secret): (Known, Result<Option<Secret>, BadSecret>)| match secret {
            Ok(None) if !has_one => Some(known.remedy()),
            Ok(_) => None,
            Err(bad) => Some(bad.to_string()),
        };
        looked.into_iter().filter_map(problem).collect()
    }
}
