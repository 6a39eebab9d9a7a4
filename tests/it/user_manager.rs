//! The first wait of a session that has a systemd user manager: a real one, in namespaces of its own.

use std::process::Output;

use crate::harness::{skip, works};
use crate::users::{FOREIGN, Ordinary, may_switch};

const MANAGER: &str = "/lib/systemd/systemd";
const NAMESPACES: [&str; 7] = ["unshare", "-m", "-p", "-f", "-C", "--kill-child", "--mount-proc"];

/// Becomes root of a machine of its own, hands a session to the user, and is that user from there on. The home is moved
/// out of /tmp, which services do not share.
const MACHINE: &str = r#"
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/system /run/systemd/unit-root "/run/user/$USER_ID"
chown "$USER_ID" "/run/user/$USER_ID" && chmod 700 "/run/user/$USER_ID"
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/session && echo $$ >/sys/fs/cgroup/session/cgroup.procs
chown -R "$USER_ID" /sys/fs/cgroup/session
mount -t tmpfs none /home && mkdir /home/user && mount --bind "$HOME" /home/user
# PrivateIPC= mounts a message queue of its own there, and a container may have none.
if [ ! -d /dev/mqueue ]; then
    mkdir -p /run/dev/mqueue && find /dev -maxdepth 1 -type l -exec cp -d {} /run/dev ';'
    for node in /dev/*; do
        [ -L "$node" ] && continue
        [ -d "$node" ] && mkdir -p "/run$node" || touch "/run$node"
        mount --rbind "$node" "/run$node"
    done
    mount --rbind /run/dev /dev
fi
export XDG_RUNTIME_DIR="/run/user/$USER_ID" HOME=/home/user
exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups bash -c "$SESSION"
"#;

/// Starts the manager, and waits until it can be asked.
const START: &str = r#"
"$MANAGER" --user >"$HOME/manager.log" 2>&1 &
until [ -S "$XDG_RUNTIME_DIR/systemd/private" ]; do kill -0 $! || exit 77; done
"#;

/// Whether a user manager can run here; a test that needs one skips by its name.
pub fn may_run(test: &str) -> bool {
    if !may_switch(test) {
        return false;
    }
    let machine = "mount -t tmpfs none /run && mount -t cgroup2 none /sys/fs/cgroup";
    if !std::path::Path::new(MANAGER).exists() || !works(&[&NAMESPACES[..], &["sh", "-c", machine]].concat()) {
        skip(test, "it takes systemd, and a machine that allows namespaces of cgroups");
        return false;
    }
    true
}

/// Runs a script in a session with a user manager.
pub fn in_session(user: &Ordinary, script: &str) -> Output {
    let mut session = user.bus.wrapped(&[&NAMESPACES[..], &["bash", "-c", MACHINE]].concat(), &[]);
    session.env("USER_ID", FOREIGN.to_string()).env("SESSION", format!("{START}{script}")).env("MANAGER", MANAGER);
    session.output().unwrap()
}

/// Waits, and shows who runs the hub that the wait has started.
const WAIT: &str = r#"
mkfifo "$HOME/said"
"$HOME/waitbus" wait -v --source deploy 2>"$HOME/said" &
wait=$!
read -r attached <"$HOME/said"
systemctl --user list-units --type=service --no-legend 'run-*'
"$HOME/waitbus" emit --source deploy --type finished >/dev/null
wait $wait
echo "wait ended with $?"
"#;

#[test]
fn the_first_wait_of_a_session_has_the_user_manager_run_its_hub() {
    // A hub that is a child of the shell dies with it; the manager's stays for whoever waits next.
    let name = "the_first_wait_of_a_session_has_the_user_manager_run_its_hub";
    if !may_run(name) {
        return;
    }
    let user = Ordinary::new();
    let output = in_session(&user, WAIT);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("waitbus hub, started on demand"), "{out}{err}");
    assert!(out.contains("deploy finished\n") && out.contains("wait ended with 0"), "{out}{err}");
}
