//! `waitbus completions`: the shell's completion of this command line, from the definition that also parses it.

use clap::{Args, Command};
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
pub(super) fn run(arguments: &Arguments, mut definition: Command) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    generate(arguments.shell, &mut definition, "waitbus", &mut script);
    let _ = output::line(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Success)
}
