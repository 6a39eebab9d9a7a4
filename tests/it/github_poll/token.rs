//! The token: where it is from, where it goes, and what happens when it is refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{FINDS, World};
use crate::harness::Process;

const TOKEN: &str = "github_pat_0123456789abcdef";

fn store(world: &World, token: &str) {
    let directory = world.bus.state().join("credentials");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("github-token"), format!("{token}\n")).unwrap();
    fs::set_permissions(directory.join("github-token"), Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn the_token_that_was_set_is_shown_to_the_api_and_to_nobody_else() {
    let world = World::new();
    world.server.wants(TOKEN);
    store(&world, TOKEN);
    let _hub = world.bus.hub();
    let mut command = world.bus.command(&["source", "github"]);
    command.env("WAITBUS_LOG", "trace");
    let mut poller = Process::start(command);
    poller.ready();
    let mut wait = world.bus.wait(&FINDS);
    world.server.run(2, 1, "completed", Some("success"));
    assert_eq!((wait.line(), wait.code()), ("octo/hello: ci succeeded on main (run 2) 0000000".to_owned(), 0));
    #[cfg(target_os = "linux")]
    for file in ["cmdline", "environ"] {
        let told = fs::read(format!("/proc/{}/{file}", poller.child.id())).unwrap();
        assert!(!String::from_utf8_lossy(&told).contains(TOKEN), "{file}");
    }
    poller.stop();
    assert!(!poller.errors().contains(TOKEN));
    let log = fs::read(world.bus.database()).unwrap();
    let log = [log, fs::read(world.bus.state().join("events.db-wal")).unwrap()].concat();
    assert!(!log.windows(TOKEN.len()).any(|bytes| bytes == TOKEN.as_bytes()));
    assert!(world.server.asked().iter().all(|asked| asked.status != 401));
}

/// `wait --sha` would have said success after the first run, whatever other services were still to say.
#[test]
fn a_commit_is_judged_by_what_other_services_say_as_well() {
    let world = World::new();
    store(&world, TOKEN);
    world.server.status(1, 50, "pending");
    let _hub = world.bus.hub();
    let _poller = world.poll();
    let sha = format!("{:040x}", 1);
    let mut wait = world.bus.wait(&["--sha", &sha, "--settle", "5s"]);
    let asked = || world.server.asked().iter().filter(|asked| asked.path.contains("/statuses")).count();
    while asked() < 2 {
        world.server.asked_more_than(world.server.asked().len());
    }
    world.server.status(1, 51, "failure");
    assert_eq!(wait.line(), "octo/hello 0000000: failure: other-ci");
    assert_eq!(wait.code(), 1);
}

#[test]
fn without_one_that_was_set_gh_is_asked_and_without_gh_there_is_a_word() {
    let world = World::new();
    world.server.wants(TOKEN);
    let tools = world.bus.root().join("tools");
    fs::create_dir(&tools).unwrap();
    let gh = tools.join("gh");
    let script = format!("#!/bin/sh\n[ \"$*\" = 'auth token --hostname 127.0.0.1' ] && echo {TOKEN}\n");
    fs::write(&gh, script).unwrap();
    fs::set_permissions(&gh, Permissions::from_mode(0o755)).unwrap();
    let _hub = world.bus.hub();
    let with_path = |mut command: Command| {
        command.env("PATH", format!("{}:/usr/bin:/bin", tools.display()));
        command
    };
    let mut poller = Process::start(with_path(world.bus.command(&["source", "github"])));
    poller.ready();
    assert_eq!(world.server.asked_more_than(0)[0].status, 200);
    poller.stop();
    fs::write(&gh, "#!/bin/sh\necho not logged in >&2; exit 1\n").unwrap();
    let mut poller = Process::start(with_path(world.bus.command(&["source", "github"])));
    let said = poller.said("there is no token");
    assert!(said.contains("waitbus secret set github-token") && said.contains("gh auth login"), "{said}");
}

#[test]
fn a_token_that_is_refused_is_read_again_and_whoever_waits_hears_what_helps() {
    let world = World::new();
    store(&world, "an-old-one");
    let _hub = world.bus.hub();
    let mut poller = world.poll_and_sleep();
    // It was replaced while the poller slept.
    world.server.wants(TOKEN);
    store(&world, TOKEN);
    let mut wait = world.bus.wait(&FINDS);
    world.server.run(2, 1, "completed", Some("success"));
    assert!(wait.line().contains("run 2"));
    poller.said("Asleep");
    assert_eq!(world.server.asked().iter().filter(|asked| asked.status == 401).count(), 1);
    // It is revoked.
    world.server.wants("another");
    let mut wait = world.bus.wait(&FINDS);
    let said = wait.said("GitHub refuses the token");
    assert!(said.contains("waitbus secret set github-token"), "{said}");
    let asked = world.server.asked().len();
    let _ = world.bus.run(&["wait", "--source", "deploy", "--timeout", "2s"]);
    assert_eq!(world.server.asked().len(), asked, "it is not asked again and again");
}
