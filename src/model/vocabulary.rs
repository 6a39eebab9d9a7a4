//! The names that events have had: sources, types and fields. Whoever asks for one that nobody has had may have
//! mistyped it, and is told so at once instead of waiting for ever.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::event::{ENVELOPE, Record};
use super::filter::Filter;
use super::limits::{MAX_KNOWN_NAMES, MAX_NAME_BYTES, MAX_NOTES};
use super::nearest::nearest;
use super::predicate::{Conjunction, Test};

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `source`
    Source,
    /// `event_type`
    Type,
    /// A key of `fields`.
    Field,
}

impl Kind {
    /// All of them, with the words for them in the log.
    pub const ALL: [(Kind, &'static str); 3] =
        [(Kind::Source, "source"), (Kind::Type, "event_type"), (Kind::Field, "field")];

    /// Names that waitbus and its sources document: asking for them is no mistake before the first such event has come.
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn documented(self) -> &'static [&'static str] {
        match self {
            Kind::Source => &["github", "run", "alertmanager", "pytest", "docker", "fs", "agent"],
            Kind::Type => &[
                "workflow_run",
                "workflow_job",
                "check_run",
                "check_suite",
                "push",
                "pull_request",
                "pull_request_review",
                "issues",
                "issue_comment",
                "status",
                "deployment",
                "deployment_status",
                "release",
                "runs_missed",
                "started",
                "finished",
                "prometheus_alert",
                "prometheus_watchdog",
                "prometheus_heartbeat",
                "prometheus_truncated",
                "pytest_session",
                "pytest_failure",
                "docker_container",
                "fs_change",
                "agent_message",
                "agent_receipt",
                "agent_claim",
                "agent_task_failed",
                "source_exited",
                "source_throttled",
            ],
            Kind::Field => &[
                "status",
                "conclusion",
                "action",
                "actor",
                "name",
                "url",
                "title",
                "description",
                "run_id",
                "run_attempt",
                "run_number",
                "workflow_name",
                "trigger",
                "job_id",
                "job_name",
                "parent_run_id",
                "head_branch",
                "head_repo",
                "head_sha",
                "base_branch",
                "before",
                "ref",
                "tag",
                "commits",
                "forced",
                "created",
                "deleted",
                "check_suite_id",
                "check_run_id",
                "check_name",
                "app",
                "status_id",
                "happened_at",
                "after_run",
                "before_run",
                "context",
                "state",
                "deployment_id",
                "environment",
                "pr_number",
                "merged",
                "draft",
                "author_association",
                "review_state",
                "issue_number",
                "comment_id",
                "prerelease",
                "command",
                "cwd",
                "exit_code",
                "signal",
                "duration_ms",
                "stderr_tail",
                "tests_total",
                "tests_passed",
                "tests_failed",
                "tests_errors",
                "tests_skipped",
                "program",
                "lines_refused",
                "events_per_second",
                "failing_tests",
                "junit_problem",
                "path",
                "kind",
                "from",
                "extension",
                "is_directory",
                "is_complete",
                "is_escaped",
                "rescan",
                "recovered",
                "image",
                "container_id",
                "engine",
                "oom_killed",
                "health",
                "labels",
                "labels_left_out",
                "compose_project",
                "compose_service",
                "started_at",
                "finished_at",
                "recovered",
                "passed",
                "failed",
                "errors",
                "skipped",
                "xfailed",
                "xpassed",
                "failing_tests_total",
                "session_id",
                "test",
                "outcome",
                "when",
                "message",
                "alert_name",
                "alert_severity",
                "alert_fingerprint",
                "labels",
                "annotations",
                "starts_at",
                "ends_at",
                "generator_url",
                "external_url",
                "receiver",
                "group_key",
                "truncated_alerts",
                "within_ms",
                "last_heard",
                "msg_to",
                "msg_from",
                "msg_correlation_id",
                "msg_reply_to",
                "msg_thread",
                "msg_body",
                "msg_id",
            ],
        }
    }

    fn note(self, name: &str, near: Option<&str>) -> String {
        let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        match self {
            Kind::Source => format!("no event so far has the source `{name}`{meant}"),
            Kind::Type => format!("no event so far has the type `{name}`{meant}"),
            Kind::Field => format!("no event so far has a field `{name}`{meant}"),
        }
    }
}

/// A name and what it is the name of.
pub type Name = (Kind, String);

/// Names that events have had.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    names: BTreeMap<Kind, HashSet<String>>,
}

