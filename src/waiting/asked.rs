//! What is asked, as text: from the flags of a command or the arguments of a tool to a [`Question`], and which of them go
//! together. There is one way from words to a question; only what the words are called differs ([`Spelling`]).

use std::num::NonZeroU64;
use std::time::Duration;

use super::all_of::AllOf;
use super::first_of::FirstOf;
use super::matches::{Matches, Plain, Until};
use super::none_of::NoneOf;
use super::quiet::Quiet;
use super::sequence::Sequence;
use super::{Question, subscription};
use crate::model::clause::Clause;
use crate::model::frame::{Rejection, Subscribe};
use crate::model::limits::{MAX_CONDITIONS, MAX_FRAME_BYTES};

/// Plain conditions: which events.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Events of these sources; several are alternatives.
    pub source: Vec<String>,
    /// Events of these types; several are alternatives.
    pub event_type: Vec<String>,
    /// Events of these repositories, `owner/repo` or `owner/*`; several are alternatives.
    pub repo: Vec<String>,
    /// Conditions on fields, which must all hold.
    pub matching: Vec<String>,
    /// An expression that must hold, too.
    pub where_: Option<String>,
}

/// Everything that can be asked, but for the verdict on a commit, which is a question of its own.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Plain conditions.
    pub conditions: Conditions,
    /// Whether the verdict on a commit is asked for: then it is the only question.
    pub sha: bool,
    /// How many events have to match; without it, one.
    pub count: Option<NonZeroU64>,
    /// Whether the event's conclusion is the verdict.
    pub verdict: bool,
    /// These clauses are satisfied at the same time.
    pub all_of: Vec<String>,
    /// Whether what satisfies a clause of `all_of` once satisfies it for good.
    pub sticky: bool,
    /// One of these clauses is satisfied.
    pub first_of: Vec<String>,
    /// These clauses are satisfied in this order.
    pub then: Vec<String>,
    /// None of these clauses is satisfied before.
    pub none_of: Vec<String>,
    /// Nothing matches for this long.
    pub quiet_for: Option<Duration>,
}

/// A part of what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the flags")]
pub enum Part {
    Source,
    Type,
    Repo,
    Match,
    Where,
    /// The four of them that do not narrow clauses as well.
    Plain,
    AllOf,
    Sticky,
    FirstOf,
    Then,
    NoneOf,
    QuietFor,
    Sha,
    Count,
    Verdict,
}

/// How whoever asks writes the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `--all-of`
    Flags,
    /// `all_of`
    Arguments,
}

impl Spelling {
    /// The part as its user knows it.
    #[must_use]
    pub fn of(self, part: Part) -> &'static str {
        let (flag, argument) = match part {
            Part::Source => ("--source", "source"),
            Part::Type => ("--type", "type"),
            Part::Repo => ("--repo", "repo"),
            Part::Match => ("--match", "match"),
            Part::Where => ("--where", "where"),
            Part::Plain => ("--source, --type, --match or --where", "source, type, match or where"),
            Part::AllOf => ("--all-of", "all_of"),
            Part::Sticky => ("--sticky", "sticky"),
            Part::FirstOf => ("--first-of", "first_of"),
            Part::Then => ("--then", "then"),
            Part::NoneOf => ("--none-of", "none_of"),
            Part::QuietFor => ("--quiet-for", "quiet_for"),
            Part::Sha => ("--sha", "sha"),
            Part::Count => ("--count", "count"),
            Part::Verdict => ("--verdict", "verdict"),
        };
        if self == Spelling::Flags { flag } else { argument }
    }
}

/// What cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadQuestion {
    /// Nothing was asked.
    Nothing,
    /// Only that something must not happen was asked.
    OnlyForbidden,
    /// A silence of nothing was asked for.
    QuietOfNothing,
    /// A silence that takes no time was asked for.
    NoTime,
    /// Two parts that are questions of their own.
    Different(Part, Part),
    /// Plain conditions beside clauses.
    PlainBeside(Part),
    /// A count and a verdict.
    ManyVerdicts,
    /// Sticky without clauses.
    NothingSticks,
    /// A part that no event can have.
    Empty(Part),
    /// A part that makes no sense, and why.
    Part(Part, String),
    /// A clause that makes no sense, and why.
    Clause(Part, String),
    /// All of it together is more than the hub takes, and by how much.
    TooMuch(String),
}

