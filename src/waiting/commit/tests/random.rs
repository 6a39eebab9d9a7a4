//! Random histories with re-runs, told in any order and more than once, against what a list of last words says.

use proptest::prelude::*;

use super::*;

const WORDS: [&str; 8] = ["success", "success", "failure", "cancelled", "timed_out", "skipped", "neutral", "stale"];

/// Something that is judged, as it really went.
#[derive(Clone, Debug)]
struct Story {
    /// Run with jobs, jobs alone, check, status.
    kind: u8,
    /// How each attempt ended; the last one may go on.
    attempts: Vec<&'static str>,
    goes_on: bool,
}

impl Story {
    fn last_word(&self) -> Option<&'static str> {
        if self.goes_on { None } else { self.attempts.last().copied() }
    }

    /// Everything that is told of it, in the order in which it happened.
    fn told(&self, id: i64) -> Vec<Said> {
        let mut told = Vec::new();
        for (attempt, word) in (1..).zip(&self.attempts) {
            let open = self.goes_on && usize::try_from(attempt).unwrap() == self.attempts.len();
            let mut phases = vec!["queued", "in_progress", word];
            phases.truncate(if open { 2 } else { 3 });
            for phase in phases {
                match self.kind {
                    0 => {
                        told.push(run(id, attempt, phase));
                        // A job that must not count: it says the opposite.
                        told.push(job(id, "a", attempt, if phase == "failure" { "success" } else { "failure" }));
                        told.push(check("github-actions", "a", id * 1000 + attempt, "failure"));
                    }
                    1 => told.push(job(id, "a", attempt, phase)),
                    2 => told.push(check("lint", &format!("c{id}"), id * 1000 + attempt, phase)),
                    // A status has no phases: each word of a context is newer than the one before.
                    _ => {
                        let number = id * 1000 + attempt * 10 + i64::try_from(told.len()).unwrap();
                        told.push(status(&format!("s{id}"), number, phase));
                    }
                }
            }
        }
        told
    }
}

fn story() -> impl Strategy<Value = Story> {
    let attempts = prop::collection::vec(prop::sample::select(&WORDS), 1..4);
    (0u8..4, attempts, any::<bool>()).prop_map(|(kind, attempts, goes_on)| Story { kind, attempts, goes_on })
}

/// Each event once or twice, in any order; pushes keep theirs.
fn history() -> impl Strategy<Value = (Vec<Story>, bool, Vec<Said>, usize)> {
    let stories = (prop::collection::vec(story(), 0..5), any::<bool>());
    let told = stories.prop_flat_map(|(stories, superseded)| {
        let said: Vec<_> = (1..).zip(&stories).flat_map(|(id, story)| story.told(id)).collect();
        let twice = said.iter().step_by(3).cloned();
        let all: Vec<_> = said.iter().cloned().chain(twice).collect();
        (Just(stories), Just(superseded), Just(all).prop_shuffle(), any::<(prop::sample::Index, prop::sample::Index)>())
    });
    (told, any::<prop::sample::Index>()).prop_map(|((stories, superseded, mut all, (one, two)), split)| {
        let first = one.index(all.len() + 1);
        all.insert(first, push("main", OLDER, SHA));
        if superseded {
            all.insert(first + 1 + two.index(all.len() - first), push("main", SHA, NEWER));
        }
        let split = split.index(all.len());
        (stories, superseded, all, split)
    })
}

/// `success`, `failure`, `neither`, or `-` for none.
fn naive(stories: &[Story], superseded: bool, fail_fast: bool) -> &'static str {
    let last: Vec<_> = stories.iter().map(Story::last_word).collect();
    let any = |words: &[&str]| last.iter().flatten().any(|word| words.contains(word));
    let (failed, cancelled) = (any(&["failure", "timed_out"]), any(&["cancelled"]));
    let open = last.contains(&None);
    let early = fail_fast && (failed || cancelled || superseded);
    if open && !early {
        "-"
    } else if failed {
        "failure"
    } else if superseded && (open || cancelled) {
        "neither"
    } else if cancelled {
        "failure"
    } else if any(&["success"]) && !any(&["stale"]) {
        "success"
    } else if last.is_empty() && !superseded {
        "-"
    } else {
        "neither"
    }
}

fn kind(verdict: Option<&Verdict>) -> &'static str {
    match verdict {
        None => "-",
        Some(Verdict::Success) => "success",
        Some(Verdict::Failure(_)) => "failure",
        Some(Verdict::Neither(_)) => "neither",
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_verdict_is_that_of_the_last_words_in_whatever_order_they_come(
        (stories, superseded, history, split) in history()
    ) {
        for fail_fast in [true, false] {
            let asked = Asked { fail_fast, ..asked() };
            let expected = naive(&stories, superseded, fail_fast);
            prop_assert_eq!(kind(verdict(asked.clone(), &history).as_ref()), expected, "{:?}", history);

            // Some of it from the log, the rest while it is waited for.
            let (mut commit, _) = past(asked, &history[..split], 0);
            for (seq, said) in history.iter().enumerate().skip(split) {
                commit.see(&said.record(seq), commit.clock.now);
            }
            let later = commit.clock.now + Duration::from_hours(1);
            let ending = commit.standing().or_else(|| commit.tick(later));
            prop_assert_eq!(kind(ending.as_ref().map(|ending| &ending.verdict)), expected, "split at {}", split);
        }
    }

    #[test]
    fn no_fields_make_it_panic_or_succeed_by_accident(
        kind in prop::sample::select(vec!["workflow_run", "workflow_job", "check_run", "check_suite", "status", "push", "pull_request", "x"]),
        values in prop::collection::btree_map(
            prop::sample::select(vec!["run_id", "run_attempt", "status", "conclusion", "job_id", "job_name", "app", "before",
                "head_branch", "head_repo", "check_suite_id", "check_name", "context", "deleted", "action", "trigger"]),
            prop::sample::select(vec![json!(null), json!(1), json!(-1), json!("x"), json!(true), json!([]), json!(SHA), json!("completed")]),
            0..16,
        ),
    ) {
        let fields = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let said = Said::new(kind, Value::Object(fields));
        let (commit, ending) = past(asked(), &[said.clone(), said], 1_000_000);
        prop_assert_ne!(ending.map(|ending| ending.verdict), Some(Verdict::Success));
        let _ = (commit.outstanding(), commit.subscription());
    }
}
