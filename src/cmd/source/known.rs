//! What a person has to write into `waitbus.toml` for a source, as lines to copy.

use crate::config::section::Section;
use crate::config::settings::Settings;
use crate::model::nearest::nearest;
use crate::source::Setup;

/// What switches the source `pytest` on.
pub(super) const PYTEST: &str = "pip install \"git+https://github.com/waitbus/waitbus#subdirectory=packaging/pytest\"; then WAITBUS_PYTEST=1 in the environment of pytest";

/// What is to be said to whoever takes a source that a plugin is for one that is run.
pub(super) fn by_plugin(name: &str) -> Option<String> {
    (name == "pytest").then(|| {
        format!("pytest is a plugin of pytest, and nobody runs it: {PYTEST} switches it on, WAITBUS_PYTEST=0 off")
    })
}

/// That there is no such source.
pub(super) fn there_is_no(name: &str, settings: &Settings) -> String {
    if let Some(plugin) = by_plugin(name) {
        return plugin;
    }
    let known = settings.sources.keys().map(String::as_str).chain(Setup::BUILT_IN);
    let verbs = ["list", "enable", "disable"];
    match nearest(name, known.chain(verbs)) {
        Some(verb) if verbs.contains(&verb) => {
            format!("there is no source {name:?}: did you mean `waitbus source {verb}`?")
        }
        Some(meant) => format!("there is no source {name:?}: did you mean {meant:?}?"),
        None => {
            let section = lines(name);
            let section = section.lines().next().unwrap_or_default();
            format!(
                "there is no source {name:?}: `waitbus source list` has those that there are, and {section} in waitbus.toml makes one"
            )
        }
    }
}

/// Lines for the section of a source, which are to be changed where they name something.
pub(super) fn lines(name: &str) -> String {
    match name {
        "fs" => "[source.fs]\npaths = [\"/path/to/watch\"]".to_owned(),
        name if Setup::BUILT_IN.contains(&name) => format!("[source.{name}]"),
        name if name.contains('.') => format!("[source.\"{name}\"]\ncommand = [\"/path/to/program\"]"),
        name => format!("[source.{name}]\ncommand = [\"/path/to/program\"]"),
    }
}

/// Whether a source has been told what it cannot do without. On its command line it may be told otherwise, so without it
/// a section makes sense all the same.
pub(super) fn is_told(name: &str, section: Option<&Section>) -> bool {
    let needed = match name {
        "fs" => Some("paths"),
        name if Setup::BUILT_IN.contains(&name) => None,
        _ => Some("command"),
    };
    needed.is_none_or(|key| section.is_some_and(|section| section.has(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::directories::Directories;

    #[test]
    fn the_lines_that_are_shown_are_lines_that_work() {
        let config = tempfile::tempdir().unwrap();
        let directories = Directories { runtime: "".into(), state: "".into(), config: config.path().into() };
        let names = Setup::BUILT_IN.into_iter().chain(["mine", "a.b"]);
        let text: Vec<_> = names.clone().map(lines).collect();
        std::fs::write(directories.settings(), text.join("\n")).unwrap();
        let settings = Settings::load(&directories).unwrap();
        for name in names {
            Setup::of(&settings.sources[name]).unwrap();
            assert!(is_told(name, settings.sources.get(name)), "{name}");
        }
    }
}
