//! `waitbus.toml`: what a person sets for the services without editing units.
//!
//! A key that nobody knows is an error and not a comment: whoever mistyped it would wait for an effect that never
//! comes. The environment wins over the file, because it is closer to the process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::directories::Directories;
use super::environment;
use super::section::Section;
use crate::model::duration;
use crate::model::limits::MAX_SETTINGS_BYTES;
use crate::model::nearest::nearest;
use crate::sys::logging::{self, Level};

/// Where the webhook listener listens when nobody says otherwise, and where its `.socket` unit does.
pub const WEBHOOK_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000);

const LOG: &str = "log";
const IDLE_EXIT: &str = "idle_exit";
const SOURCE: &str = "source";
const KEYS: [&str; 3] = [LOG, IDLE_EXIT, SOURCE];

/// What was set; what was not is up to the service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// How much is logged.
    pub log: Option<Level>,
    /// How long a service that somebody else would start again stays when nobody uses it.
    pub idle_exit: Option<Stay>,
    /// What was set for sources, by their names.
    pub sources: BTreeMap<String, Section>,
}

/// How long to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// So long.
    For(Duration),
    /// For as long as it is let.
    Forever,
}

/// The configuration makes no sense, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// The file is there but cannot be read.
    #[error("the configuration {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of it is wrong.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A variable is wrong.
    #[error("{} is {value:?}, but it must be {}", environment::LOG, level_names())]
    Variable {
        /// Its value.
        value: String,
    },
}

impl Settings {
    /// What the file and the environment say now. No file is a file without a key.
    pub fn load(directories: &Directories) -> Result<Settings, BadSettings> {
        let path = directories.settings();
        let text = read(&path).map_err(|source| BadSettings::Unreadable { path: path.clone(), source })?;
        let mut settings =
            parse(&path, &text).map_err(|(line, problem)| BadSettings::Line { path: path.clone(), line, problem })?;
        if let Some(value) = environment::get_text(environment::LOG) {
            let Some(level) = logging::level(&value) else { return Err(BadSettings::Variable { value }) };
            settings.log = Some(level);
        }
        Ok(settings)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    let mut text = String::new();
    if file.take(MAX_SETTINGS_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_SETTINGS_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_SETTINGS_BYTES} bytes")));
    }
    Ok(text)
}

/// The settings, or the line that is wrong and what is wrong with it.
fn parse(path: &Path, text: &str) -> Result<Settings, (usize, String)> {
    let line = |at: usize| text.get(..at).unwrap_or(text).matches('\n').count() + 1;
    let table = DeTable::parse(text)
        .map_err(|error| (line(error.span().map_or(0, |span| span.start)), error.message().to_owned()))?;
    let mut settings = Settings::default();
    for (key, value) in table.get_ref() {
        let at = line(key.span().start);
        let set = match &**key.get_ref() {
            LOG => log(value.get_ref()).map(|level| settings.log = Some(level)),
            IDLE_EXIT => idle_exit(value.get_ref()).map(|stay| settings.idle_exit = Some(stay)),
            SOURCE => sections(path, value.get_ref(), &line).map(|sections| settings.sources = sections),
            unknown => Err(match nearest(unknown, KEYS) {
                Some(meant) => format!("there is no key {unknown:?}: did you mean {meant:?}?"),
                None => format!("there is no key {unknown:?}: the keys are {}", KEYS.join(", ")),
            }),
        };
        set.map_err(|problem| (at, problem))?;
    }
    Ok(settings)
}

fn sections(
    path: &Path,
    value: &DeValue<'_>,
    line: &dyn Fn(usize) -> usize,
) -> Result<BTreeMap<String, Section>, String> {
    let shape = || format!("{SOURCE} must be tables, one for each source: [{SOURCE}.NAME]");
    let DeValue::Table(tables) = value else { return Err(shape()) };
    let section = |(name, table): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &toml::de::DeString<'_> = name.get_ref();
        let DeValue::Table(keys) = table.get_ref() else { return Err(shape()) };
        Ok((name.to_string(), Section::read(path, name, table.span().start, keys, line)))
    };
    tables.iter().map(section).collect()
}

fn log(value: &DeValue<'_>) -> Result<Level, String> {
    let name = string(LOG, value, &level_names())?;
    logging::level(name).ok_or_else(|| format!("{LOG} is {name:?}, but it must be {}", level_names()))
}

fn idle_exit(value: &DeValue<'_>) -> Result<Stay, String> {
    match string(IDLE_EXIT, value, "a duration such as \"10m\", or \"never\"")? {
        "never" => Ok(Stay::Forever),
        text => duration::parse(text)
            .map(Stay::For)
            .map_err(|problem| format!("{IDLE_EXIT}: {problem}; \"never\" stays for ever")),
    }
}

fn string<'v>(key: &str, value: &'v DeValue<'_>, expected: &str) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("{key} is a TOML {}, but it must be a string: {expected}", value.type_str()))
}

fn level_names() -> String {
    let [rest @ .., (last, _)] = logging::LEVELS;
    format!("{} or {last}", rest.map(|(name, _)| name).join(", "))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, (usize, String)> {
        super::parse(Path::new("waitbus.toml"), text)
    }

    /// The sources of a text that makes sense.
    pub(crate) fn sections(text: &str) -> BTreeMap<String, Section> {
        parse(text).unwrap().sources
    }

    #[test]
    fn every_key_is_read_and_none_is_needed() {
        assert_eq!(parse("").unwrap(), Settings::default());
        let settings = parse("# quiet\nlog = \"WARN\"\nidle_exit = \"1h30m\"\n").unwrap();
        assert_eq!(settings.log, Some(Level::WARN));
        assert_eq!(settings.idle_exit, Some(Stay::For(Duration::from_mins(90))));
        assert_eq!(parse("idle_exit = 'never'").unwrap().idle_exit, Some(Stay::Forever));
    }

    #[test]
    fn an_error_names_the_line_the_key_and_what_would_be_right() {
        for (text, line, words) in [
            ("log = 'info'\nidle_exti = '1m'", 2, vec!["\"idle_exti\"", "did you mean \"idle_exit\"?"]),
            ("\n\nwebhook = 1", 3, vec!["\"webhook\"", "the keys are log, idle_exit, source"]),
            ("[log]\nlevel = 'info'", 1, vec!["log is a TOML table", "off, error", "or trace"]),
            ("source = 'docker'", 1, vec!["[source.NAME]"]),
            ("[source]\ndocker = 1", 1, vec!["[source.NAME]"]),
            ("log = 'loud'", 1, vec!["log is \"loud\"", "off, error, warn, info, debug or trace"]),
            ("log = 3", 1, vec!["log is a TOML integer", "must be a string"]),
            ("# a\nidle_exit = '5'", 2, vec!["idle_exit", "10m", "never"]),
            ("log = 'info'\nlog = 'debug'", 2, vec!["duplicate"]),
            ("log = 'info'\nlog", 2, vec!["key"]),
        ] {
            let (found, problem) = parse(text).unwrap_err();
            assert_eq!(found, line, "{text:?}: {problem}");
            for word in words {
                assert!(problem.contains(word), "{text:?}: {problem}");
            }
        }
    }

    #[test]
    fn a_file_that_is_too_large_or_none_is_refused_and_a_missing_one_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("waitbus.toml");
        assert_eq!(read(&path).unwrap(), "");
        std::fs::write(&path, vec![b'#'; 65 * 1_024]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("65536 bytes"));
        read(directory.path()).unwrap_err();
    }
}
