//! What is asked of the bus: the arguments from which `wait`, and every other verb that waits, makes its question, and
//! which of them go together.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::Args;

use super::commit::CommitFlags;
use super::conditions::Conditions;
use super::exit::Failure;
use super::time;
use crate::model::source::SourceStatus;
use crate::model::text::one_line;
use crate::waiting::asked::{self, Spelling};
use crate::waiting::{self, Question};

/// How `--help` of a verb that waits ends.
pub(super) const HELP: &str = "Examples:
  waitbus wait --source github --match \"conclusion=success\"
  waitbus wait --all-of 'github[workflow_name=ci]:conclusion=success' --all-of deploy:status=done
  waitbus wait --source tests --quiet-for 1m --none-of tests:conclusion=failure
  waitbus wait --sha HEAD --timeout 30m

A CLAUSE is `source:key=value[,key=value...]`, or `source[scope]:key=value` to narrow \
what it looks at:
  github[repo=hello,workflow_name=ci]:conclusion=success
It takes the conditions of --match. Without brackets its scope is the source and the presence of the condition's keys. \
A value with a comma or bracket is written in double quotes, with JSON's escapes: head_branch~\"^v[0-9]{1,3}\"

What goes together: the plain conditions (--source, --type, --repo, --match, --where) are one question, and each kind of clause is \
another. One of --all-of, --first-of, --then takes the place of --source, --type, --match and --where; only --repo narrows clauses \
as well. --none-of goes with any question, but not alone. --quiet-for goes with plain conditions, --none-of, or both. \
--count and --verdict go with plain conditions or --first-of, and not with each other. --sha goes with --repo, --settle and \
--no-fail-fast, and is a verdict.";

/// What to wait for.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Asked {
    #[command(flatten)]
    pub(super) conditions: Conditions,

    #[command(flatten)]
    sha: CommitFlags,

    /// How many events have to match [default: 1]
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,

    /// Exit with the verdict of the event: its conclusion. An event without one does not end the wait
    #[arg(long)]
    verdict: bool,

    /// All these clauses are satisfied; the newest event in the scope of each decides, so a failure takes back an
    /// earlier success
    #[arg(long, value_name = "CLAUSE")]
    all_of: Vec<String>,

    /// What satisfies a clause of --all-of once satisfies it for good
    #[arg(long)]
    sticky: bool,

    /// One of these clauses is satisfied; says which
    #[arg(long, value_name = "CLAUSE")]
    first_of: Vec<String>,

    /// These clauses are satisfied in this order, each by a later event
    #[arg(long, value_name = "CLAUSE")]
    then: Vec<String>,

    /// Exit 1 at once if this clause is satisfied first
    #[arg(long, value_name = "CLAUSE")]
    none_of: Vec<String>,

    /// Nothing matches for this long. It is counted from when the wait is attached, and again from each match
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    pub(super) quiet_for: Option<Duration>,

    /// Wait also for a source that is known to be dead, instead of ending with exit code 3
    #[arg(long)]
    allow_absent: bool,
}

impl Asked {
    /// Whether the exit code is a verdict.
    pub(super) fn has_verdict(&self) -> bool {
        self.verdict || self.sha.is_asked() || !self.none_of.is_empty()
    }

    /// The commit whose verdict is asked for, if that is the question. The log may have the answer.
    pub(super) fn commit(&self) -> Result<Option<waiting::commit::Asked>, Failure> {
        if self.sha.is_asked() {
            self.words().check()?;
        }
        self.sha.asked(&self.conditions.repo)
    }

    /// The question, checked here so that a mistake is told before anything is started.
    pub(super) fn question(&self) -> Result<Box<dyn Question>, Failure> {
        Ok(self.words().question(Spelling::Flags)?)
    }

    fn words(&self) -> asked::Asked {
        asked::Asked {
            conditions: self.conditions.words(),
            sha: self.sha.is_asked(),
            count: self.count,
            verdict: self.verdict,
            all_of: self.all_of.clone(),
            sticky: self.sticky,
            first_of: self.first_of.clone(),
            then: self.then.clone(),
            none_of: self.none_of.clone(),
            quiet_for: self.quiet_for,
        }
    }

