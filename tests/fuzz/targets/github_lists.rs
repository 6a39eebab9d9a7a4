//! What a server answers that is asked for runs, jobs, checks or statuses. Whatever it is, the events that are made of it
//! keep the rules of the log, and each has the key of a transition.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waitbus::ingest::github::api;
use waitbus::model::event::Draft;

fuzz_target!(|body: &[u8]| {
    let runs = api::runs(body).unwrap_or_default();
    let of = runs.first().map(|run| run.draft.clone()).unwrap_or_else(|| {
        let fields = [("head_sha".to_owned(), "0123abc".into()), ("head_branch".to_owned(), "main".into())];
        Draft { owner: "octo".into(), repo: "hello".into(), fields: fields.into_iter().collect(), ..Draft::default() }
    });
    let single = api::single_run(body).ok();
    let items = [api::jobs(body, &of), api::checks(body, &of), api::statuses(body, &of)];
    let items = items.into_iter().flat_map(Result::unwrap_or_default).map(|item| item.draft);
    for draft in runs.into_iter().chain(single).map(|run| run.draft).chain(items) {
        assert_eq!(draft.check(), Ok(()));
        assert!(draft.delivery_id.is_some_and(|key| key.starts_with(&draft.event_type) && key.contains(' ')));
    }
});
