//! Every composition against a naive evaluation: over the whole history at once, written from the specification, and
//! sharing nothing with the state machines but the text of a clause.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::all_of::AllOf;
use super::first_of::FirstOf;
use super::matches::{Matches, Plain, Until};
use super::none_of::NoneOf;
use super::quiet::Quiet;
use super::sequence::Sequence;
use super::{Ending, Question, Step, subscription};
use crate::model::clause::Clause;
use crate::model::event::Record;
use crate::model::event::tests::record;
use crate::model::frame::Subscribe;
use crate::model::verdict::Verdict;

/// An event as the model knows it.
#[derive(Clone, Debug)]
struct Happened {
    source: &'static str,
    job: Option<&'static str>,
    conclusion: Option<&'static str>,
    /// Seconds since the event before it.
    after: u64,
}

impl Happened {
    fn record(&self, index: usize) -> Record {
        let mut fields = serde_json::Map::new();
        fields.extend(self.job.map(|job| ("job".to_owned(), json!(job))));
        fields.extend(self.conclusion.map(|conclusion| ("conclusion".to_owned(), json!(conclusion))));
        record(i64::try_from(index).unwrap() + 1, self.source, &Value::Object(fields))
    }
}

/// A clause as the model knows it: a conclusion of a source, of one job if it has brackets.
#[derive(Clone, Debug)]
struct Said {
    source: &'static str,
    job: Option<&'static str>,
    conclusion: &'static str,
}

impl Said {
    fn text(&self) -> String {
        let scope = self.job.map(|job| format!("[job={job}]")).unwrap_or_default();
        format!("{}{scope}:conclusion={}", self.source, self.conclusion)
    }

    fn clause(&self) -> Clause {
        Clause::parse(&self.text()).unwrap()
    }

    fn has_in_scope(&self, event: &Happened) -> bool {
        let narrowed = match self.job {
            Some(job) => event.job == Some(job),
            None => event.conclusion.is_some(),
        };
        event.source == self.source && narrowed
    }

    fn is_satisfied_by(&self, event: &Happened) -> bool {
        self.has_in_scope(event) && event.conclusion == Some(self.conclusion)
    }
}

#[derive(Clone, Debug)]
enum Asked {
    AllOf {
        said: Vec<Said>,
        sticky: bool,
    },
    FirstOf {
        said: Vec<Said>,
        count: usize,
    },
    Then(Vec<Said>),
    /// So many events of a source.
    Matches {
        source: &'static str,
        count: usize,
    },
    /// So many seconds without an event of a source.
    Quiet {
        source: &'static str,
        seconds: u64,
    },
}

fn clauses(said: &[Said]) -> Vec<Clause> {
    said.iter().map(Said::clause).collect()
}

fn until(count: usize) -> Until {
    Until::Seen(NonZeroU64::new(count as u64).unwrap())
}

fn plain(source: &str) -> Plain {
    let subscribe = subscription::any_of(&[], [vec![format!("source={source}")]]);
    Plain { subscribe, sources: vec![source.to_owned()], typed: format!("--source {source}") }
}

impl Asked {
    fn question(&self) -> Box<dyn Question> {
        match self {
            Asked::AllOf { said, sticky } => Box::new(AllOf::new(clauses(said), Vec::new(), *sticky)),
            Asked::FirstOf { said, count } => {
                Box::new(FirstOf { clauses: clauses(said), repos: Vec::new(), until: until(*count) })
            }
            Asked::Then(said) => Box::new(Sequence::new(clauses(said), Vec::new())),
            Asked::Matches { source, count } => Box::new(Matches { asked: plain(source), until: until(*count) }),
            Asked::Quiet { source, seconds } => Box::new(Quiet::new(plain(source), Duration::from_secs(*seconds))),
        }
    }

