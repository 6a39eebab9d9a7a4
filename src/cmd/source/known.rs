//! What a person has to write into `waitbus.toml` for a source, as lines to copy.

use crate::config::section::Section;
use crate::source::Setup;

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
    use crate::config::settings::Settings;

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