impl BadQuestion {
    /// A sentence for whoever asked.
    #[must_use]
    pub fn told(&self, spelling: Spelling) -> String {
        let name = |part| spelling.of(part);
        match self {
            BadQuestion::Nothing => match spelling {
                Spelling::Flags => {
                    "wait for what? Give at least one of --source, --type, --repo, --match, --where, --all-of, --first-of, \
                     --then, --quiet-for and --sha, for example\n  waitbus wait --source github --match \"conclusion=success\""
                        .to_owned()
                }
                Spelling::Arguments => {
                    "wait for what? Give at least one of source, type, repo, match, where, all_of, first_of, then and sha, \
                     for example {\"source\": [\"github\"], \"match\": [\"conclusion=success\"]}"
                        .to_owned()
                }
            },
            BadQuestion::OnlyForbidden if spelling == Spelling::Arguments => {
                "none_of alone could only fail: say also what to wait for".to_owned()
            }
            BadQuestion::OnlyForbidden => "--none-of alone could only fail: say also what to wait for, or for how long it \
                                           must not happen, with --quiet-for DURATION"
                .to_owned(),
            BadQuestion::QuietOfNothing => {
                format!("quiet of what? Give {} a condition, or {}", name(Part::QuietFor), name(Part::NoneOf))
            }
            BadQuestion::NoTime => format!("{} needs a duration above 0", name(Part::QuietFor)),
            BadQuestion::Different(one, other) => different(name(*one), name(*other)),
            BadQuestion::PlainBeside(clauses) => format!(
                "{}; a clause names its own source, and `source[key=value]:…` narrows it",
                different(name(Part::Plain), name(*clauses))
            ),
            BadQuestion::ManyVerdicts => format!(
                "{} and {} do not go together: several events have no one verdict",
                name(Part::Count),
                name(Part::Verdict)
            ),
            BadQuestion::NothingSticks => {
                format!("{} is about the clauses of {}, and there are none", name(Part::Sticky), name(Part::AllOf))
            }
            BadQuestion::Empty(part) => format!("{} is empty: no event has an empty name", name(*part)),
            BadQuestion::Clause(part, problem) => format!("{} {problem}", name(*part)),
            BadQuestion::Part(part, problem) if spelling == Spelling::Arguments => {
                format!("{}: {problem}", name(*part))
            }
            BadQuestion::Part(_, problem) | BadQuestion::TooMuch(problem) => problem.clone(),
        }
    }
}

fn different(one: &str, other: &str) -> String {
    format!("{one} and {other} are different questions: ask one of them")
}

impl Conditions {
    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.repo.is_empty() && !self.has_plain()
    }

    /// Whether something was asked for that does not narrow clauses as well.
    fn has_plain(&self) -> bool {
        let named = !(self.source.is_empty() && self.event_type.is_empty());
        named || !self.matching.is_empty() || self.where_.is_some()
    }

    /// The conditions as they were written.
    fn typed(&self, spelling: Spelling) -> String {
        let parts = [
            (Part::Source, &self.source),
            (Part::Type, &self.event_type),
            (Part::Repo, &self.repo),
            (Part::Match, &self.matching),
            (Part::Where, &self.where_.iter().cloned().collect()),
        ];
        let quoted = |value: &String| {
            if value.contains(char::is_whitespace) { format!("{value:?}") } else { value.clone() }
        };
        let typed = parts.into_iter().flat_map(|(part, values)| {
            values.iter().map(move |value| format!("{} {}", spelling.of(part), quoted(value)))
        });
        typed.collect::<Vec<_>>().join(" ")
    }

    /// The subscription that asks for them, checked here so that a mistake is told before anything is started.
    pub fn subscribe(&self) -> Result<Subscribe, BadQuestion> {
        let mut all = self.matching.clone();
        for source in &self.source {
            // Quoted, because a source may be called `true` or `12`.
            all.push(format!("source={}", serde_json::Value::String(source.clone())));
        }
        for (part, names) in [(Part::Source, &self.source), (Part::Type, &self.event_type)] {
            if names.iter().any(String::is_empty) {
                return Err(BadQuestion::Empty(part));
            }
        }
        let subscribe = Subscribe {
            filters: if self.repo.is_empty() { vec!["*".to_owned()] } else { self.repo.clone() },
            event_types: self.event_type.clone(),
            alternatives: if all.is_empty() { Vec::new() } else { vec![all] },
            where_: self.where_.clone(),
            heartbeat: false,
            ..Subscribe::default()
        };
        check(&subscribe)?;
        Ok(subscribe)
    }
}

/// What the hub would refuse is refused before one is started.
fn check(subscribe: &Subscribe) -> Result<(), BadQuestion> {
    let count = subscribe.alternatives.iter().map(|conditions| conditions.len().max(1)).sum::<usize>();
    if count > MAX_CONDITIONS {
        return Err(BadQuestion::TooMuch(format!(
            "these are {count} conditions together, each clause's source, scope and keys counted, but the hub takes at \
             most {MAX_CONDITIONS} for one subscriber: ask for less in one wait"
        )));
    }
    for (part, alone) in alone(subscribe) {
        alone.filter().map_err(|rejection| BadQuestion::Part(part, rejection.remediation))?;
    }
    let refused = |rejection: Rejection| BadQuestion::TooMuch(rejection.remediation);
    let text = serde_json::to_vec(subscribe).map_err(|error| BadQuestion::TooMuch(error.to_string()))?;
    if text.len() > MAX_FRAME_BYTES {
        let problem = format!("the conditions have {} bytes together, but at most {MAX_FRAME_BYTES} fit", text.len());
        return Err(BadQuestion::TooMuch(problem));
    }
    Subscribe::parse(&text).and_then(|read| read.filter()).map_err(refused)?;
    Ok(())
}