impl Vocabulary {
    /// Adds a name. Returns whether it is new. Beyond a bound none is, and nothing is said about that kind any more.
    pub fn add(&mut self, kind: Kind, name: &str) -> bool {
        let known = self.names.entry(kind).or_default();
        name.len() <= MAX_NAME_BYTES
            && !known.contains(name)
            && known.len() < MAX_KNOWN_NAMES
            && known.insert(name.to_owned())
    }

    /// Adds the names of an event, and returns those that are new.
    pub fn learn(&mut self, record: &Record) -> Vec<Name> {
        let event = &record.event;
        let own = [(Kind::Source, &event.source), (Kind::Type, &event.event_type)];
        let fields = event.fields.keys().map(|field| (Kind::Field, field));
        let all = own.into_iter().chain(fields);
        all.filter(|(kind, name)| self.add(*kind, name)).map(|(kind, name)| (kind, name.clone())).collect()
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.names.iter().flat_map(|(kind, names)| names.iter().map(|name| (*kind, name.as_str())))
    }

    /// Warnings for whoever asks for names that no event has had; `announced` says which sources are known otherwise.
    #[must_use]
    pub fn notes(&self, filter: &Filter, announced: &dyn Fn(&str) -> bool) -> Vec<String> {
        let unknown = asked(filter)
            .into_iter()
            .filter(|(kind, name)| !(self.knows(*kind, name) || *kind == Kind::Source && announced(name)));
        let notes = unknown.filter_map(|(kind, name)| {
            let known = self.names.get(&kind).into_iter().flatten().map(String::as_str);
            let near = nearest(&name, known.chain(kind.documented().iter().copied()));
            // Before the first event every name is new, and only a mistyped one is worth a word.
            (near.is_some() || !self.names.is_empty()).then(|| kind.note(&name, near))
        });
        notes.take(MAX_NOTES).collect()
    }

    /// Whether an event may have had this name. A path is known when the field that it begins with is.
    fn knows(&self, kind: Kind, name: &str) -> bool {
        let known = self.names.get(&kind);
        let is_known = |name: &str| {
            known.is_some_and(|names| names.contains(name))
                || kind.documented().contains(&name)
                || name.len() > MAX_NAME_BYTES
        };
        let beginnings = name.match_indices('.').map(|(at, _)| &name[..at]);
        known.is_some_and(|names| names.len() >= MAX_KNOWN_NAMES)
            || is_known(name)
            || (kind == Kind::Field && beginnings.into_iter().any(is_known))
    }
}

/// The names that a filter asks for, each once.
fn asked(filter: &Filter) -> BTreeSet<Name> {
    let mut asked: BTreeSet<Name> = filter.event_types.iter().map(|kind| (Kind::Type, kind.clone())).collect();
    for condition in filter.alternatives.iter().flat_map(Conjunction::conditions) {
        let key = condition.key.strip_prefix("fields.").unwrap_or(&condition.key);
        let kind = match key {
            "source" => Kind::Source,
            "event_type" => Kind::Type,
            _ => {
                if !is_of_the_event(&condition.key) {
                    asked.insert((Kind::Field, key.to_owned()));
                }
                continue;
            }
        };
        if let Test::Equals(value) | Test::Differs(value) = &condition.test {
            asked.extend(value.as_str().map(|name| (kind, name.to_owned())));
        }
    }
    if let Some(expression) = &filter.where_ {
        for (kind, key) in [(Kind::Source, "source"), (Kind::Type, "event_type")] {
            asked.extend(expression.values_of(key).map(|name| (kind, name.to_owned())));
        }
        let fields = expression.fields().filter(|field| !ENVELOPE.contains(field));
        asked.extend(fields.map(|field| (Kind::Field, field.to_owned())));
    }
    asked
}

