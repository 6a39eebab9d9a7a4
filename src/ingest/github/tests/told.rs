//! What is told of GitHub's own example deliveries, and of the cases that they lack.

use serde_json::json;

use super::super::tables;
use super::*;
use crate::model::frame::Subscribe;
use crate::model::vocabulary::{self, Vocabulary};

/// Asserts the summary and exactly these fields.
fn assert_says(event: &str, body: &str, summary: &str, fields: &Value) {
    let draft = draft_of(event, body);
    assert_eq!(draft.summary, summary);
    assert_eq!(&Value::Object(draft.fields), fields, "{summary}");
}

/// The summary of a delivery in `octo/hello`.
fn line(event: &str, mut payload: Value) -> String {
    payload["repository"] = json!({"name": "hello", "owner": {"login": "octo"}});
    draft_of(event, &payload.to_string()).summary
}

#[test]
fn runs_and_jobs_are_told_with_their_verdict_only_when_there_is_one() {
    let run = json!({
        "action": "completed", "actor": "Codertocat", "run_id": 289_782_451, "run_attempt": 1, "run_number": 163,
        "workflow_name": "test", "title": "ci(action): update actions/setup-node digest to 8c91899",
        "trigger": "repository_dispatch", "head_branch": "master", "head_repo": "octo-org/octo-repo",
        "head_sha": "3484a3fb816e0859fd6e1cea078d76385ff50625", "status": "completed", "conclusion": "success",
        "check_suite_id": 1_291_536_064, "url": "https://github.com/octo-org/octo-repo/actions/runs/289782451",
    });
    let done = "octo-org/octo-repo: test succeeded on master (run 163) 3484a3f";
    assert_says("workflow_run", payload!("workflow_run.completed"), done, &run);
    let mut requested = run;
    requested["action"] = "requested".into();
    requested["status"] = "queued".into();
    requested.as_object_mut().unwrap().remove("conclusion");
    let queued = "octo-org/octo-repo: test is queued on master (run 163) 3484a3f";
    assert_says("workflow_run", payload!("workflow_run.requested"), queued, &requested);

    let job = json!({
        "action": "completed", "actor": "Codertocat", "job_id": 289_782_451, "job_name": "linters",
        "run_id": 2_202_229_078_u32, "parent_run_id": 2_202_229_078_u32, "run_attempt": 1, "workflow_name": "CodeQL",
        "head_branch": "main", "head_sha": "3484a3fb816e0859fd6e1cea078d76385ff50625", "status": "completed",
        "conclusion": "failure", "url": "https://github.com/octo-org/octo-repo/runs/1291536064",
    });
    let failed = "Octocoders/Hello-World: job linters: failure (CodeQL, run 2202229078)";
    assert_says("workflow_job", payload!("workflow_job.completed.failure.with-organization"), failed, &job);
    let mut running = job;
    running["action"] = "in_progress".into();
    running["status"] = "in_progress".into();
    running["job_name"] = "Analyze (javascript)".into();
    running.as_object_mut().unwrap().remove("conclusion");
    let line = "Octocoders/Hello-World: job Analyze (javascript): in progress (CodeQL, run 2202229078)";
    assert_says("workflow_job", payload!("workflow_job.in_progress"), line, &running);
    running["action"] = "queued".into();
    running["status"] = "queued".into();
    running["job_name"] = "update".into();
    let line = "Octocoders/Hello-World: job update: queued (CodeQL, run 2202229078)";
    assert_says("workflow_job", payload!("workflow_job.queued"), line, &running);
}

#[test]
fn checks_statuses_and_deployments_are_told_with_what_they_check() {
    let line = "Codertocat/Hello-World: check Octocoders-linter: success on changes ec26c3e";
    let check_run = json!({
        "action": "completed", "actor": "Codertocat", "check_run_id": 128_620_228, "check_name": "Octocoders-linter",
        "check_suite_id": 118_578_147, "app": "octocoders-linter", "head_branch": "changes",
        "head_sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821", "status": "completed", "conclusion": "success",
        "pr_number": 2, "url": "https://github.com/Codertocat/Hello-World/runs/128620228",
    });
    assert_says("check_run", payload!("check_run.completed"), line, &check_run);

    let line = "Codertocat/Hello-World: checks of octocoders-linter: success on changes ec26c3e";
    let check_suite = json!({
        "action": "completed", "actor": "Codertocat", "check_suite_id": 118_578_147, "app": "octocoders-linter",
        "head_branch": "changes", "head_sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821", "status": "completed",
        "conclusion": "success", "pr_number": 2,
    });
    assert_says("check_suite", payload!("check_suite.completed"), line, &check_suite);

    let url = "https://github.com/Codertocat/Hello-World/commit/6113728f27ae82c7b1a177c8d03f9e96e0adf246";
    let status = json!({
        "actor": "Codertocat", "status_id": 6_805_126_730_u64, "context": "default", "state": "success", "status": "completed",
        "conclusion": "success", "head_sha": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "url": url,
    });
    assert_says("status", payload!("status"), "Codertocat/Hello-World: status default: success 6113728", &status);

    let line = "Codertocat/Hello-World: deployment to production: success f95f852";
    let deployment = json!({
        "action": "created", "actor": "Codertocat", "deployment_id": 145_988_746, "environment": "production",
        "state": "success", "status": "completed", "conclusion": "success", "ref": "master",
        "head_sha": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
    });
    assert_says("deployment_status", payload!("deployment_status"), line, &deployment);
}

