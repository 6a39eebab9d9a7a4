//! The first wait of a session that has a systemd user manager: a real one, in namespaces of its own.

use crate::harness::{skip, works};
use crate::users::{FOREIGN, Ordinary, may_switch};

const MANAGER: &str = "/lib/systemd/systemd";

/// Becomes root of a machine of its own, hands a session to the user, and is that user from there on.
const MACHINE: &str = r#"
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/system "/run/user/$USER_ID"
chown "$USER_ID" "/run/user/$USER_ID" && chmod 700 "/run/user/$USER_ID"
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/session && echo $$ >/sys/fs/cgroup/session/cgroup.procs
chown -R "$USER_ID" /sys/fs/cgroup/session
export XDG_RUNTIME_DIR="/run/user/$USER_ID"
exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups bash -c "$SESSION"
"#;

/// Waits, and shows who runs the hub that the wait has started.
const SESSION: &str = r#"
"$MANAGER" --user >"$HOME/manager.log" 2>&1 &
until [ -S "$XDG_RUNTIME_DIR/systemd/private" ]; do kill -0 $! || exit 77; done
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
    if !may_switch(name) {
        return;
    }
    let namespaces = ["unshare", "-m", "-p", "-f", "-C", "--kill-child", "--mount-proc"];
    let machine = "mount -t tmpfs none /run && mount -t cgroup2 none /sys/fs/cgroup";
    if !std::path::Path::new(MANAGER).exists() || !works(&[&namespaces[..], &["sh", "-c", machine]].concat()) {
        return skip(name, "it takes systemd, and a machine that allows namespaces of cgroups");
    }
    let user = Ordinary::new();
    let mut session = user.bus.wrapped(&[&namespaces[..], &["bash", "-c", MACHINE]].concat(), &[]);
    session.env("USER_ID", FOREIGN.to_string()).env("SESSION", SESSION).env("MANAGER", MANAGER);
    let output = session.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("waitbus hub, started on demand"), "{out}{err}");
    assert!(out.contains("deploy finished\n") && out.contains("wait ended with 0"), "{out}{err}");
}
