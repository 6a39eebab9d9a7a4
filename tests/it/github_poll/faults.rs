//! What the network and GitHub may do instead of answering: it is obeyed, survived and said, and loses nothing.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use super::server::Fault;
use super::{FINDS, World};

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Fault {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Fault::Answer(status, headers, body.to_owned())
}

#[test]
fn whatever_comes_instead_of_an_answer_the_wait_has_its_event_in_the_end() {
    let world = World::new();
    let _hub = world.bus.hub();
    let _poller = world.poll_and_sleep();
    let limited = [("retry-after", "1")];
    let secondary = r#"{"message":"You have exceeded a secondary rate limit"}"#;
    let faults = [
        answer(429, &limited, ""),
        answer(403, &limited, secondary),
        answer(503, &[], "<html>unicorn</html>"),
        Fault::Truncated,
        Fault::Huge,
        answer(200, &[], "<html>the page of a hotel's network</html>"),
        answer(200, &[], "{\"workflow_runs\": {}}"),
    ];
    for (id, fault) in (2..).zip(faults) {
        let asked = world.server.asked().len();
        world.server.run(id, 1, "completed", Some("success"));
        world.server.fails([fault.clone()]);
        let mut wait = world.bus.wait(&FINDS);
        let line = wait.line();
        assert!(line.contains(&format!("(run {id})")), "{fault:?}: {line}");
        assert_eq!(wait.code(), 0);
        let asked = world.server.asked_more_than(asked + 1)[asked..].to_vec();
        let pause = asked[1].at - asked[0].at;
        assert!(pause >= Duration::from_secs(1), "{fault:?}: after {pause:?}");
    }
}

#[test]
fn a_limit_is_obeyed_and_whoever_waits_hears_of_it() {
    let world = World::new();
    let _hub = world.bus.hub();
    let _poller = world.poll_and_sleep();
    let reset = (jiff::Timestamp::now().as_second() + 3_000).to_string();
    let used_up = [("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &*reset)];
    world.server.fails([answer(403, &used_up, r#"{"message":"API rate limit exceeded"}"#)]);
    let mut wait = world.bus.wait(&FINDS);
    let said = wait.said("its quota for this hour is used up");
    assert!(said.contains("github-token"), "there is no token, and one would help: {said}");
    let asked = world.server.asked().len();
    let _ = world.bus.run(&["wait", "--source", "deploy", "--timeout", "2s"]);
    assert_eq!(world.server.asked().len(), asked);
}

#[test]
fn a_redirect_to_another_host_is_not_followed() {
    let world = World::new();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = format!("http://{}/repositories/1/actions/runs", elsewhere.local_addr().unwrap());
    let _hub = world.bus.hub();
    let _poller = world.poll_and_sleep();
    world.server.fails([answer(301, &[("location", &location)], "")]);
    let mut wait = world.bus.wait(&FINDS);
    wait.said("which is not followed");
    assert!(elsewhere.accept().is_err(), "nobody came");
}

#[test]
fn a_repository_that_is_not_there_is_said_and_the_others_go_on() {
    let world = World::new();
    world.configure("repositories = ['octo/gone', 'octo/hello']");
    let _hub = world.bus.hub();
    let mut poller = world.poll();
    poller.said("GitHub shows no repository octo/gone");
    let mut wait = world.bus.wait(&FINDS);
    wait.said("octo/gone");
    world.server.run(2, 1, "completed", Some("success"));
    assert!(wait.line().contains("run 2"));
}

/// The repository whose answers were cut off was asked again and again, and no other one ever.
#[test]
fn a_repository_whose_answers_are_cut_off_is_said_and_the_others_go_on() {
    let world = World::new();
    world.configure("repositories = ['octo/cut', 'octo/hello']");
    world.server.cuts("octo/cut");
    let _hub = world.bus.hub();
    let _poller = world.poll();
    let mut wait = world.bus.wait(&FINDS);
    wait.said("octo/cut");
    world.server.run(2, 1, "completed", Some("success"));
    assert!(wait.line().contains("run 2"));
}

#[test]
fn a_server_that_says_nothing_does_not_keep_the_poller_from_stopping() {
    let world = World::new();
    let _hub = world.bus.hub();
    let mut poller = world.poll_and_sleep();
    let asked = world.server.asked().len();
    world.server.fails([Fault::Silence]);
    let _wait = world.bus.wait(&FINDS);
    world.server.asked_more_than(asked);
    poller.stop();
}

#[test]
fn the_repositories_are_those_that_the_checkouts_lead_to() {
    let world = World::new();
    let git = |arguments: &[&str]| {
        let directory = world.bus.root().join("src");
        let mut git = Command::new("git");
        git.args(arguments)
            .current_dir(directory)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        assert!(git.output().unwrap().status.success(), "git {arguments:?}");
    };
    fs::create_dir_all(world.bus.root().join("src/nothing")).unwrap();
    git(&["init", "-q", "hello"]);
    git(&["-C", "hello", "remote", "add", "origin", "git@127.0.0.1:octo/hello.git"]);
    git(&["-C", "hello", "remote", "add", "elsewhere", "https://gitlab.example.com/octo/other.git"]);
    world.configure("checkouts = '~/src'");
    let _hub = world.bus.hub();
    let mut poller = world.poll_and_sleep();
    poller.stop();
    let asked = world.server.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].path, "/repos/octo/hello/actions/runs?per_page=30");
    // Where nothing leads anywhere there is nothing to watch, and that is said.
    world.configure("checkouts = '~/src/nothing'");
    let output = world.bus.run(&["source", "github"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no repository of 127.0.0.1 is named"));
    let output = world.bus.run(&["source", "github", "octo"]);
    assert_eq!(output.status.code(), Some(2));
}
