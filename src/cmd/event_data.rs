//! What a command is told of the event for which it is run: variables with fixed names, and a file with all of it.
//! Nothing of an event gets into an argument, and no name of a variable comes from an event.

use std::io::{self, Write};
use std::process::Command;

use serde_json::{Map, Value};
use tempfile::{Builder, TempPath};

use super::output;
use crate::config::directories::Directories;
use crate::config::environment::{self, EVENT_FILE, EVENT_REPO, OF_AN_EVENT};
use crate::model::text::one_line;
use crate::waiting::{Ending, Shown};

/// Tells a command what has answered the question. The file is removed when what is returned is dropped.
pub(super) fn tell(command: &mut Command, ending: &Ending, directories: &Directories) -> io::Result<TempPath> {
    let file = write(&ending.shown, directories)?;
    command.env(EVENT_FILE, &file);
    let nothing = Map::new();
    let event = ending.shown.last().map_or(&nothing, |shown| &shown.json);
    let variables = OF_AN_EVENT.iter().map(|&(key, variable)| (variable, value(event, key)));
    for (variable, value) in variables.chain([(EVENT_REPO, repo(event))]) {
        match value {
            Some(value) => command.env(variable, value),
            // One of an event around us is not of this one.
            None => command.env_remove(variable),
        };
    }
    Ok(file)
}

/// A file for this user alone, with one object a line, as `wait --json` prints them; the last is the answer.
fn write(shown: &[Shown], directories: &Directories) -> io::Result<TempPath> {
    let name = || {
        let mut name = Builder::new();
        name.prefix("event-").suffix(".json");
        name
    };
    let file = name().tempfile_in(&directories.runtime);
    let mut file = file.or_else(|_| name().tempfile_in(environment::temporary_directory()))?;
    for shown in shown {
        writeln!(file, "{}", output::shown(shown, true))?;
    }
    Ok(file.into_temp_path())
}

/// A text, a number or a truth value, as one line that is safe to print; the file has it as it is.
fn value(event: &Map<String, Value>, key: &str) -> Option<String> {
    match event.get(key).or_else(|| event.get("fields")?.get(key))? {
        Value::String(text) => Some(one_line(text)),
        other @ (Value::Number(_) | Value::Bool(_)) => Some(other.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn repo(event: &Map<String, Value>) -> Option<String> {
    let [owner, repo] = ["owner", "repo"].map(|key| value(event, key).filter(|name| !name.is_empty()));
    Some(format!("{}/{}", owner?, repo?))
}
