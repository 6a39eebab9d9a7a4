//! What is told of what happens.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::Watched;
use crate::harness::{Bus, Process, skip, works};

#[test]
fn each_kind_of_change_is_told_with_its_absolute_path() {
    let mut watched = Watched::with("", |directory| fs::write(directory.join("old.txt"), "x").unwrap());
    fs::write(watched.path("new.txt"), "x").unwrap();
    let path = watched.path("new.txt");
    let expected =
        json!({"kind": "create", "path": path, "name": "new.txt", "extension": "txt", "is_directory": false});
    assert_eq!(watched.event(), expected);
    fs::write(watched.path("old.txt"), "y").unwrap();
    assert_eq!(watched.told(), ["write old.txt"]);
    fs::rename(watched.path("old.txt"), watched.path("renamed")).unwrap();
    assert_eq!(watched.told(), ["move renamed from old.txt"]);
    fs::remove_file(watched.path("renamed")).unwrap();
    assert_eq!(watched.told(), ["delete renamed"]);
    fs::create_dir(watched.path("d")).unwrap();
    fs::write(watched.path("d/f"), "x").unwrap();
    assert_eq!(watched.told(), ["create d", "create d/f"]);
    fs::rename(watched.path("d"), watched.path("e")).unwrap();
    assert_eq!(watched.told(), ["move e from d", "move e/f from d/f"]);
    fs::remove_dir_all(watched.path("e")).unwrap();
    assert_eq!(watched.told(), ["delete e/f", "delete e"]);
}

/// A watch tells nothing of what was made in a directory before it was watched: of 200 files made right after their
/// directory, 172 went unheard.
#[test]
fn no_file_is_missed_in_a_directory_that_was_made_a_moment_before() {
    const TRIES: usize = 2_000;
    let mut watched = Watched::new();
    for n in 0..TRIES {
        fs::create_dir_all(watched.path(&format!("{n}/a/b"))).unwrap();
        fs::write(watched.path(&format!("{n}/a/b/file")), "x").unwrap();
    }
    // On a machine that is busy, what was made afterwards may be told before the last of them: so they are waited for.
    let mut missing: BTreeSet<String> = (0..TRIES).map(|n| format!("create {n}/a/b/file")).collect();
    while !missing.is_empty() {
        let fields = watched.event();
        let line = watched.line(&fields);
        assert!(missing.remove(&line) || !line.ends_with("/file"), "{line} was told twice");
    }
    assert!(!watched.told().iter().any(|line| line.ends_with("/file")), "each once");
}

#[test]
fn whatever_an_editor_does_to_save_is_one_write() {
    // A machine that is busy with other tests takes its time between two steps.
    let settings = "quiet = '1s'\nat_most = '5s'\n";
    let mut watched = Watched::with(settings, |directory| fs::write(directory.join("f"), "one\n").unwrap());
    let dances = [
        // vim with a backup, as it does by itself
        "mv f f~; printf 2 >f; chmod 644 f; rm f~",
        // emacs keeps the backup, which was there before
        "printf 3 >'#f#'; cp f f.new; printf 3 >f; rm '#f#' f.new",
        // Visual Studio Code
        ": >f; printf 4 >f",
        // JetBrains, and whoever writes atomically
        "printf 5 >f___jb_tmp___; mv f f___jb_old___; mv f___jb_tmp___ f; rm f___jb_old___",
        "printf 6 >.f.tmp; mv .f.tmp f",
        "sed -i s/6/7/ f",
        "cp f /tmp/waitbus-$$; printf 8 >>/tmp/waitbus-$$; cp /tmp/waitbus-$$ f; rm /tmp/waitbus-$$",
    ];
    for dance in dances {
        watched.shell(dance);
        assert_eq!(watched.told(), ["write f"], "{dance}");
    }
}

#[test]
fn vim_and_rsync_and_git_tell_of_the_files_that_they_leave() {
    let settings = "quiet = '1s'\nat_most = '5s'\n";
    let mut watched = Watched::with(settings, |directory| fs::write(directory.join("f"), "one\n").unwrap());
    if works(&["vim", "--version"]) {
        watched.shell("vim -u NONE -es -c 'set backup writebackup' -c 'normal Ohello' -c wq f || true; rm -f f~");
        assert_eq!(watched.told(), ["write f"]);
    } else {
        skip("vim_and_rsync_and_git_tell_of_the_files_that_they_leave", "vim is missing");
    }
    if works(&["rsync", "--version"]) {
        watched.shell("mkdir ../from; echo rsync >../from/f; rsync -a ../from/ .");
        assert_eq!(watched.told(), ["write f"]);
    } else {
        skip("vim_and_rsync_and_git_tell_of_the_files_that_they_leave", "rsync is missing");
    }
    let git = "git -c user.name=t -c user.email=t@example.invalid";
    watched.shell(&format!("git init -q -b main .; git add f; {git} commit -qm one; echo 2 >f; {git} commit -qam two"));
    assert_eq!(watched.told(), ["write f"]);
    watched.shell("git checkout -q HEAD~1");
    assert_eq!(watched.told(), ["write f"], "and nothing of .git");
}