/// The same with one part alone, so that what is wrong has a name.
fn alone(subscribe: &Subscribe) -> [(Part, Subscribe); 3] {
    let nothing = Subscribe::default();
    [
        (Part::Repo, Subscribe { filters: subscribe.filters.clone(), ..nothing.clone() }),
        (Part::Match, Subscribe { alternatives: subscribe.alternatives.clone(), ..nothing.clone() }),
        (Part::Where, Subscribe { where_: subscribe.where_.clone(), ..nothing }),
    ]
}

impl Asked {
    /// The question, checked so that a mistake is told before anything is started.
    pub fn question(&self, spelling: Spelling) -> Result<Box<dyn Question>, BadQuestion> {
        self.check()?;
        let [all_of, first_of, then, none_of] = [
            (Part::AllOf, &self.all_of),
            (Part::FirstOf, &self.first_of),
            (Part::Then, &self.then),
            (Part::NoneOf, &self.none_of),
        ]
        .map(|(part, texts)| clauses(part, texts));
        let repos = self.conditions.repo.clone();
        let (all_of, first_of, then, none_of) = (all_of?, first_of?, then?, none_of?);
        let question: Box<dyn Question> = if !all_of.is_empty() {
            Box::new(AllOf::new(all_of, repos, self.sticky))
        } else if !first_of.is_empty() {
            Box::new(FirstOf { clauses: first_of, repos, until: self.until() })
        } else if !then.is_empty() {
            Box::new(Sequence::new(then, repos))
        } else if let Some(duration) = self.quiet_for {
            Box::new(Quiet::new(self.plain(spelling)?, duration))
        } else {
            Box::new(Matches { asked: self.plain(spelling)?, until: self.until() })
        };
        check(&question.subscription())?;
        if none_of.is_empty() {
            return Ok(question);
        }
        let guarded =
            NoneOf::guard(question, none_of).map_err(|rejection| BadQuestion::TooMuch(rejection.remediation))?;
        check(&guarded.subscription())?;
        Ok(Box::new(guarded))
    }

    fn until(&self) -> Until {
        if self.verdict { Until::Concluded } else { Until::Seen(self.count.unwrap_or(NonZeroU64::MIN)) }
    }

    fn plain(&self, spelling: Spelling) -> Result<Plain, BadQuestion> {
        let conditions = &self.conditions;
        let subscribe = if conditions.is_empty() { subscription::nothing() } else { conditions.subscribe()? };
        let typed = if conditions.is_empty() {
            format!("what {} forbids", spelling.of(Part::NoneOf))
        } else {
            conditions.typed(spelling)
        };
        let filter = subscribe.filter().map_err(|rejection| BadQuestion::TooMuch(rejection.remediation))?;
        let sources = filter.sources().into_iter().map(str::to_owned).collect();
        Ok(Plain { subscribe, sources, typed })
    }

    /// Refuses what does not go together.
    pub fn check(&self) -> Result<(), BadQuestion> {
        let kinds: Vec<_> = [
            (Part::AllOf, !self.all_of.is_empty()),
            (Part::FirstOf, !self.first_of.is_empty()),
            (Part::Then, !self.then.is_empty()),
            (Part::QuietFor, self.quiet_for.is_some()),
            (Part::Sha, self.sha),
        ]
        .into_iter()
        .filter_map(|(part, given)| given.then_some(part))
        .collect();
        let other_than = |with: &[Part]| kinds.iter().find(|kind| !with.contains(kind)).copied();
        if let [first, second, ..] = *kinds {
            return Err(BadQuestion::Different(first, second));
        }
        if self.conditions.has_plain()
            && let Some(clauses) = other_than(&[Part::QuietFor])
        {
            return Err(BadQuestion::PlainBeside(clauses));
        }
        if self.count.is_some()
            && let Some(other) = other_than(&[Part::FirstOf])
        {
            return Err(BadQuestion::Different(Part::Count, other));
        }
        if self.verdict
            && let Some(other) = other_than(&[Part::FirstOf, Part::Sha])
        {
            return Err(BadQuestion::Different(Part::Verdict, other));
        }
        if self.verdict && self.count.is_some() {
            return Err(BadQuestion::ManyVerdicts);
        }
        if self.sha && !self.none_of.is_empty() {
            return Err(BadQuestion::Different(Part::NoneOf, Part::Sha));
        }
        if self.sticky && self.all_of.is_empty() {
            return Err(BadQuestion::NothingSticks);
        }
        if self.quiet_for == Some(Duration::ZERO) {
            return Err(BadQuestion::NoTime);
        }
        if kinds.is_empty() && self.conditions.is_empty() {
            return Err(if self.none_of.is_empty() { BadQuestion::Nothing } else { BadQuestion::OnlyForbidden });
        }
        if kinds == [Part::QuietFor] && self.conditions.is_empty() && self.none_of.is_empty() {
            return Err(BadQuestion::QuietOfNothing);
        }
        Ok(())
    }
}

fn clauses(part: Part, texts: &[String]) -> Result<Vec<Clause>, BadQuestion> {
    let parse = |text: &String| Clause::parse(text).map_err(|error| BadQuestion::Clause(part, error.to_string()));
    texts.iter().map(parse).collect()
}
