//! Which field of an event comes from where in its payload: one table per event type, one row per field.
//!
//! The names that several events share mean the same in all of them. Where a name has several rows, the first that
//! gives a value wins.

use Kind::{Commit, Count, Flag, Number, Text, Under};

/// What a payload's value must be to become a field, and what it becomes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A text that is not empty: GitHub writes `""` as often as null for "none".
    Text,
    /// The rest of a text that starts like this.
    Under(&'static str),
    /// The id of a commit; all zeros is git's way to write that there is none.
    Commit,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
    /// A list, of which the length is taken.
    Count,
}

/// Name of the field, what it is, and the JSON pointer (RFC 6901) to it.
pub(super) type Row = (&'static str, Kind, &'static str);

/// What the envelope of every delivery has.
pub(super) const EVERY_EVENT: &[Row] = &[("action", Text, "/action"), ("actor", Text, "/sender/login")];

const WORKFLOW_RUN: &[Row] = &[
    ("run_id", Number, "/workflow_run/id"),
    ("run_attempt", Number, "/workflow_run/run_attempt"),
    ("run_number", Number, "/workflow_run/run_number"),
    // The run's own `name` is empty or the run-name in some deliveries (actions/runner#4141).
    ("workflow_name", Text, "/workflow/name"),
    ("workflow_name", Text, "/workflow_run/name"),
    ("title", Text, "/workflow_run/display_title"),
    ("trigger", Text, "/workflow_run/event"),
    ("head_branch", Text, "/workflow_run/head_branch"),
    ("head_repo", Text, "/workflow_run/head_repository/full_name"),
    ("head_sha", Commit, "/workflow_run/head_sha"),
    ("status", Text, "/workflow_run/status"),
    ("conclusion", Text, "/workflow_run/conclusion"),
    ("check_suite_id", Number, "/workflow_run/check_suite_id"),
    ("pr_number", Number, "/workflow_run/pull_requests/0/number"),
    ("url", Text, "/workflow_run/html_url"),
];

const WORKFLOW_JOB: &[Row] = &[
    ("job_id", Number, "/workflow_job/id"),
    ("job_name", Text, "/workflow_job/name"),
    ("run_id", Number, "/workflow_job/run_id"),
    ("parent_run_id", Number, "/workflow_job/run_id"),
    ("run_attempt", Number, "/workflow_job/run_attempt"),
    ("workflow_name", Text, "/workflow_job/workflow_name"),
    ("head_branch", Text, "/workflow_job/head_branch"),
    ("head_sha", Commit, "/workflow_job/head_sha"),
    ("status", Text, "/workflow_job/status"),
    ("conclusion", Text, "/workflow_job/conclusion"),
    ("url", Text, "/workflow_job/html_url"),
];

const CHECK_RUN: &[Row] = &[
    ("check_run_id", Number, "/check_run/id"),
    ("check_name", Text, "/check_run/name"),
    ("check_suite_id", Number, "/check_run/check_suite/id"),
    ("app", Text, "/check_run/app/slug"),
    ("app", Text, "/check_run/app/name"),
    ("head_branch", Text, "/check_run/check_suite/head_branch"),
    ("head_sha", Commit, "/check_run/head_sha"),
    ("status", Text, "/check_run/status"),
    ("conclusion", Text, "/check_run/conclusion"),
    ("pr_number", Number, "/check_run/pull_requests/0/number"),
    ("url", Text, "/check_run/html_url"),
];

const CHECK_SUITE: &[Row] = &[
    ("check_suite_id", Number, "/check_suite/id"),
    ("app", Text, "/check_suite/app/slug"),
    ("app", Text, "/check_suite/app/name"),
    ("head_branch", Text, "/check_suite/head_branch"),
    ("head_sha", Commit, "/check_suite/head_sha"),
    ("status", Text, "/check_suite/status"),
    ("conclusion", Text, "/check_suite/conclusion"),
    ("pr_number", Number, "/check_suite/pull_requests/0/number"),
];

const STATUS: &[Row] = &[
    ("status_id", Number, "/id"),
    ("context", Text, "/context"),
    ("state", Text, "/state"),
    ("description", Text, "/description"),
    ("head_sha", Commit, "/sha"),
    ("url", Text, "/target_url"),
    ("url", Text, "/commit/html_url"),
];

