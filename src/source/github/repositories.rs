//! Which repositories are watched: those that are named, and those that the checkouts of some directories come from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::client::Forge;
use crate::client::checkout::Checkout;
use crate::config::environment;
use crate::config::section::Section;
use crate::config::settings::BadSettings;
use crate::model::limits::{MAX_CHECKOUTS, MAX_REPO_BYTES, MAX_REPOSITORIES};

/// Owner and name.
pub(super) type Repository = (String, String);

/// What was asked for. Nothing at all means the checkout of the directory that the source is started in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    named: Vec<Repository>,
    /// Checkouts, and directories of checkouts.
    checkouts: Vec<PathBuf>,
}

impl Wanted {
    /// What the configuration says.
    pub(super) fn of(section: &Section) -> Result<Wanted, BadSettings> {
        let named = section.texts("repositories")?.into_iter().map(named);
        let named = named.collect::<Result<_, _>>().map_err(|problem| section.bad("repositories", problem))?;
        let directory = |text: &str| {
            environment::below_home(text).ok_or_else(|| {
                section.bad("checkouts", format!("{text:?} must be an absolute path, or begin with `~/`"))
            })
        };
        let checkouts = section.texts("checkouts")?.into_iter().map(directory).collect::<Result<_, _>>()?;
        Ok(Wanted { named, checkouts })
    }

    /// These and no others; the error is a sentence.
    pub(super) fn named(names: &[String]) -> Result<Wanted, String> {
        let named = names.iter().map(|name| named(name)).collect::<Result<_, _>>()?;
        Ok(Wanted { named, checkouts: Vec::new() })
    }

    /// The repositories, each once. This asks git about each checkout.
    pub(super) fn find(self, forge: &str) -> Result<Vec<Repository>, String> {
        let Wanted { named, mut checkouts } = self;
        if named.is_empty() && checkouts.is_empty() {
            checkouts.extend(environment::current_directory().ok());
        }
        let places = checkouts.iter().flat_map(|directory| in_directory(directory));
        let remotes = places.filter_map(|place| Checkout::of(&place)).flat_map(|checkout| checkout.remotes);
        let here = remotes.filter(|remote| remote.host == forge).map(|remote| (remote.owner, remote.repo));
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        for (owner, repo) in named.into_iter().chain(here) {
            if seen.insert(format!("{owner}/{repo}").to_ascii_lowercase()) {
                found.push((owner, repo));
            }
        }
        if found.is_empty() {
            return Err(format!(
                "no repository of {forge} is named, and no checkout leads to one: `waitbus source github OWNER/REPO`, or \
                 `repositories` or `checkouts` in [source.github]"
            ));
        }
        if found.len() > MAX_REPOSITORIES {
            warn!(found = found.len(), watched = MAX_REPOSITORIES, "too many repositories: the first ones are watched");
            found.truncate(MAX_REPOSITORIES);
        }
        Ok(found)
    }
}

/// A repository by its name or by an address.
fn named(text: &str) -> Result<Repository, String> {
    let is_name = |part: &str| {
        let plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        plain && (1..=MAX_REPO_BYTES).contains(&part.len()) && !matches!(part, "." | "..")
    };
    let short = text.split_once('/').map(|(owner, repo)| (owner.to_owned(), repo.to_owned()));
    let found = Forge::at(text).map(|forge| (forge.owner, forge.repo)).or(short);
    let good = found.filter(|(owner, repo)| is_name(owner) && is_name(repo));
    good.ok_or_else(|| format!("{text:?} is no repository: it looks like OWNER/REPO"))
}

/// The directory if it is a checkout, else the checkouts in it.
fn in_directory(directory: &Path) -> Vec<PathBuf> {
    let is_checkout = |path: &Path| path.join(".git").exists();
    if is_checkout(directory) {
        return vec![directory.to_owned()];
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().take(MAX_CHECKOUTS);
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| is_checkout(path)).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_named_in_any_usual_way() {
        for name in ["octo/hello", "https://github.com/octo/hello.git", "git@github.com:octo/hello"] {
            assert_eq!(named(name), Ok(("octo".to_owned(), "hello".to_owned())), "{name}");
        }
        for bad in ["octo", "octo/", "/hello", "octo/hello/x", "octo/..", "octo/a b", "octo/a?b", "octo/*", ""] {
            named(bad).unwrap_err();
        }
    }
}