    /// Whether this history is the answer; `known` of its events were there before anybody asked.
    fn is_answered_by(&self, history: &[Happened], known: usize) -> bool {
        match self {
            Asked::AllOf { said, sticky: true } => {
                said.iter().all(|said| history.iter().any(|event| said.is_satisfied_by(event)))
            }
            Asked::AllOf { said, sticky: false } => {
                let newest = |said: &Said| history.iter().rfind(|event| said.has_in_scope(event));
                let holds = |said: &Said| newest(said).is_some_and(|event| said.is_satisfied_by(event));
                history.len() >= known && said.iter().all(holds)
            }
            Asked::FirstOf { said, count } => {
                history.iter().filter(|event| said.iter().any(|said| said.is_satisfied_by(event))).count() >= *count
            }
            Asked::Then(said) => follows(said, history),
            Asked::Matches { source, count } => {
                history.iter().filter(|event| event.source == *source).count() >= *count
            }
            Asked::Quiet { .. } => false,
        }
    }

    /// After how many seconds there has been silence for long enough.
    fn is_quiet_after(&self, history: &[Happened]) -> Option<u64> {
        let Asked::Quiet { source, seconds } = self else { return None };
        let at = |index: usize| history[..=index].iter().map(|event| event.after).sum::<u64>();
        let heard: Vec<_> = (0..history.len()).filter(|&i| history[i].source == *source).map(at).collect();
        let silent = |from: &u64| !heard.iter().any(|time| (*from + 1..=from + seconds).contains(time));
        [0].into_iter().chain(heard.iter().copied()).find(silent).map(|from| from + seconds)
    }
}

/// Whether the events that satisfy these clauses can be picked in this order.
fn follows(said: &[Said], history: &[Happened]) -> bool {
    let Some((first, rest)) = said.split_first() else { return true };
    (0..history.len()).any(|index| first.is_satisfied_by(&history[index]) && follows(rest, &history[index + 1..]))
}

/// How it ends, by the specification: the verdict, and after how many events; `None` if it does not.
fn naive(asked: &Asked, forbidden: &[Said], history: &[Happened], known: usize) -> Option<(Verdict, usize)> {
    let answered = (1..=history.len()).find(|&length| asked.is_answered_by(&history[..length], known));
    let quiet = asked.is_quiet_after(history).map(|seconds| {
        let before = |length: &usize| history[..*length].iter().map(|event| event.after).sum::<u64>() <= seconds;
        (0..=history.len()).rfind(before).unwrap()
    });
    let happened = history.iter().position(|event| forbidden.iter().any(|said| said.is_satisfied_by(event)));
    let answered = answered.or(quiet);
    match happened.map(|index| index + 1) {
        Some(length) if answered.is_none_or(|answered| length <= answered) => {
            Some((Verdict::Failure("none_of".into()), length))
        }
        _ => answered.map(|length| (Verdict::Success, length)),
    }
}

/// How it ends, as the program does it.
fn driven(
    mut question: Box<dyn Question>,
    history: &[Happened],
    known: usize,
) -> Option<(Ending, usize, Box<dyn Question>)> {
    let filter = question.subscription().filter().unwrap();
    let start = Instant::now();
    let mut now = start;
    question.begin(start);
    for (index, event) in history.iter().enumerate() {
        now += Duration::from_secs(event.after);
        if let Some(ending) = question.deadline().filter(|&due| due < now).and_then(|due| question.tick(due)) {
            return Some((ending, index, question));
        }
        let record = event.record(index);
        if filter.wants(&record)
            && let Step::Ends(ending) = question.see(&record, now)
        {
            return Some((ending, index + 1, question));
        }
        if index + 1 >= known
            && let Some(ending) = question.standing()
        {
            return Some((ending, index + 1, question));
        }
    }
    let ending = question.deadline().and_then(|due| question.tick(due))?;
    Some((ending, history.len(), question))
}

fn happened() -> impl Strategy<Value = Happened> {
    let (source, job) = (prop::sample::select(vec!["a", "b"]), prop::sample::select(vec![None, Some("x"), Some("y")]));
    let conclusion = prop::sample::select(vec![None, Some("success"), Some("failure"), Some("success")]);
    (source, job, conclusion, 0..4_u64).prop_map(|(source, job, conclusion, after)| Happened {
        source,
        job,
        conclusion,
        after,
    })
}

fn said() -> impl Strategy<Value = Said> {
    let (source, job) = (prop::sample::select(vec!["a", "b"]), prop::sample::select(vec![None, Some("x"), Some("y")]));
    let conclusion = prop::sample::select(vec!["success", "failure"]);
    (source, job, conclusion).prop_map(|(source, job, conclusion)| Said { source, job, conclusion })
}

