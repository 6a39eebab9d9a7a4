//! What each history says, long after it and, for those that end before all has ended, whether all are waited for.

use super::*;

/// Asserts the word of each verdict, `-` for none, failing fast, and when all are waited for.
fn table(rows: &[(&str, &[Said], &str, &str)]) {
    for (property, history, fast, all) in rows {
        assert_eq!(word(asked(), history), *fast, "{property}");
        assert_eq!(word(Asked { fail_fast: false, ..asked() }, history), *all, "{property}, waiting for all");
    }
}

#[test]
fn all_runs_of_a_commit_are_one_verdict() {
    table(&[
        ("before the first run there is no verdict", &[], "-", "-"),
        ("an open run has none", &[run(1, 1, "queued"), run(1, 1, "in_progress")], "-", "-"),
        ("a run that ended well is success", &[run(1, 1, "queued"), run(1, 1, "success")], "success", "success"),
        ("one success does not hide an open run", &[run(1, 1, "success"), run(2, 1, "queued")], "-", "-"),
        ("one success does not hide a failure", &[run(1, 1, "success"), run(2, 1, "failure")], "failure", "failure"),
        ("a failure does not wait for the others", &[run(1, 1, "failure"), run(2, 1, "queued")], "failure", "-"),
        ("a time-out is a failure", &[run(1, 1, "timed_out")], "timed_out", "timed_out"),
        ("not to start is a failure", &[run(1, 1, "startup_failure")], "startup_failure", "startup_failure"),
        (
            "the failure is named before the cancellation that it caused",
            &[run(1, 1, "cancelled"), run(2, 1, "failure")],
            "failure",
            "failure",
        ),
        ("to be cancelled is a failure where no push explains it", &[run(1, 1, "cancelled")], "cancelled", "cancelled"),
        (
            "a later run of the same workflow takes the place of one that was cancelled for it",
            &[run(1, 1, "cancelled").with("workflow_name", "ci"), run(2, 1, "success").with("workflow_name", "ci")],
            "success",
            "success",
        ),
        (
            "whichever is told first, and while it is open",
            &[run(2, 1, "queued").with("workflow_name", "ci"), run(1, 1, "cancelled").with("workflow_name", "ci")],
            "-",
            "-",
        ),
        (
            "an earlier one does not",
            &[run(1, 1, "success").with("workflow_name", "ci"), run(2, 1, "cancelled").with("workflow_name", "ci")],
            "cancelled",
            "cancelled",
        ),
        (
            "and none takes the place of one that failed",
            &[run(1, 1, "failure").with("workflow_name", "ci"), run(2, 1, "success").with("workflow_name", "ci")],
            "failure",
            "failure",
        ),
        ("a run that waits for an approval is open", &[run(1, 1, "waiting")], "-", "-"),
        ("an end without a conclusion is no success", &[run(1, 1, "completed")], "no conclusion", "no conclusion"),
    ]);
}

#[test]
fn what_was_left_out_is_no_obstacle_and_no_success() {
    table(&[
        ("all skipped is neither", &[run(1, 1, "skipped"), run(2, 1, "skipped")], "skipped", "skipped"),
        ("neutral alone is neither", &[run(1, 1, "neutral"), run(2, 1, "skipped")], "neutral", "neutral"),
        ("a success among skipped is success", &[run(1, 1, "skipped"), run(2, 1, "success")], "success", "success"),
        ("a success among neutral is success", &[run(1, 1, "success"), run(2, 1, "neutral")], "success", "success"),
        ("a failure among skipped is a failure", &[run(1, 1, "skipped"), run(2, 1, "failure")], "failure", "failure"),
        (
            "what needs somebody's action is neither, whatever succeeded",
            &[run(1, 1, "success"), run(2, 1, "action_required")],
            "action_required",
            "action_required",
        ),
        ("what went stale is neither", &[run(1, 1, "success"), run(2, 1, "stale")], "stale", "stale"),
        ("an unknown word is never success", &[run(1, 1, "success"), run(2, 1, "excellent")], "excellent", "excellent"),
        ("what is neither does not end a wait early", &[run(1, 1, "action_required"), run(2, 1, "queued")], "-", "-"),
    ]);
}

