//! The verbs that scripts and agents run all day, parsed without the others.
//!
//! clap builds every verb with every flag before it looks at the first word, a third of what a short command executes.
//! Here the first word comes first. Whatever is not plainly right (a mistake, `--help`) is left to the whole command
//! line, which alone has something to say about it.

use std::ffi::OsString;

use clap::{Args, Command as Grammar};

use super::Verb;

/// What was typed, if it is one of these verbs and right. `arguments` begin after the name of the program.
pub(super) fn parse(arguments: &[OsString]) -> Option<Verb> {
    let (verb, rest) = arguments.split_first()?;
    Some(match verb.to_str()? {
        "wait" => Verb::Wait(Box::new(only(rest)?)),
        "on" => Verb::On(Box::new(only(rest)?)),
        "run" => Verb::Run(only(rest)?),
        "emit" => Verb::Emit(only(rest)?),
        "tail" => Verb::Tail(only(rest)?),
        "mark" => Verb::Mark(only(rest)?),
        "mcp" => Verb::Mcp(only(rest)?),
        "message" => Verb::Message(only(rest)?),
        "status" => Verb::Status(only(rest)?),
        "hub" => Verb::Hub(only(rest)?),
        "listen" => Verb::Listen(only(rest)?),
        "source" => Verb::Source(only(rest)?),
        _ => return None,
    })
}

/// The arguments of one verb, without its name.
fn only<A: Args>(words: &[OsString]) -> Option<A> {
    let command = A::augment_args(Grammar::new("waitbus").no_binary_name(true));
    let mut matches = command.try_get_matches_from(words).ok()?;
    A::from_arg_matches_mut(&mut matches).ok()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cmd::Cli;

    fn both(line: &str) -> (Option<String>, Option<String>) {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let whole = Cli::try_parse_from(["waitbus".into()].into_iter().chain(words.clone()));
        (parse(&words).map(|verb| format!("{verb:?}")), whole.ok().map(|cli| format!("{:?}", cli.verb)))
    }

    /// Two ways to read a line must not read two things.
    #[test]
    fn a_verb_that_is_parsed_alone_means_what_it_means_among_all() {
        for line in [
            "wait --source deploy --match conclusion=success --timeout 5m -q",
            "wait --all-of a:b=c --all-of d:e=f --since 10m --json",
            "wait --sha 0123456789abcdef0123456789abcdef01234567 --exit-on neutral=0",
            "on --source deploy -- make -j2 --keep-going",
            "run --name tests -- cargo test -- --nocapture",
            "emit --source a --type b --field x=1 --field y=--z",
            "emit --batch",
            "tail --source a",
            "mark",
            "mcp",
            "message who",
            "status --json",
            "hub --idle-exit 30s --detach",
            "listen --addr 127.0.0.1:0",
            "source list",
        ] {
            let (alone, among_all) = both(line);
            assert!(among_all.is_some(), "{line}: the example is wrong");
            assert_eq!(alone, among_all, "{line}");
        }
    }

    /// What the whole command line answers is not taken for something else.
    #[test]
    fn mistakes_and_help_are_left_to_the_whole_command_line() {
        for line in [
            "wait --help",
            "wait -h",
            "wait --version",
            "wait wait",
            "wait --source",
            "wait --nonsense",
            "emit",
            "emit --source a",
            "emit --source a --type b --verbose",
            "message",
            "message help",
            "source",
            "help wait",
            "--version",
            "hub hub",
        ] {
            assert_eq!(both(line), (None, None), "{line}");
        }
    }
}
