//! The command that brings a source back when it has died, for whoever waits for it.

use serde_json::Value;

use crate::config::environment;
use crate::model::limits::MAX_DETAIL_BYTES;
use crate::setup::launchd;
use crate::setup::launchd::agents;
use crate::setup::systemd::units;
use crate::sys::manager;

/// What starts this very source again: the manager that runs it, or the command line as it was typed. Nothing where that
/// has a program: its arguments may hold secrets.
pub(super) fn of(name: &str) -> String {
    let unit = units::of_source(name);
    if manager::belongs_to(&unit) {
        return format!("systemctl --user start {unit}");
    }
    if environment::launchd_service().is_some_and(|own| own == agents::of_source(name).label) {
        return launchd::start_of(name);
    }
    let words = environment::command_line();
    if words.iter().any(|word| word == "--") {
        return String::new();
    }
    typed(&words).unwrap_or_else(|| format!("waitbus source {name}"))
}

/// A command line as a shell would have to be told it. `None` if it is too long to be announced.
fn typed(words: &[String]) -> Option<String> {
    let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    // A detail has a few other words as well.
    (Value::from(line.as_str()).to_string().len() <= MAX_DETAIL_BYTES / 2).then_some(line)
}

/// A word that a shell reads as it is.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-@=:,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_a_command_line_as_it_was_typed_and_one_that_is_too_long_is_left_out() {
        let words = ["waitbus", "source", "it's", "a b", "", "$HOME", "`x`", "-n", "é\\n*", "a=b"].map(str::to_owned);
        let line = typed(&words).unwrap();
        assert!(line.starts_with("waitbus source 'it'"), "{line}");
        let script = format!("printf '%s\\0' {line}");
        let said = Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(said).unwrap().trim_end_matches('\0').split('\0').collect::<Vec<_>>(), words);
        assert_eq!(typed(&["x".repeat(MAX_DETAIL_BYTES)]), None);
    }
}