#[test]
fn the_highest_attempt_counts_in_whatever_order_it_is_told() {
    table(&[
        ("a re-run takes a failure back", &[run(1, 1, "failure"), run(1, 2, "queued")], "-", "-"),
        ("a re-run that ends well is success", &[run(1, 1, "failure"), run(1, 2, "success")], "success", "success"),
        (
            "a re-run that fails takes a success back",
            &[run(1, 1, "success"), run(1, 2, "failure")],
            "failure",
            "failure",
        ),
        (
            "a late event of an older attempt changes nothing",
            &[run(1, 2, "success"), run(1, 1, "failure"), run(1, 1, "in_progress")],
            "success",
            "success",
        ),
        (
            "an end that is told before its beginning stays",
            &[run(1, 1, "success"), run(1, 1, "queued")],
            "success",
            "success",
        ),
        ("what is told twice is one", &[run(1, 1, "success"), run(1, 1, "success")], "success", "success"),
        ("a job begins an attempt before its run does", &[run(1, 1, "failure"), job(1, "a", 2, "queued")], "-", "-"),
        (
            "a late job of an older attempt changes nothing",
            &[run(1, 2, "success"), job(1, "a", 1, "failure")],
            "success",
            "success",
        ),
        (
            "an approved run goes on in the same attempt",
            &[run(1, 1, "action_required"), run(1, 1, "in_progress")],
            "-",
            "-",
        ),
        (
            "a late beginning is no approval",
            &[run(1, 1, "action_required"), run(1, 1, "queued")],
            "action_required",
            "action_required",
        ),
        (
            "a check that is repeated has a new id",
            &[check("lint", "c", 1, "failure"), check("lint", "c", 2, "success")],
            "success",
            "success",
        ),
        ("and its older id is late", &[check("lint", "c", 2, "queued"), check("lint", "c", 1, "failure")], "-", "-"),
    ]);
}

#[test]
fn a_run_decides_over_its_jobs_and_jobs_decide_where_their_run_is_not_heard_of() {
    table(&[
        ("the first job's success is not the run's", &[run(1, 1, "in_progress"), job(1, "a", 1, "success")], "-", "-"),
        ("a job may fail while its run goes on", &[run(1, 1, "in_progress"), job(1, "a", 1, "failure")], "-", "-"),
        ("and may not count", &[job(1, "a", 1, "failure"), run(1, 1, "success")], "success", "success"),
        ("and the run may end first", &[run(1, 1, "success"), job(1, "a", 1, "failure")], "success", "success"),
        ("jobs alone are a verdict", &[job(1, "a", 1, "success"), job(1, "b", 1, "skipped")], "success", "success"),
        ("one job is not all", &[job(1, "a", 1, "success"), job(1, "b", 1, "queued")], "-", "-"),
        ("one of them fails", &[job(1, "a", 1, "failure"), job(1, "b", 1, "queued")], "failure", "-"),
        (
            "a repeated job takes its failure back, and the others' success stays",
            &[job(1, "a", 1, "failure"), job(1, "b", 1, "success"), job(1, "a", 2, "success")],
            "success",
            "success",
        ),
        (
            "a failure that is not repeated stays",
            &[job(1, "a", 1, "failure"), job(1, "b", 1, "failure"), job(1, "a", 2, "success")],
            "failure",
            "failure",
        ),
        (
            "two jobs of one name are two",
            &[job(1, "a", 1, "failure"), job(1, "a", 1, "success").with("job_id", 9)],
            "failure",
            "failure",
        ),
        ("a run that has spoken once will speak again", &[run(1, 1, "failure"), job(1, "a", 2, "success")], "-", "-"),
    ]);
}