#[test]
fn pushes_pull_requests_and_comments_are_told_with_their_number_and_title() {
    let push = json!({
        "actor": "Codertocat", "ref": "refs/tags/simple-tag", "tag": "simple-tag", "commits": 0, "forced": false,
        "created": false, "deleted": true, "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
        "url": "https://github.com/Codertocat/Hello-World/compare/6113728f27ae...000000000000",
    });
    assert_says("push", PUSH, "Codertocat/Hello-World: tag simple-tag deleted by Codertocat", &push);

    let line = "Codertocat/Hello-World: pull request #2 closed: Update the README with new information.";
    let pull_request = json!({
        "action": "closed", "actor": "Codertocat", "pr_number": 2, "title": "Update the README with new information.",
        "state": "closed", "merged": false, "draft": false, "head_branch": "changes", "base_branch": "master",
        "head_repo": "Codertocat/Hello-World", "head_sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821",
        "author_association": "OWNER", "url": "https://github.com/Codertocat/Hello-World/pull/2",
    });
    assert_says("pull_request", payload!("pull_request.closed"), line, &pull_request);

    let line = "Codertocat/Hello-World: pull request #2 reviewed by Codertocat (commented): \
                Update the README with new information.";
    let review = json!({
        "action": "submitted", "actor": "Codertocat", "pr_number": 2, "draft": false, "review_state": "commented",
        "title": "Update the README with new information.", "head_branch": "changes", "base_branch": "master",
        "head_sha": "ec26c3e57ca3a959ca5aad62de7213c562f8c821", "author_association": "OWNER",
        "url": "https://github.com/Codertocat/Hello-World/pull/2#pullrequestreview-237895671",
    });
    assert_says("pull_request_review", payload!("pull_request_review.submitted"), line, &review);

    let line = "Codertocat/Hello-World: comment by Codertocat on issue #1: Spelling error in the README file";
    let comment = json!({
        "action": "created", "actor": "Codertocat", "issue_number": 1, "comment_id": 492_700_400,
        "title": "Spelling error in the README file", "author_association": "OWNER",
        "url": "https://github.com/Codertocat/Hello-World/issues/1#issuecomment-492700400",
    });
    assert_says("issue_comment", payload!("issue_comment.created"), line, &comment);
}

#[test]
fn a_run_is_summed_up_in_the_words_of_its_outcome() {
    let run = |status: &str, conclusion: Value, attempt: u8| {
        let run = json!({"name": "CI", "head_branch": "main", "head_sha": "a1b2c3d4e5f6", "run_number": 42,
            "run_attempt": attempt, "status": status, "conclusion": conclusion});
        line("workflow_run", json!({"action": "completed", "workflow_run": run}))
    };
    assert_eq!(run("completed", "failure".into(), 2), "octo/hello: CI failed on main (run 42, attempt 2) a1b2c3d");
    for (status, conclusion, words) in [
        ("completed", json!("cancelled"), "CI was cancelled"),
        ("completed", json!("skipped"), "CI was skipped"),
        ("completed", json!("timed_out"), "CI timed out"),
        ("completed", json!("startup_failure"), "CI failed to start"),
        ("completed", json!("action_required"), "CI ended: action required"),
        ("completed", json!(null), "CI completed"),
        ("in_progress", json!(null), "CI is running"),
        ("waiting", json!(null), "CI is waiting"),
    ] {
        assert_eq!(run(status, conclusion, 1), format!("octo/hello: {words} on main (run 42) a1b2c3d"));
    }
}

