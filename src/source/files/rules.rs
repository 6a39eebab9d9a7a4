//! What is ignored: by the settings, by what every tree has and nobody waits for, and by the ignore files of the tree, the
//! deepest first. Whoever asks goes down a tree, so what is below something ignored is never asked about.

use std::ffi::OsStr;
use std::path::Path;
use std::rc::Rc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::disk::Disk;

/// Files that say what is ignored in their directory and below it; a later one wins over an earlier.
const IGNORE_FILES: [&str; 2] = [".gitignore", ".ignore"];
/// What git ignores in one working tree, without a file in it.
const EXCLUDE: &str = ".git/info/exclude";
/// What version control keeps for itself.
const REPOSITORIES: [&str; 3] = [".git", ".hg", ".jj"];

/// Whether a file of this name says what is ignored.
pub(super) fn is_ignore_file(name: &OsStr) -> bool {
    IGNORE_FILES.iter().any(|file| name == OsStr::new(file))
}

/// What is ignored in one directory.
#[derive(Clone, Debug)]
pub(super) struct Rules(Option<Rc<Layer>>);

/// The rules of one directory, and those of the next one above that has some.
#[derive(Debug)]
struct Layer {
    matcher: Gitignore,
    above: Rules,
}

impl Rules {
    /// None: everything is watched.
    pub(super) fn none() -> Rules {
        Rules(None)
    }

    /// The rules of a directory with these above it.
    pub(super) fn of(disk: &impl Disk, directory: &Path, above: &Rules) -> Rules {
        let mut text = disk.text(&directory.join(EXCLUDE));
        for file in IGNORE_FILES {
            text += "\n";
            text += &disk.text(&directory.join(file));
        }
        match matcher(directory, text.lines()) {
            Some(matcher) => Rules(Some(Rc::new(Layer { matcher, above: above.clone() }))),
            None => above.clone(),
        }
    }

    fn decision(&self, path: &Path, is_directory: bool) -> Option<bool> {
        let mut layer = self.0.as_deref();
        while let Some(Layer { matcher, above }) = layer {
            match matcher.matched(path, is_directory) {
                Match::None => layer = above.0.as_deref(),
                Match::Ignore(_) => return Some(true),
                Match::Whitelist(_) => return Some(false),
            }
        }
        None
    }
}

/// What was set about ignoring.
#[derive(Clone, Debug)]
pub(super) struct Ignoring {
    /// Patterns that win over every ignore file.
    pub(super) first: Gitignore,
    /// Whether ignore files and repositories count.
    pub(super) as_trees_say: bool,
}

impl Ignoring {
    /// Whether an entry of a directory with these rules is ignored.
    pub(super) fn covers(&self, rules: &Rules, path: &Path, is_directory: bool) -> bool {
        match self.first.matched(path, is_directory) {
            Match::Ignore(_) => return true,
            Match::Whitelist(_) => return false,
            Match::None => {}
        }
        self.as_trees_say
            && (path.file_name().is_some_and(|name| REPOSITORIES.iter().any(|known| name == OsStr::new(known)))
                || rules.decision(path, is_directory).unwrap_or(false))
    }
}

/// A matcher of lines as in a `.gitignore` of this directory; none if they ignore nothing. A line that makes no sense
/// ignores nothing, as with git.
pub(super) fn matcher<'l>(directory: &Path, lines: impl Iterator<Item = &'l str>) -> Option<Gitignore> {
    let mut builder = GitignoreBuilder::new(directory);
    for line in lines {
        let _ = builder.add_line(None, line);
    }
    builder.build().ok().filter(|matcher| !matcher.is_empty())
}
