//! What git says of a working directory, by the git of this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use waitbus::client::Forge;
use waitbus::client::checkout::Checkout;
use waitbus::client::commit::meant;
use waitbus::model::filter::RepoFilter;
use waitbus::model::sha::Sha;

use crate::harness;

/// git as whoever runs the tests has it, but without their configuration. `None` where there is no git.
fn git(directory: &Path, arguments: &[&str]) -> Option<()> {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]);
    command.args(arguments).current_dir(directory).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output().ok()?;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

fn names(checkout: &Checkout) -> Vec<String> {
    checkout.remotes.iter().map(Forge::name).collect()
}

#[test]
fn git_tells_the_branch_the_commit_and_where_they_come_from() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert_eq!(Checkout::of(path), None, "no repository");
    assert_eq!(Checkout::of(&path.join("nowhere")), None);
    let Some(()) = git(path, &["init", "-q"]) else {
        return harness::skip("git_tells_the_branch_the_commit_and_where_they_come_from", "git is not installed");
    };
    let empty = Checkout { branch: Some("main".into()), ..Checkout::default() };
    assert_eq!(Checkout::of(path), Some(empty), "no commit and no remote yet");

    git(path, &["commit", "-q", "--allow-empty", "-m", "one"]);
    git(path, &["remote", "add", "fork", "git@github.com:me/hello.git"]);
    let one = Checkout::of(path).unwrap();
    assert_eq!(one.origin.as_ref().map(Forge::name).as_deref(), Some("me/hello"), "the only one");
    assert!(one.commit.as_ref().is_some_and(Sha::is_whole));

    git(path, &["remote", "add", "zoo", "/srv/git/zoo"]);
    git(path, &["remote", "add", "origin", "https://github.com/octo/hello"]);
    assert_eq!(names(&Checkout::of(path).unwrap()), ["octo/hello", "me/hello"]);
    git(path, &["config", "branch.main.remote", "fork"]);
    git(path, &["config", "branch.main.merge", "refs/heads/main"]);
    assert_eq!(names(&Checkout::of(path).unwrap()), ["me/hello", "octo/hello"], "what the branch follows");

    let sub = path.join("sub");
    fs::create_dir(&sub).unwrap();
    git(path, &["checkout", "-q", "--detach"]);
    let detached = Checkout::of(&sub).unwrap();
    assert_eq!((&detached.branch, &detached.commit), (&None, &one.commit));
    assert_eq!(names(&detached), ["octo/hello", "me/hello"]);

    assert_eq!(Checkout::resolve(path, "main"), one.commit);
    assert_eq!(Checkout::resolve(path, one.commit.as_ref().unwrap().short()), one.commit);
    let told = |text: &str| meant(path, text).unwrap();
    let scope: Vec<_> = ["octo/hello", "me/hello"].map(|name| RepoFilter::parse(name).unwrap()).into();
    let commit = one.commit.clone().unwrap();
    for text in ["HEAD", "main", commit.short(), commit.as_str(), &commit.as_str().to_uppercase()] {
        assert_eq!(told(text), (commit.clone(), scope.clone()), "{text}");
    }
    assert_eq!(told("0000000"), ("0000000".parse().unwrap(), vec![]), "what git does not know may be anywhere");
    git(path, &["branch", "deadbeef"]);
    assert_eq!(told("deadbeef").0.as_str(), "deadbeef", "digits are a commit, not a branch");
    let refused = |text: &str| meant(path, text).unwrap_err().to_string();
    assert!(refused("nobody").contains("git knows no commit of that name here"), "{}", refused("nobody"));
    assert!(refused("abc").contains("7 to 40 hexadecimal digits"), "{}", refused("abc"));

    for nothing in ["nobody", "--all", "HEAD~1", ""] {
        assert_eq!(Checkout::resolve(path, nothing), None, "{nothing}");
    }
}

#[test]
fn asking_runs_nothing_that_the_repository_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let Some(()) = git(path, &["init", "-q"]) else {
        return harness::skip("asking_runs_nothing_that_the_repository_names", "git is not installed");
    };
    git(path, &["commit", "-q", "--allow-empty", "-m", "one"]);
    let trap = path.join("trap");
    fs::write(&trap, "#!/bin/sh\ntouch \"$(dirname \"$0\")/sprung\"\n").unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
    for key in ["core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "credential.helper"] {
        git(path, &["config", key, trap.to_str().unwrap()]);
    }
    git(path, &["remote", "add", "origin", "https://github.com/octo/hello"]);
    assert_eq!(names(&Checkout::of(path).unwrap()), ["octo/hello"]);
    assert!(!path.join("sprung").exists());
}