fn asked() -> impl Strategy<Value = Asked> {
    let several = || prop::collection::vec(said(), 1..4);
    let source = || prop::sample::select(vec!["a", "b"]);
    prop_oneof![
        2 => (several(), any::<bool>()).prop_map(|(said, sticky)| Asked::AllOf { said, sticky }),
        1 => (several(), 1..4_usize).prop_map(|(said, count)| Asked::FirstOf { said, count }),
        1 => several().prop_map(Asked::Then),
        1 => (source(), 1..4_usize).prop_map(|(source, count)| Asked::Matches { source, count }),
        1 => (source(), 1..8_u64).prop_map(|(source, seconds)| Asked::Quiet { source, seconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_composition_says_what_a_naive_evaluation_of_the_whole_history_says(
        asked in asked(),
        forbidden in prop::collection::vec(said(), 0..2),
        history in prop::collection::vec(happened(), 0..12),
        known in 0..12_usize,
    ) {
        let known = known.min(history.len());
        let mut question = asked.question();
        if !forbidden.is_empty() {
            question = Box::new(NoneOf::guard(question, clauses(&forbidden)).unwrap());
        }
        let ended = driven(question, &history, known);
        let told = ended.as_ref().map(|(ending, length, _)| (ending.verdict.clone(), *length));
        prop_assert_eq!(told, naive(&asked, &forbidden, &history, known));
    }
}

fn event(source: &'static str, job: &'static str, conclusion: &'static str) -> Happened {
    Happened { source, job: Some(job), conclusion: Some(conclusion), after: 1 }
}

fn ask(source: &'static str, job: Option<&'static str>) -> Said {
    Said { source, job, conclusion: "success" }
}

#[test]
fn a_composition_shows_the_events_that_decided_with_their_clauses() {
    let history = [
        event("a", "x", "success"),
        event("a", "y", "success"),
        event("a", "x", "failure"),
        event("a", "x", "success"),
    ];
    let said = vec![ask("a", Some("x")), ask("a", Some("y"))];
    let asked = Asked::AllOf { said, sticky: false };
    let lines = |known| {
        let (ending, _, _) = driven(asked.question(), &history, known).unwrap();
        ending.shown.into_iter().map(|shown| shown.line).collect::<Vec<_>>()
    };
    let all = ["a[job=x]:conclusion=success: event 1", "a[job=y]:conclusion=success: event 2"];
    assert_eq!(lines(0), all);
    assert_eq!(lines(4), ["a[job=x]:conclusion=success: event 4", all[1]]);
    let (ending, _, _) = driven(asked.question(), &history, 0).unwrap();
    assert_eq!(ending.shown[1].json["clause"], "a[job=y]:conclusion=success");
    assert_eq!(ending.shown[1].json["cursor"], ending.shown[1].json["event_id"]);
}

#[test]
fn what_is_outstanding_shrinks_and_grows_again() {
    let mut question = Asked::AllOf { said: vec![ask("a", None), ask("b", None)], sticky: false }.question();
    let now = Instant::now();
    let mut see = |happened: Happened| {
        question.see(&happened.record(0), now);
        question.outstanding()
    };
    let (a, b) = ("a:conclusion=success", "b:conclusion=success");
    assert_eq!(see(event("a", "x", "success")), [b]);
    assert_eq!(see(event("a", "x", "failure")), [a, b]);
    let mut steps = Asked::Then(vec![ask("a", None), ask("b", None)]).question();
    assert_eq!(steps.outstanding(), [a, b]);
    assert!(matches!(steps.see(&event("a", "x", "success").record(0), now), Step::Counts(_)));
    assert_eq!(steps.outstanding(), [b]);
}

#[test]
fn a_question_is_lost_when_the_sources_that_could_answer_it_are_dead() {
    let dead = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let (a, b, both) = (dead(&["a"]), dead(&["b"]), dead(&["a", "b"]));
    let two = vec![ask("a", None), ask("b", None)];
    let mut all = Asked::AllOf { said: two.clone(), sticky: false }.question();
    assert!(all.is_lost_without(&a) && !all.is_lost_without(&dead(&["c"])));
    all.see(&event("a", "x", "success").record(0), Instant::now());
    assert!(!all.is_lost_without(&a), "it has said what was asked of it");
    let first = Asked::FirstOf { said: two.clone(), count: 1 }.question();
    assert!(!first.is_lost_without(&a) && first.is_lost_without(&both));
    let mut then = Asked::Then(two).question();
    assert!(then.is_lost_without(&b));
    then.see(&event("a", "x", "success").record(0), Instant::now());
    assert!(!then.is_lost_without(&a));
    let matches = || Asked::Matches { source: "a", count: 1 }.question();
    assert!(matches().is_lost_without(&a) && !matches().is_lost_without(&b));
    assert!(Asked::Quiet { source: "a", seconds: 1 }.question().is_lost_without(&a), "the dead are always silent");
    assert!(NoneOf::guard(matches(), vec![ask("b", None).clause()]).unwrap().is_lost_without(&b));
    let anywhere = Plain { subscribe: Subscribe::default(), sources: Vec::new(), typed: String::new() };
    assert!(!Matches { asked: anywhere, until: until(1) }.is_lost_without(&both));
}

#[test]
fn a_verdict_is_the_events_own_and_an_event_without_one_ends_nothing() {
    let mut question = Matches { asked: plain("a"), until: Until::Concluded };
    let filter = question.subscription().filter().unwrap();
    let now = Instant::now();
    for (fields, word) in [
        (json!({}), None),
        (json!({"conclusion": null}), None),
        (json!({"conclusion": ""}), None),
        (json!({"conclusion": 1}), None),
        (json!({"conclusion": "success"}), Some("success")),
        (json!({"conclusion": "cancelled"}), Some("cancelled")),
        (json!({"conclusion": "neutral"}), Some("neutral")),
    ] {
        let record = record(1, "a", &fields);
        assert_eq!(filter.wants(&record), fields.get("conclusion").is_some(), "{fields}");
        let told = match question.see(&record, now) {
            Step::Ends(ending) => Some(ending.verdict),
            Step::Aside => None,
            Step::Counts(_) => panic!("{fields}"),
        };
        assert_eq!(told, word.map(Verdict::of), "{fields}");
    }
}

#[test]
fn the_clause_that_is_told_is_the_one_that_is_satisfied() {
    let said = vec![ask("a", None), Said { source: "a", job: None, conclusion: "failure" }];
    let mut first = Asked::FirstOf { said, count: 1 }.question();
    let Step::Ends(ending) = first.see(&event("a", "x", "failure").record(0), Instant::now()) else { panic!() };
    assert_eq!(ending.shown[0].json["clause"], "a:conclusion=failure");
}

#[test]
fn what_comes_only_because_it_could_have_been_forbidden_answers_nothing() {
    // Several `=` on one key are alternatives for the hub, so it sends more than what satisfies such a clause.
    let forbidden = Clause::parse("a[job=x]:job=y").unwrap();
    let question = Asked::Matches { source: "b", count: 1 }.question();
    let mut guarded = NoneOf::guard(question, vec![forbidden]).unwrap();
    let (other, wanted) = (event("a", "x", "success").record(0), event("b", "x", "success").record(1));
    assert!(guarded.subscription().filter().unwrap().wants(&other));
    assert_eq!(guarded.see(&other, Instant::now()), Step::Aside);
    assert!(matches!(guarded.see(&wanted, Instant::now()), Step::Ends(_)));

    let subscribe = Subscribe { where_: Some("fields.job == \"x\"".into()), ..plain("b").subscribe };
    let question = Matches { asked: Plain { subscribe, ..plain("b") }, until: until(1) };
    let mut guarded = NoneOf::guard(Box::new(question), vec![ask("a", None).clause()]).unwrap();
    assert!(guarded.subscription().filter().unwrap().wants(&event("a", "y", "success").record(0)));
    assert_eq!(guarded.see(&event("b", "y", "success").record(0), Instant::now()), Step::Aside);
    assert!(matches!(guarded.see(&wanted, Instant::now()), Step::Ends(_)));
}