#[test]
fn checks_and_statuses_stand_alone_unless_a_run_contains_them() {
    table(&[
        (
            "a check of another app counts",
            &[run(1, 1, "success"), check("lint", "c", 7, "failure")],
            "failure",
            "failure",
        ),
        (
            "an open check of another app is waited for",
            &[run(1, 1, "success"), check("lint", "c", 7, "queued")],
            "-",
            "-",
        ),
        (
            "a run contains its checks",
            &[run(1, 1, "success"), check("github-actions", "a", 1197, "failure")],
            "success",
            "success",
        ),
        (
            "whichever is told first",
            &[check("github-actions", "a", 1197, "failure"), run(1, 1, "success")],
            "success",
            "success",
        ),
        ("and its suite", &[suite("github-actions", 100, "failure"), run(1, 1, "success")], "success", "success"),
        (
            "a job contains its check",
            &[job(1, "a", 1, "success"), check("github-actions", "a", 1197, "in_progress")],
            "success",
            "success",
        ),
        (
            "checks of Actions alone are a verdict, and those of two runs do not mix",
            &[check("github-actions", "a", 1197, "failure"), check("github-actions", "a", 2197, "success")],
            "failure",
            "failure",
        ),
        ("a suite stands for checks that are not told", &[suite("lint", 108, "failure")], "failure", "failure"),
        (
            "a suite that was repeated counts anew",
            &[suite("lint", 108, "failure"), suite("lint", 108, "success")],
            "success",
            "success",
        ),
        (
            "a suite that is open is nothing",
            &[run(1, 1, "success"), suite("lint", 108, "queued")],
            "success",
            "success",
        ),
        (
            "checks decide over their suite",
            &[suite("lint", 108, "failure"), check("lint", "c", 7, "success")],
            "success",
            "success",
        ),
        ("a status is a verdict", &[status("ci/x", 1, "success")], "success", "success"),
        ("a pending status is none", &[status("ci/x", 1, "pending"), run(1, 1, "success")], "-", "-"),
        ("each context counts", &[status("ci/x", 1, "success"), status("ci/y", 2, "error")], "failure", "failure"),
        (
            "the newest of a context counts",
            &[status("ci/x", 2, "success"), status("ci/x", 1, "pending")],
            "success",
            "success",
        ),
        ("a status may begin again", &[status("ci/x", 1, "failure"), status("ci/x", 2, "pending")], "-", "-"),
        (
            "in a log of before it had ids the last one said counts",
            &[status("ci/x", 0, "failure"), status("ci/x", 0, "pending")],
            "-",
            "-",
        ),
        (
            "a deployment is not judged",
            &[
                run(1, 1, "success"),
                Said::new("deployment_status", json!({"status": "completed", "conclusion": "failure"})),
            ],
            "success",
            "success",
        ),
    ]);
}

#[test]
fn what_is_judged_belongs_to_the_commit_in_each_repository() {
    table(&[
        (
            "another commit is not this one",
            &[run(1, 1, "success"), run(2, 1, "failure").with("head_sha", NEWER)],
            "success",
            "success",
        ),
        (
            "a repository is the same however it is spelled",
            &[run(1, 1, "failure").in_repo("Hello"), run(1, 2, "success")],
            "success",
            "success",
        ),
        (
            "without a repository each counts",
            &[run(1, 1, "success"), run(1, 1, "failure").in_repo("fork")],
            "failure",
            "failure",
        ),
    ]);
}

