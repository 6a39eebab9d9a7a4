//! What listens where an engine should, and says what it likes: events that keep every rule, or the reason why there is
//! none, and a position that can be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waitbus::ingest::docker::lines::Lines;
use waitbus::ingest::docker::reconcile::Look;
use waitbus::ingest::docker::{Container, Engine, Told, Tracker, container};

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let engine = if how & 1 == 0 { Engine::Docker } else { Engine::Podman };
    let answer = Container::read(bytes).ok();
    let mut tracker = Tracker::new(1);
    let mut drafts = Vec::new();
    if how & 2 == 0 {
        tracker.begin_look();
        drafts.extend(tracker.end_look(engine, &Look::default()));
    }
    for line in Lines::default().feed(bytes).into_iter().flatten() {
        match Told::read(&line) {
            Ok(Some(told)) => {
                let answer = answer.as_ref().filter(|_| tracker.must_ask(engine, &told));
                drafts.extend(tracker.apply(engine, &told, answer));
            }
            Ok(None) => {}
            Err(problem) => assert!(!problem.to_string().contains(char::is_control), "{problem:?}"),
        }
        let _ = (container::list(&line), container::time(&line), Container::read(&line));
    }
    tracker.begin_look();
    let containers = answer.into_iter().map(|container| ("ab".to_owned(), container)).collect();
    drafts.extend(tracker.end_look(engine, &Look { containers, complete: how & 4 == 0 }));
    for draft in &drafts {
        draft.check().unwrap();
        let (action, conclusion) = (&draft.fields["action"], draft.fields.get("conclusion"));
        assert_eq!(action == "die", conclusion.is_some(), "an end has a verdict, and nothing else has: {draft:?}");
    }
    let position = serde_json::to_string(&tracker).unwrap();
    let again: Tracker = serde_json::from_str(&position).unwrap();
    assert_eq!(again, tracker);
});