#[test]
fn what_the_examples_lack_is_summed_up_too() {
    let push = |more: Value| {
        let mut push = json!({"ref": "refs/heads/main", "commits": [1, 2, 3], "sender": {"login": "alice"}});
        push.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        line("push", push)
    };
    assert_eq!(push(json!({})), "octo/hello: push of 3 commits to main by alice");
    assert_eq!(push(json!({"commits": [1]})), "octo/hello: push of 1 commit to main by alice");
    assert_eq!(push(json!({"forced": true})), "octo/hello: forced push of 3 commits to main by alice");
    assert_eq!(push(json!({"created": true})), "octo/hello: branch main created by alice");
    assert_eq!(push(json!({"deleted": true})), "octo/hello: branch main deleted by alice");
    assert_eq!(push(json!({"ref": "refs/tags/v1"})), "octo/hello: tag v1 moved by alice");

    let pull = |action: &str, merged: bool| {
        let pull_request = json!({"number": 7, "title": "Title", "merged": merged});
        line("pull_request", json!({"action": action, "pull_request": pull_request}))
    };
    assert_eq!(pull("closed", true), "octo/hello: pull request #7 merged: Title");
    assert_eq!(pull("synchronize", false), "octo/hello: pull request #7 updated: Title");
    assert_eq!(pull("ready_for_review", false), "octo/hello: pull request #7 ready for review: Title");

    let review = json!({"action": "dismissed", "pull_request": {"number": 7}, "review": {"state": "dismissed"}});
    assert_eq!(line("pull_request_review", review), "octo/hello: pull request #7 review dismissed (dismissed)");
    let release = json!({"action": "published", "sender": {"login": "alice"},
        "release": {"tag_name": "v1", "name": "First", "prerelease": true}});
    assert_eq!(line("release", release), "octo/hello: pre-release v1 published by alice: First");
    assert_eq!(
        line("branch_protection_rule", json!({"action": "edited"})),
        "octo/hello: branch_protection_rule edited"
    );
    assert_eq!(line("gollum", json!({})), "octo/hello: gollum");
}

#[test]
fn a_comment_on_a_pull_request_has_its_number() {
    let issue = json!({"number": 7, "title": "Title", "pull_request": {"url": "x"}});
    let body = json!({"action": "edited", "issue": issue, "sender": {"login": "alice"}});
    let draft = draft_of("issue_comment", &body.to_string());
    assert_eq!((&draft.fields["pr_number"], &draft.fields["issue_number"]), (&json!(7), &json!(7)));
    assert_eq!(draft.summary, "comment edited by alice on pull request #7: Title");
}

#[test]
fn only_a_state_that_is_clearly_an_end_becomes_a_conclusion() {
    let verdict = |event: &str, payload: Value| {
        let fields = draft_of(event, &payload.to_string()).fields;
        (fields["state"].clone(), fields["status"].clone(), fields.get("conclusion").cloned())
    };
    for (state, status, conclusion) in [
        ("success", "completed", Some("success")),
        ("failure", "completed", Some("failure")),
        ("error", "completed", Some("failure")),
        ("pending", "pending", None),
        ("in_progress", "in_progress", None),
        ("inactive", "inactive", None),
        ("SUCCESS", "SUCCESS", None),
    ] {
        let expected = (json!(state), json!(status), conclusion.map(Value::from));
        assert_eq!(verdict("status", json!({"state": state})), expected);
        assert_eq!(verdict("deployment_status", json!({"deployment_status": {"state": state}})), expected);
    }
}

#[test]
fn a_commit_of_zeros_is_no_commit() {
    let zeros = "0".repeat(40);
    let fields = draft_of("push", &json!({"before": zeros, "after": zeros}).to_string()).fields;
    assert!(fields.is_empty(), "{fields:?}");
}

/// `wait --sha` warned of the field `before`, which its user had not asked for.
#[test]
fn nobody_is_warned_of_a_field_before_the_first_delivery_that_has_it() {
    let mut vocabulary = Vocabulary::default();
    vocabulary.add(vocabulary::Kind::Source, "deploy");
    let events = [
        "workflow_run",
        "workflow_job",
        "check_run",
        "check_suite",
        "status",
        "deployment_status",
        "push",
        "pull_request",
        "pull_request_review",
        "issue_comment",
        "release",
        "any other",
    ];
    let rows = events.into_iter().flat_map(tables::table).chain(tables::EVERY_EVENT);
    for (name, ..) in rows {
        let subscribe = Subscribe { alternatives: vec![vec![format!("{name}?")]], ..Subscribe::default() };
        assert_eq!(vocabulary.notes(&subscribe.filter().unwrap(), &|_| false), [""; 0]);
    }
}
