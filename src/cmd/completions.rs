//! `waitbus completions`: the shell's completion of this command line, from the definition that also parses it.

use clap::{Args, Command as Definition};
use clap_complete::{Shell, generate};

use super::exit::{Exit, Failure};
use super::output;

/// Print a shell's completion script
///
/// bash: `waitbus completions bash > ~/.local/share/bash-completion/completions/waitbus`; zsh: as `_waitbus` into a
/// directory of `$fpath`; fish: `waitbus completions fish > ~/.config/fish/completions/waitbus.fish`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

#[expect(clippy::unnecessary_wraps, reason = "every verb returns the same")]
pub(super) fn run(arguments: &Arguments, definition: &Definition) -> Result<Exit, Failure> {
    let _ = output::line(script(arguments.shell, definition).trim_end());
    Ok(Exit::Success)
}

/// The script for a shell. What is hidden from help is left out, which the generators offer all the same.
fn script(shell: Shell, definition: &Definition) -> String {
    let shown = definition.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    let mut definition = Definition::new("waitbus").version(env!("CARGO_PKG_VERSION")).subcommands(shown);
    let mut script = Vec::new();
    generate(shell, &mut definition, "waitbus", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, ValueEnum};

    use super::*;
    use crate::cmd::{Cli, run};

    #[test]
    fn every_verb_is_offered_but_the_one_that_is_nobodys() {
        for shell in Shell::value_variants() {
            let script = script(*shell, &Cli::command());
            for verb in ["wait", "rotate", "demo", "--allow-gap", "--version"] {
                assert!(script.contains(verb.trim_start_matches('-')), "{shell}: {verb}");
            }
            assert!(!script.contains(run::RELAY), "{shell}");
        }
    }
}