#[test]
fn a_newer_push_takes_the_place_of_a_commit_that_has_no_verdict() {
    let mine = || push("main", OLDER, SHA);
    let next = || push("main", SHA, NEWER);
    let fork = |word| {
        run(1, 1, word).with("head_branch", "main").with("head_repo", "me/hello").with("trigger", "pull_request")
    };
    table(&[
        ("a push is no verdict", &[mine()], "-", "-"),
        ("an open run that may never end is not waited for", &[run(1, 1, "queued"), mine(), next()], "superseded", "-"),
        ("nothing seen will not be seen", &[mine(), next()], "superseded", "superseded"),
        ("its own push need not have been seen", &[run(1, 1, "queued"), next()], "superseded", "-"),
        ("a cancellation is explained by it", &[mine(), next(), run(1, 1, "cancelled")], "superseded", "superseded"),
        ("also when it is told later", &[mine(), run(1, 1, "cancelled"), next()], "superseded", "superseded"),
        ("a success stays one", &[mine(), run(1, 1, "success"), next()], "success", "success"),
        ("a failure stays one", &[mine(), run(1, 1, "failure"), run(2, 1, "cancelled"), next()], "failure", "failure"),
        (
            "a forced push is one",
            &[mine(), run(1, 1, "queued"), push("main", SHA, OLDER).with("forced", true)],
            "superseded",
            "-",
        ),
        (
            "one after a push that was missed is one",
            &[mine(), run(1, 1, "queued"), push("main", NEWER, "ab")],
            "superseded",
            "-",
        ),
        (
            "a push that led here and is told late is none",
            &[mine(), run(1, 1, "queued"), push("main", "ab", OLDER)],
            "-",
            "-",
        ),
        ("a push to another branch is nothing", &[mine(), run(1, 1, "queued"), push("dev", OLDER, NEWER)], "-", "-"),
        (
            "a branch that began here and went on is another one",
            &[mine(), run(1, 1, "queued"), push("dev", "", SHA), push("dev", SHA, NEWER)],
            "-",
            "-",
        ),
        (
            "a run tells its branch",
            &[run(1, 1, "queued").with("head_branch", "main").with("trigger", "push"), push("dev", SHA, NEWER)],
            "-",
            "-",
        ),
        (
            "a branch of that name in another repository is another one",
            &[mine(), run(1, 1, "queued"), push("main", OLDER, NEWER).in_repo("x")],
            "-",
            "-",
        ),
        ("a fork's branch is not ours", &[fork("queued"), push("main", OLDER, NEWER)], "-", "-"),
        (
            "a pull request tells that its branch has moved",
            &[
                fork("queued"),
                Said::new(
                    "pull_request",
                    json!({"action": "synchronize", "before": SHA, "head_sha": NEWER,
                "head_branch": "main", "head_repo": "me/hello"}),
                ),
            ],
            "superseded",
            "-",
        ),
        (
            "a branch that comes back is the tip again",
            &[mine(), run(1, 1, "queued"), next(), push("main", NEWER, SHA)],
            "-",
            "-",
        ),
        ("a deleted branch has no newer commit", &[mine(), run(1, 1, "queued"), deleted("main", SHA)], "-", "-"),
        (
            "and explains no cancellation",
            &[mine(), run(1, 1, "cancelled"), deleted("main", SHA)],
            "cancelled",
            "cancelled",
        ),
        (
            "a tag that moves is nothing",
            &[
                run(1, 1, "queued"),
                Said::new("push", json!({"ref": "refs/tags/v1", "tag": "v1", "before": SHA, "head_sha": NEWER})),
            ],
            "-",
            "-",
        ),
        (
            "what is said of the newer commit is not of this one",
            &[mine(), run(1, 1, "queued"), run(9, 1, "success").with("head_sha", NEWER)],
            "-",
            "-",
        ),
    ]);
}

#[test]
fn only_the_repositories_that_were_asked_for_count() {
    let history = [run(1, 1, "success"), run(1, 1, "failure").in_repo("fork")];
    let asked = Asked { repos: vec![RepoFilter::parse("Octo/Hello").unwrap()], ..asked() };
    let (commit, ending) = past(asked.clone(), &history, 1_000_000);
    assert_eq!(ending.unwrap().verdict, Verdict::Success);
    assert_eq!(commit.elsewhere(), ["octo/fork"]);
    let elsewhere = [run(1, 1, "failure").in_repo("fork")];
    assert_eq!(word(asked.clone(), &elsewhere), "-");
    assert_eq!(past(asked, &elsewhere, 1_000_000).0.outstanding(), [format!("a first run of {SHA} in Octo/Hello")]);
}

