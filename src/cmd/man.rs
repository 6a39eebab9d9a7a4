//! `waitbus man`: the manual pages, from the definition that also parses the command line.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use super::exit::{Exit, Failure};
use super::output;

/// Print a manual page, or write all of them
///
/// `waitbus man wait | man -l -` shows one.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The verb, such as `wait` or `secret set`; without one, the page of the program
    verb: Vec<String>,

    /// Write the pages of the program and of all verbs into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, definition: Command) -> Result<Exit, Failure> {
    // Nobody looks for a page about `waitbus help wait`.
    let mut definition = definition.disable_help_subcommand(true);
    definition.build();
    if let Some(directory) = &arguments.dir {
        let written = std::fs::create_dir_all(directory).and_then(|()| write_all(&definition, directory));
        written.map_err(|error| Failure::usage(format!("{} cannot be written: {error}", directory.display())))?;
        return Ok(Exit::Success);
    }
    let mut command = &definition;
    for name in &arguments.verb {
        command = command.find_subcommand(name).ok_or_else(|| {
            let verbs: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
            Failure::usage(format!("there is no page for {name:?}; there are: {}", verbs.join(", ")))
        })?;
    }
    let mut text = Vec::new();
    page(command).render(&mut text).map_err(|error| Failure::bus(format!("the page: {error}")))?;
    let _ = output::line(String::from_utf8_lossy(&text).trim_end());
    Ok(Exit::Success)
}

/// The pages of a command and of everything below it.
fn write_all(command: &Command, directory: &Path) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write_all(verb, directory)?;
    }
    let page = page(command);
    page.render(&mut File::create(directory.join(page.get_filename()))?)
}

fn page(command: &Command) -> Man {
    let source = concat!("waitbus ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).source(source).manual("waitbus")
}
