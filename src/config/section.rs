//! One `[source.NAME]` table of `waitbus.toml`, read as what its source expects of it. Only the source knows its keys,
//! so a mistake there stops that source and nobody else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::settings::BadSettings;
use crate::model::duration;
use crate::model::nearest::nearest;

/// What a person set for one source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// The file that it stands in.
    path: PathBuf,
    /// The name of the source.
    name: String,
    /// Counted from 1.
    line: usize,
    entries: BTreeMap<String, Entry>,
}

/// One key.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    line: usize,
    value: Value,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Texts(Vec<String>),
    Integer(u64),
    Flag(bool),
    /// What no key takes, by TOML's name for it.
    Other(&'static str),
}

impl Section {
    /// Reads a table. `line` tells the line of a place in the text.
    pub(super) fn read(
        path: &Path,
        name: &str,
        at: usize,
        table: &DeTable<'_>,
        line: &dyn Fn(usize) -> usize,
    ) -> Section {
        let entry = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Integer(number) => {
                u64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other("integer"), Value::Integer)
            }
            DeValue::Array(items) => {
                let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
                texts.collect::<Option<_>>().map_or(Value::Other("array"), Value::Texts)
            }
            other => Value::Other(other.type_str()),
        };
        let entries = table.iter().map(|(key, value)| {
            (key.get_ref().to_string(), Entry { line: line(key.span().start), value: entry(value.get_ref()) })
        });
        Section { path: path.to_owned(), name: name.to_owned(), line: line(at), entries: entries.collect() }
    }

    /// The section of a source of which nothing was set.
    #[must_use]
    pub fn empty(name: &str) -> Section {
        Section { name: name.to_owned(), ..Section::default() }
    }

    /// The name of the source.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a key is set.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Refuses every key but these.
    pub fn only(&self, keys: &[&str]) -> Result<(), BadSettings> {
        let Some((unknown, entry)) = self.entries.iter().find(|(key, _)| !keys.contains(&&***key)) else {
            return Ok(());
        };
        let problem = match nearest(unknown, keys.iter().copied()) {
            Some(meant) => format!("[source.{}] has no key {unknown:?}: did you mean {meant:?}?", self.name),
            None if keys.is_empty() => format!("[source.{}] has no keys", self.name),
            None => format!("[source.{}] has no key {unknown:?}: its keys are {}", self.name, keys.join(", ")),
        };
        Err(self.wrong(entry.line, problem))
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&str>, BadSettings> {
        self.get(key, "a string", |value| match value {
            Value::Text(text) => Some(&**text),
            _ => None,
        })
    }

    /// Texts: an array of strings, or one string for one of them. None if the key is not set.
    pub fn texts(&self, key: &str) -> Result<Vec<&str>, BadSettings> {
        let found = self.get(key, "an array of strings", |value| match value {
            Value::Text(text) => Some(vec![&**text]),
            Value::Texts(texts) => Some(texts.iter().map(|text| &**text).collect()),
            _ => None,
        })?;
        Ok(found.unwrap_or_default())
    }

    /// A number that is not negative.
    pub fn integer(&self, key: &str) -> Result<Option<u64>, BadSettings> {
        self.get(key, "a whole number", |value| match value {
            Value::Integer(number) => Some(*number),
            _ => None,
        })
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, BadSettings> {
        self.get(key, "true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A duration such as `"5m"`.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, BadSettings> {
        let text = self.text(key)?;
        text.map(|text| duration::parse(text).map_err(|problem| self.bad(key, problem))).transpose()
    }

    /// The section needs something that it does not have, or has too much of it.
    #[must_use]
    pub fn incomplete(&self, problem: impl std::fmt::Display) -> BadSettings {
        self.wrong(self.line, format!("[source.{}]: {problem}", self.name))
    }

    /// A key has a value that makes no sense.
    #[must_use]
    pub fn bad(&self, key: &str, problem: impl std::fmt::Display) -> BadSettings {
        let line = self.entries.get(key).map_or(self.line, |entry| entry.line);
        self.wrong(line, format!("[source.{}] {key}: {problem}", self.name))
    }

    fn get<'s, T>(
        &'s self,
        key: &str,
        expected: &str,
        read: impl Fn(&'s Value) -> Option<T>,
    ) -> Result<Option<T>, BadSettings> {
        let Some(entry) = self.entries.get(key) else { return Ok(None) };
        read(&entry.value).map(Some).ok_or_else(|| self.bad(key, format!("it must be {expected}")))
    }

    fn wrong(&self, line: usize, problem: String) -> BadSettings {
        BadSettings::Line { path: self.path.clone(), line, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::sections;

    const TEXT: &str = "
[source.fs]
paths = ['/a', '/b']
debounce = '50ms'
hidden = true
depth = 0x10
within = '5'
odd = 1.5
[source.sensor]
command = 'sensor'
";

    #[test]
    fn each_key_is_read_as_what_its_source_expects() {
        let sections = sections(TEXT);
        let fs = &sections["fs"];
        assert_eq!(fs.texts("paths").unwrap(), ["/a", "/b"]);
        assert_eq!(fs.duration("debounce").unwrap().unwrap().as_millis(), 50);
        assert_eq!((fs.flag("hidden").unwrap(), fs.integer("depth").unwrap()), (Some(true), Some(16)));
        assert_eq!((fs.flag("nothing").unwrap(), fs.text("nothing").unwrap()), (None, None));
        assert_eq!(sections["sensor"].texts("command").unwrap(), ["sensor"], "one of them");
    }

    #[test]
    fn an_error_names_the_file_the_line_and_the_key() {
        let sections = sections(TEXT);
        let fs = &sections["fs"];
        for (error, words) in [
            (fs.text("paths").unwrap_err(), ["waitbus.toml, line 3", "[source.fs] paths: it must be a string"]),
            (fs.duration("within").unwrap_err(), ["line 7", "[source.fs] within: "]),
            (fs.integer("odd").unwrap_err(), ["line 8", "a whole number"]),
            (fs.only(&["paths", "debounce", "hidden", "depth", "within"]).unwrap_err(), ["line 8", "no key \"odd\""]),
            (
                fs.only(&["pahts", "debounce", "hidden", "depth", "within", "odd"]).unwrap_err(),
                ["line 3", "did you mean \"pahts\"?"],
            ),
            (fs.incomplete("name some paths"), ["line 2", "[source.fs]: name some paths"]),
        ] {
            let message = error.to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }
}