#[test]
fn two_commits_that_begin_alike_are_both_named() {
    let alike = "3484a3fffffffffffffffffffffffffffffffff0";
    let asked = Asked::of("3484a3f".parse().unwrap());
    let mut past = Past::new(asked.clone());
    for (seq, said) in [run(1, 1, "success"), run(2, 1, "success").with("head_sha", alike)].iter().enumerate() {
        past.recall(&said.record(seq));
    }
    let error = past.end(Instant::now(), wall(9)).unwrap_err().to_string();
    assert_eq!(error, format!("3484a3f could be {SHA} or {alike}: give more digits"));

    let mut past = Past::new(asked.clone());
    past.recall(&push("main", SHA, alike).record(1));
    assert_eq!(past.end(Instant::now(), wall(9)).unwrap_err().commits, [SHA, alike], "also in one event");

    let (mut commit, ending) = super::past(asked, &[run(1, 1, "queued")], 9);
    assert!(ending.is_none());
    commit.see(&push("x", OLDER, alike).record(9), Instant::now());
    let ending = commit.standing().unwrap();
    assert_eq!(ending.verdict, Verdict::Neither(AMBIGUOUS.into()));
    assert!(ending.shown[0].line.contains(SHA) && ending.shown[0].line.contains(alike), "{}", ending.shown[0].line);
}

#[test]
fn the_report_names_what_decided_and_what_is_missing() {
    let line = |history: &[Said]| past(asked(), history, 1_000_000).1.unwrap().shown.remove(0).line;
    assert_eq!(
        line(&[run(1, 1, "success"), run(2, 3, "success")]),
        "octo/hello 3484a3f: success: w1 (run 10), w2 (run 20, attempt 3)"
    );
    let failed =
        [job(1, "test", 2, "failure"), job(1, "lint", 2, "success"), run(1, 2, "failure"), run(2, 1, "queued")];
    assert_eq!(line(&failed), "octo/hello 3484a3f: failure: w1 / test (run 10, attempt 2)");
    assert_eq!(line(&[push("main", SHA, NEWER), run(1, 1, "queued")]), "octo/hello 3484a3f: superseded: by f95f852");
    let many: Vec<_> = (1..=9).map(|id| run(id, 1, "skipped")).collect();
    assert_eq!(line(&many), "octo/hello 3484a3f: skipped: w1 (run 10), w2 (run 20), w3 (run 30) and 6 more");
    assert_eq!(line(&[check("a", "\u{1b}[31mred", 1, "failure")]), "octo/hello 3484a3f: failure: red");

    let report = past(asked(), &failed, 1_000_000).1.unwrap().shown.remove(0).json;
    assert_eq!(
        Value::Object(report),
        json!({"sha": SHA, "repo": "octo/hello", "verdict": "failure", "runs": [
            {"kind": "workflow_run", "repo": "octo/hello", "name": "w1", "run_id": 1, "run_number": 10, "attempt": 2,
             "status": "completed", "conclusion": "failure", "url": "https://example.com/1", "jobs": [
                {"name": "lint", "state": "success", "url": null}, {"name": "test", "state": "failure", "url": null}]},
            {"kind": "workflow_run", "repo": "octo/hello", "name": "w2", "run_id": 2, "run_number": 20, "attempt": 1,
             "status": "queued", "conclusion": null, "url": "https://example.com/2", "jobs": []},
        ]})
    );

    let missing = |history: &[Said]| past(asked(), history, 0).0.outstanding();
    assert_eq!(missing(&[]), [format!("a first run of {SHA}")]);
    assert_eq!(missing(&[run(1, 1, "success"), run(2, 2, "in_progress")]), ["w2 (run 20, attempt 2): in_progress"]);
    assert_eq!(missing(&[run(1, 1, "success")]), [format!("10 s without news of {SHA}")]);
}