#[test]
fn a_file_is_told_when_it_is_whole_and_at_the_latest_after_a_while() {
    let mut watched = Watched::with("at_most = '1s'\n", |_| {});
    let mut file = File::create(watched.path("slow")).unwrap();
    file.write_all(b"half").unwrap();
    assert_eq!(watched.told(), [""; 0], "its writer has it open");
    file.write_all(b"whole").unwrap();
    drop(file);
    let told = watched.event();
    assert_eq!((&told["name"], told.get("is_complete")), (&json!("slow"), None));

    let mut log = File::create(watched.path("log")).unwrap();
    log.write_all(b"a line").unwrap();
    let told = watched.event();
    assert_eq!((&told["name"], &told["is_complete"]), (&json!("log"), &json!(false)));
    log.write_all(b"another").unwrap();
    let told = watched.event();
    assert_eq!((&told["kind"], &told["is_complete"]), (&json!("write"), &json!(false)));
}

/// An ignore file that came with a directory was told before the files beside it. What its rules let in was then looked
/// for, and files that waited to be told were taken for old ones that had been ignored: they were never told.
#[test]
fn a_directory_that_is_moved_in_with_an_ignore_file_is_told_whole() {
    let mut expected = vec!["create from".to_owned(), "create from/.gitignore".to_owned(), "create from/a".to_owned()];
    let mut watched = Watched::with("quiet = '20ms'\nat_most = '20ms'\n", |directory| {
        let from = directory.with_file_name("from");
        fs::create_dir_all(from.join("a")).unwrap();
        fs::write(from.join(".gitignore"), "target/\n").unwrap();
        for n in 0..50 {
            fs::write(from.join(format!("a/{n}")), "x").unwrap();
            expected.push(format!("create from/a/{n}"));
        }
    });
    watched.shell("mv ../from .");
    let mut told = watched.told();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn what_ignore_files_say_is_ignored_as_soon_as_they_say_it() {
    let mut watched = Watched::with("ignore = ['*.swp']\n", |directory| {
        fs::write(directory.join(".gitignore"), "target/\n*.log\n!keep.log\n").unwrap();
        fs::create_dir_all(directory.join("sub/target")).unwrap();
        fs::write(directory.join("sub/.ignore"), "*.tmp\n").unwrap();
    });
    watched
        .shell("mkdir target; echo x >target/f; echo x >sub/target/f; echo x >a.log; echo x >sub/a.tmp; echo x >a.swp");
    watched.shell("mkdir -p .git; echo x >.git/index; echo x >keep.log; echo x >a.tmp");
    assert_eq!(watched.told(), ["create keep.log", "create a.tmp"]);
    watched.shell("echo '*.tmp' >.gitignore");
    watched.shell("echo y >a.tmp; echo y >a.log; echo y >target/f");
    let told = watched.told();
    assert!(
        told.contains(&"write .gitignore".to_owned()) && told.iter().any(|line| line.ends_with("target/f")),
        "{told:?}"
    );
    assert!(!told.iter().any(|line| line.contains(".tmp")), "{told:?}");
}

#[test]
fn links_are_not_followed_and_a_path_that_is_no_text_is_told() {
    let mut watched = Watched::new();
    symlink(watched.path(""), watched.path("loop")).unwrap();
    let name = std::ffi::OsStr::from_bytes(b"\xff\\name");
    fs::write(watched.path("").join(name), "x").unwrap();
    let told = watched.fields();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((&told[0]["name"], &told[0]["is_directory"]), (&json!("loop"), &json!(false)));
    assert_eq!((&told[1]["name"], &told[1]["is_escaped"]), (&json!(r"\xff\\name"), &json!(true)));
}

#[test]
fn a_path_may_go_and_come_again_and_may_be_one_file() {
    let mut watched = Watched::with("", |directory| {
        fs::create_dir(directory.join("inner")).unwrap();
        fs::write(directory.join("inner/f"), "x").unwrap();
    });
    watched.shell("cd ..; rm -r watched; mkdir watched; echo x >watched/g");
    let mut told = watched.told();
    // The directory itself is told only if it was away for long enough, and what was in the old one when it is looked at.
    told.retain(|line| !line.ends_with("watched"));
    told.sort();
    assert_eq!(told, ["create g", "delete inner", "delete inner/f"]);
    watched.shell("cd ..; mv watched elsewhere; echo x >elsewhere/h; mkdir watched");
    assert!(!watched.told().iter().any(|line| line.ends_with("/h")));

    let one = watched.bus.root().join("one.log");
    watched.source.stop();
    let mut only = Process::start(watched.bus.command(&["source", "fs", one.to_str().unwrap()]));
    only.ready();
    only.said("is not there; it is told when it is");
    fs::write(watched.bus.root().join("other.log"), "x").unwrap();
    fs::write(&one, "x").unwrap();
    assert_eq!(watched.event()["path"], one.to_str().unwrap());
}

/// A directory that left the tree and came back was told alone: moving it changes nothing in the files below it, so each
/// of them had the key of the event that had told of it before, and was taken for one that is told twice.
#[test]
fn what_leaves_the_tree_and_comes_back_is_told_again() {
    let mut watched = Watched::new();
    watched.shell("mkdir -p dd/sub; echo x >dd/x; echo y >dd/sub/y");
    let mut told = watched.told();
    told.sort();
    let all = ["create dd", "create dd/sub", "create dd/sub/y", "create dd/x"];
    assert_eq!(told, all);
    for _ in 0..2 {
        watched.shell("mv dd ..");
        assert_eq!(watched.told().len(), all.len());
        watched.shell("mv ../dd .");
        let mut told = watched.told();
        told.sort();
        assert_eq!(told, all);
    }
    // The same for what was named, with everything in it.
    watched.shell("mv ../watched ../away");
    while watched.event()["path"] != watched.path("").to_str().unwrap().trim_end_matches('/') {}
    fs::rename(watched.bus.root().join("away"), watched.path("")).unwrap();
    let told = watched.told();
    for line in all {
        assert_eq!(told.iter().filter(|told| *told == line).count(), 1, "{line} in {told:?}");
    }
    // What was told is not told again by whoever starts anew.
    watched.source.kill();
    watched.source = super::source(&watched.bus);
    assert_eq!(watched.told(), [""; 0]);
}

#[test]
fn the_bus_does_not_tell_of_itself() {
    let bus = Bus::new();
    let _hub = bus.hub();
    let mut events = bus.subscribe(&json!({}));
    let root = bus.root().to_str().unwrap();
    let mut source = Process::start(bus.command(&["source", "fs", root, "--ignored"]));
    source.ready();
    for n in 0..20 {
        let file = bus.root().join(format!("f{n}"));
        fs::write(&file, "x").unwrap();
        loop {
            let frame = events.frame();
            if frame["event_type"] == "fs_change" {
                assert_eq!(frame["fields"]["path"], file.to_str().unwrap());
                break;
            }
        }
    }
}

#[test]
fn a_wait_ends_with_the_file_that_it_asks_for() {
    let watched = Watched::new();
    let pattern = format!("path*={}", watched.path("*.done").display());
    let mut wait = watched.bus.wait(&["--source", "fs", "--match", &pattern]);
    fs::write(watched.path("other"), "x").unwrap();
    fs::write(watched.path("x.done"), "x").unwrap();
    assert_eq!(wait.code(), 0);
}

#[test]
fn what_makes_no_sense_is_said_with_its_place() {
    let mut watched = Watched::new();
    let config = watched.bus.root().join("config/waitbus.toml");
    for (text, words) in [
        ("[source.fs]\npaths = ['relative']\n", "line 2: [source.fs] paths: relative is not an absolute path"),
        ("[source.fs]\npaths = ['/tmp']\nquiet = '3s'\n", "[source.fs] at_most: it may not be less than quiet"),
        ("[source.fs]\nignore = ['{']\n", "[source.fs] ignore: "),
        ("[source.fs]\npath = ['/']\n", "did you mean \"paths\"?"),
    ] {
        fs::write(&config, text).unwrap();
        let output = watched.bus.run(&["source", "fs"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
    // Nothing to watch is nothing to begin with: neither is it said to be ready, nor is its end told to who waits for it.
    fs::write(&config, "").unwrap();
    let mut waiting = watched.bus.wait(&["--source", "fs", "--match", "path*=*/later"]);
    watched.source.stop();
    let output = watched.bus.run(&["source", "fs"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("waitbus source fs PATH"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "not ready");
    let mut source = Process::start(watched.bus.command(&["source", "fs", watched.path("").to_str().unwrap()]));
    source.ready();
    fs::write(watched.path("later"), "x").unwrap();
    assert_eq!(waiting.end().code(), Some(0));
}