const DEPLOYMENT_STATUS: &[Row] = &[
    ("deployment_id", Number, "/deployment/id"),
    ("environment", Text, "/deployment_status/environment"),
    ("environment", Text, "/deployment/environment"),
    ("state", Text, "/deployment_status/state"),
    ("description", Text, "/deployment_status/description"),
    ("ref", Text, "/deployment/ref"),
    ("head_sha", Commit, "/deployment/sha"),
    ("run_id", Number, "/workflow_run/id"),
    ("workflow_name", Text, "/workflow/name"),
    ("url", Text, "/deployment_status/log_url"),
    ("url", Text, "/deployment_status/target_url"),
];

const PUSH: &[Row] = &[
    ("ref", Text, "/ref"),
    ("head_branch", Under("refs/heads/"), "/ref"),
    ("tag", Under("refs/tags/"), "/ref"),
    ("head_sha", Commit, "/after"),
    ("before", Commit, "/before"),
    ("commits", Count, "/commits"),
    ("forced", Flag, "/forced"),
    ("created", Flag, "/created"),
    ("deleted", Flag, "/deleted"),
    ("url", Text, "/compare"),
];

const PULL_REQUEST: &[Row] = &[
    ("pr_number", Number, "/pull_request/number"),
    ("pr_number", Number, "/number"),
    ("title", Text, "/pull_request/title"),
    ("state", Text, "/pull_request/state"),
    ("merged", Flag, "/pull_request/merged"),
    ("draft", Flag, "/pull_request/draft"),
    ("head_branch", Text, "/pull_request/head/ref"),
    ("head_repo", Text, "/pull_request/head/repo/full_name"),
    ("base_branch", Text, "/pull_request/base/ref"),
    ("head_sha", Commit, "/pull_request/head/sha"),
    // When its branch was pushed to: the commit that was there before.
    ("before", Commit, "/before"),
    ("author_association", Text, "/pull_request/author_association"),
    ("url", Text, "/pull_request/html_url"),
];

const PULL_REQUEST_REVIEW: &[Row] = &[
    ("pr_number", Number, "/pull_request/number"),
    ("title", Text, "/pull_request/title"),
    ("review_state", Text, "/review/state"),
    ("draft", Flag, "/pull_request/draft"),
    ("head_branch", Text, "/pull_request/head/ref"),
    ("base_branch", Text, "/pull_request/base/ref"),
    ("head_sha", Commit, "/pull_request/head/sha"),
    ("author_association", Text, "/review/author_association"),
    ("url", Text, "/review/html_url"),
];

const ISSUE_COMMENT: &[Row] = &[
    ("issue_number", Number, "/issue/number"),
    ("title", Text, "/issue/title"),
    ("comment_id", Number, "/comment/id"),
    ("author_association", Text, "/comment/author_association"),
    ("url", Text, "/comment/html_url"),
];

const RELEASE: &[Row] = &[
    ("tag", Text, "/release/tag_name"),
    ("name", Text, "/release/name"),
    ("prerelease", Flag, "/release/prerelease"),
    ("draft", Flag, "/release/draft"),
    ("url", Text, "/release/html_url"),
];

/// For event types without a table: the page that such a delivery is about, the most particular first.
const ANY_OTHER: &[Row] = &[
    ("url", Text, "/comment/html_url"),
    ("url", Text, "/alert/html_url"),
    ("url", Text, "/discussion/html_url"),
    ("url", Text, "/issue/html_url"),
    ("url", Text, "/pull_request/html_url"),
    ("url", Text, "/forkee/html_url"),
    ("issue_number", Number, "/issue/number"),
    ("pr_number", Number, "/pull_request/number"),
];

/// The rows of an event type, besides [`EVERY_EVENT`].
pub(super) fn table(event: &str) -> &'static [Row] {
    match event {
        "workflow_run" => WORKFLOW_RUN,
        "workflow_job" => WORKFLOW_JOB,
        "check_run" => CHECK_RUN,
        "check_suite" => CHECK_SUITE,
        "status" => STATUS,
        "deployment_status" => DEPLOYMENT_STATUS,
        "push" => PUSH,
        "pull_request" => PULL_REQUEST,
        "pull_request_review" => PULL_REQUEST_REVIEW,
        "issue_comment" => ISSUE_COMMENT,
        "release" => RELEASE,
        _ => ANY_OTHER,
    }
}
