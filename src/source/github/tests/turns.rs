//! Whose turn it is: no repository keeps another one from being looked at.

use super::*;

/// One repository whose answers were always cut off was the oldest that was due, and so the only one that was asked.
#[test]
fn a_repository_that_cannot_be_asked_keeps_no_other_from_its_turn() {
    let mut world = World::new(&["octo/bad", "octo/hello"]);
    world.api.run("octo/hello", 1, "completed", Some("success"));
    world.want(&["*"]);
    let end = world.now + Duration::from_mins(10);
    while world.now < end {
        match world.poller.next(world.now) {
            Next::Ask(request) if request.path.contains("octo/bad") => {
                let told = world.poller.hear(Err(Unreachable("timeout".into())), world.moment());
                world.commit(told);
            }
            Next::Ask(_) => assert!(world.step()),
            Next::At(due) => world.now = due,
            Next::Asleep => panic!("somebody waits"),
        }
    }
    assert_eq!(world.runs(), ["workflow_run octo/hello 1.1 completed success"]);
    assert!(world.api.asked_of("octo/hello").len() > 20, "{:?}", world.api.asked);
}

/// It waited for a minute until the other one was due again, and what happened meanwhile was old when it was looked at.
#[test]
fn a_repository_that_is_new_is_looked_at_at_once_while_another_one_is_waited_for() {
    let mut world = World::new(&["octo/hello", "octo/new"]);
    world.want(&["octo/hello"]);
    world.settle();
    assert_eq!(world.api.asked_of("octo/new").len(), 1, "{:?}", world.api.asked);
    assert!(world.api.asked[0].path.contains("octo/hello"), "after the one that is waited for");
}

/// To ask about the commits of each of many repositories for minutes would have kept the one where something goes on
/// waiting for a minute.
#[test]
fn many_repositories_where_nothing_goes_on_do_not_keep_one_where_something_does_from_being_looked_at() {
    let names: Vec<String> = (0..40).map(|n| format!("octo/r{n}")).collect();
    let mut world = World::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for (n, name) in (1..).zip(&names) {
        for id in 0..3 {
            world.api.run(name, 10 * n + id, "completed", Some("success"));
        }
    }
    world.want(&["*"]);
    world.settle();
    world.api.run("octo/r7", 1_000, "in_progress", None);
    world.api.asked.clear();
    // Each question takes its time.
    let (begin, mut looks) = (world.now, Vec::new());
    while world.now < begin + Duration::from_mins(5) {
        if !world.step() {
            let Next::At(due) = world.poller.next(world.now) else { panic!("somebody waits") };
            world.now = due;
            continue;
        }
        world.now += Duration::from_millis(200);
        if world.api.asked.last().unwrap().path.starts_with("/repos/octo/r7/actions/runs?") {
            looks.push(world.now);
        }
    }
    let longest = looks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest <= INTERVAL * 3, "{longest:?}");
    let commits = world.api.asked.iter().filter(|asked| asked.path.contains("commits")).count();
    assert!(commits > 100, "as far as there is time: {commits}");
}