    /// What it means that a source has died without which there is no answer.
    pub(super) fn dead(&self, status: &SourceStatus) -> Result<(), Failure> {
        if self.allow_absent {
            return Ok(());
        }
        let remedy = match status.start() {
            Some(command) => format!("start it again with `{}`", one_line(command)),
            None => "start it again".to_owned(),
        };
        Err(Failure::bus(format!(
            "the source {} is dead: {}, so the answer may never come; {remedy} (--allow-absent waits for it)",
            one_line(&status.source),
            status.ending()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Result<Vec<String>, String> {
        question(arguments).map(|question| question.outstanding())
    }

    fn question(arguments: &[&str]) -> Result<Box<dyn Question>, String> {
        #[derive(Debug, clap::Parser)]
        struct Cli {
            #[command(flatten)]
            asked: Asked,
        }
        let arguments = ["wait"].iter().chain(arguments);
        let cli = <Cli as clap::Parser>::try_parse_from(arguments).map_err(|error| error.to_string())?;
        let question = match cli.asked.commit().map_err(|failure| failure.to_string())? {
            Some(commit) => super::super::commit::unknown(commit).map(|commit| Box::new(commit) as Box<dyn Question>),
            None => cli.asked.question(),
        };
        question.map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_goes_together_is_asked_and_the_rest_is_refused_with_a_sentence() {
        for good in [
            &["--source", "a"][..],
            &["--repo", "o/r"],
            &["--source", "a", "--count", "3"],
            &["--type", "t", "--verdict"],
            &["--match", "a=1", "--none-of", "b:c=1"],
            &["--where", "fields.a == 1", "--none-of", "b:c=1"],
            &["--all-of", "a:b=1", "--all-of", "c:d=1", "--sticky", "--repo", "o/r", "--none-of", "e:f=1"],
            &["--first-of", "a:b=1", "--count", "2"],
            &["--first-of", "a:b=1", "--verdict"],
            &["--then", "a:b=1", "--then", "a:b=2"],
            &["--source", "a", "--quiet-for", "1s"],
            &["--none-of", "a:b=1", "--quiet-for", "1s"],
            &["--match", "a=1", "--none-of", "a:b=1", "--quiet-for", "1s"],
            &["--sha", "3484a3f"],
            &["--sha", "3484A3FB", "--repo", "o/r", "--settle", "0s", "--no-fail-fast", "--verdict"],
        ] {
            assert!(asked(good).is_ok(), "{good:?}: {:?}", asked(good));
        }
        for (bad, sentence) in [
            (&[][..], "wait for what?"),
            (&["--sha", "3484a3"], "7 to 40 hexadecimal digits, not 6"),
            (&["--sha", "no-such-name"], "git knows no commit of that name here"),
            (&["--sha", "3484a3f", "--repo", "o"], "use `owner/repo`"),
            (&["--sha", "3484a3f", "--source", "github"], "--sha are different questions"),
            (&["--sha", "3484a3f", "--all-of", "a:b=1"], "--all-of and --sha are different questions"),
            (&["--sha", "3484a3f", "--none-of", "a:b=1"], "--none-of and --sha are different questions"),
            (&["--sha", "3484a3f", "--count", "2"], "--count and --sha are different questions"),
            (&["--settle", "1s"], "--sha"),
            (&["--sticky"], "clauses of --all-of"),
            (&["--none-of", "a:b=1"], "could only fail"),
            (&["--quiet-for", "1s"], "quiet of what?"),
            (&["--source", "a", "--quiet-for", "0s"], "above 0"),
            (&["--all-of", "a:b=1", "--then", "a:b=1"], "--all-of and --then are different questions"),
            (&["--first-of", "a:b=1", "--quiet-for", "1s"], "--first-of and --quiet-for are different questions"),
            (&["--source", "a", "--all-of", "a:b=1"], "a clause names its own source"),
            (&["--match", "a=1", "--then", "a:b=1"], "a clause names its own source"),
            (&["--where", "fields.a == 1", "--first-of", "a:b=1"], "a clause names its own source"),
            (&["--where", "fields.a =", "--none-of", "a:b=1"], "fields.a ="),
            (&["--all-of", "a:b=1", "--count", "2"], "--count and --all-of"),
            (&["--source", "a", "--quiet-for", "1s", "--count", "2"], "--count and --quiet-for"),
            (&["--then", "a:b=1", "--verdict"], "--verdict and --then"),
            (&["--source", "a", "--verdict", "--count", "2"], "no one verdict"),
            (&["--source", "a", "--sticky"], "--sticky is about"),
            (&["--all-of", "b=1"], "--all-of \"b=1\", column 2"),
            (&["--none-of", "a:b", "--source", "x"], "--none-of \"a:b\", column 4"),
            (&["--repo", "nonsense", "--all-of", "a:b=1"], "nonsense"),
        ] {
            let refusal = asked(bad).unwrap_err();
            assert!(refusal.contains(sentence), "{bad:?}: {refusal}");
        }
    }

    /// `--match source=x` and `--where 'source == "x"'` waited for a dead source until the timeout.
    #[test]
    fn a_source_is_named_by_whatever_asks_for_it() {
        let lost = |arguments: &[&str], dead: &[&str]| {
            let dead = dead.iter().map(|&source| source.to_owned()).collect();
            question(arguments).unwrap().is_lost_without(&dead)
        };
        for asked in [
            &["--source", "a"][..],
            &["--match", "source=a"],
            &["--match", "fields.source=\"a\"", "--type", "t"],
            &["--where", "source == \"a\" && fields.x != 1"],
            &["--where", "\"a\" == fields.source", "--source", "b"],
            &["--match", "source=a", "--none-of", "c:d=1"],
            &["--match", "source=a", "--quiet-for", "1s"],
        ] {
            assert!(lost(asked, &["a"]), "{asked:?}");
            assert!(!lost(asked, &["e"]), "{asked:?}");
        }
        for asked in [
            &["--source", "a", "--source", "b"][..],
            &["--source", "a", "--match", "source=b"],
            &["--match", "source!=a"],
            &["--where", "source == \"a\" || source == \"b\""],
            &["--type", "t"],
        ] {
            assert!(!lost(asked, &["a"]), "{asked:?}");
        }
        assert!(lost(&["--source", "a", "--match", "source=b"], &["a", "b"]));
    }

    #[test]
    fn what_the_hub_could_not_take_is_refused_with_the_number() {
        let clauses: Vec<_> = (0..33).map(|n| format!("--all-of=s{n}:a=1")).collect();
        let clauses: Vec<_> = clauses.iter().map(String::as_str).collect();
        assert!(asked(&clauses[..32]).is_ok());
        let refusal = asked(&clauses).unwrap_err();
        assert!(refusal.contains("66 conditions") && refusal.contains("at most 64"), "{refusal}");
    }

    #[test]
    fn what_is_missing_is_named_as_it_was_typed() {
        let outstanding = asked(&["--source", "a", "--type", "t", "--match", "b=c d", "--count", "3"]).unwrap();
        assert_eq!(outstanding, ["--source a --type t --match \"b=c d\" (another 3 times)"]);
        assert_eq!(asked(&["--then", "a:b=1", "--then", "a:b=2"]).unwrap(), ["a:b=1", "a:b=2"]);
    }
}