/// Whether every event has something under this key.
fn is_of_the_event(key: &str) -> bool {
    let own = ["event_id", "delivery_id", "received_at", "summary", "fields", "payload"];
    let key = key.strip_prefix("fields.").filter(|rest| ENVELOPE.contains(rest)).unwrap_or(key);
    ENVELOPE.contains(&key) || own.contains(&key) || key.starts_with("payload.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event::tests::record;
    use super::super::frame::Subscribe;
    use super::*;

    fn notes(vocabulary: &Vocabulary, conditions: &[&str], where_: Option<&str>, types: &[&str]) -> Vec<String> {
        let strings = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let subscribe = Subscribe {
            alternatives: vec![strings(conditions)],
            event_types: strings(types),
            where_: where_.map(str::to_owned),
            ..Subscribe::default()
        };
        vocabulary.notes(&subscribe.filter().unwrap(), &|source| source == "announced")
    }

    #[test]
    fn a_name_that_no_event_has_had_draws_a_warning_with_the_nearest() {
        let mut vocabulary = Vocabulary::default();
        let event = record(1, "deploy", &json!({"env": "prod", "labels": {"a": {"b": 1}}, "x.y": 1}));
        assert_eq!(vocabulary.learn(&event).len(), 5);
        assert_eq!(vocabulary.learn(&event), [], "once is enough");
        let said = |conditions: &[&str]| notes(&vocabulary, conditions, None, &[]);
        assert_eq!(said(&["source=gihtub"]), ["no event so far has the source `gihtub`; did you mean `github`?"]);
        assert_eq!(said(&["source!=depoly"]), ["no event so far has the source `depoly`; did you mean `deploy`?"]);
        assert_eq!(said(&["source=somebody"]), ["no event so far has the source `somebody`"]);
        assert_eq!(
            said(&["conclusoin=success"]),
            ["no event so far has a field `conclusoin`; did you mean `conclusion`?"]
        );
        assert_eq!(said(&["fields.evn=prod"]), ["no event so far has a field `evn`; did you mean `env`?"]);
        assert_eq!(
            said(&["event_type=finihsed"]),
            ["no event so far has the type `finihsed`; did you mean `finished`?"]
        );
        assert_eq!(notes(&vocabulary, &[], None, &["finish"]).len(), 1);
        let where_ = Some("source == 'gihtub' && fields.evn == 'prod' || 'finihsed' == event_type");
        assert_eq!(notes(&vocabulary, &[], where_, &[]).len(), 3);
        for known in [
            "source=github",
            "source=deploy",
            "source=announced",
            "source~x",
            "env=x",
            "labels.a.b=1",
            "labels.nothing=1",
            "x.y=1",
            "conclusion=success",
            "fields.env=1",
            "fields.source=deploy",
            "event_type=finished",
            "event_type=workflow_run",
            "payload.anything.at.all=1",
            "summary~x",
            "event_id=null",
            "received_at>1",
            "owner=octo",
            "ingest_method=emit",
        ] {
            assert_eq!(said(&[known]), Vec::<String>::new(), "{known}");
        }
    }

    #[test]
    fn before_the_first_event_only_a_mistyped_name_is_worth_a_word() {
        let empty = Vocabulary::default();
        assert_eq!(
            notes(&empty, &["source=github", "source=deploy", "env=prod"], None, &["finished"]),
            Vec::<String>::new()
        );
        assert_eq!(notes(&empty, &["source=gihtub"], None, &[]).len(), 1);
    }

    #[test]
    fn hostile_names_are_bounded_and_silence_is_better_than_a_wrong_word() {
        let mut vocabulary = Vocabulary::default();
        for n in 0..2 * MAX_KNOWN_NAMES {
            vocabulary.add(Kind::Field, &format!("field{n}"));
        }
        assert_eq!(vocabulary.names().count(), MAX_KNOWN_NAMES);
        assert_eq!(notes(&vocabulary, &["conclusoin=1"], None, &[]), Vec::<String>::new());
        assert!(!vocabulary.add(Kind::Source, &"x".repeat(MAX_NAME_BYTES + 1)));
        let many: Vec<_> = (0..60).map(|n| format!("source=nobody{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(notes(&vocabulary, &many, None, &[]).len(), MAX_NOTES);
    }
}
