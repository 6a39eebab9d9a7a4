//! Every line of protection in the units is in force: a probe with the unit's own settings in place of the service
//! finds everything closed, one with none of them finds everything open, and one with a single line finds that closed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::machine::Machine;
use super::on_every_systemd;

/// What a line forbids, as a command that succeeds where it is not in force.
const FORBIDDEN: [(&str, &str); 21] = [
    ("PrivateUsers=yes", "grep -q 4294967295 /proc/self/uid_map"),
    ("NoNewPrivileges=yes", "grep -q 'NoNewPrivs:.0' /proc/self/status"),
    ("ProtectSystem=strict", "touch /srv/open/probe"),
    ("ReadOnlyPaths=%h %t", "touch $HOME/probe"),
    ("ReadOnlyPaths=%h %t", "touch $XDG_RUNTIME_DIR/probe"),
    (INACCESSIBLE, "socat -u OPEN:/dev/null UNIX:$XDG_RUNTIME_DIR/bus"),
    (INACCESSIBLE, "socat -u OPEN:/dev/null UNIX:$XDG_RUNTIME_DIR/systemd/private"),
    (INACCESSIBLE, "cat $HOME/.local/state/waitbus/credentials/github-webhook-secret"),
    ("ProtectControlGroups=yes", "mkdir /sys/fs/cgroup$(cut -d : -f 3 /proc/self/cgroup)/probe"),
    ("PrivateDevices=yes", "test -e /dev/console"),
    ("PrivateTmp=yes", "test -e /tmp/everybodys"),
    ("PrivateIPC=yes", "test -e /dev/mqueue/everybodys"),
    ("PrivateNetwork=yes", "grep -q :2328 /proc/net/tcp"),
    ("RestrictAddressFamilies=AF_UNIX", "perl -e 'use Socket; socket(S, AF_INET, SOCK_STREAM, 0) or exit 1'"),
    ("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", "perl -e 'socket(S, 16, 3, 0) or exit 1'"),
    ("RestrictNamespaces=yes", "unshare --user true"),
    ("RestrictSUIDSGID=yes", "f=$(mktemp -p $HOME/.local/state/waitbus) && chmod u+s $f"),
    ("LockPersonality=yes", "setarch --addr-no-randomize true"),
    ("SystemCallFilter=@system-service", "perl -e 'syscall(PTRACE, 0, 0, 0, 0) == 0 or exit 1'"),
    ("MemoryDenyWriteExecute=yes", "perl -e 'syscall(MMAP, 0, 4096, 7, 0x22, -1, 0) > 0 or exit 1'"),
    ("UMask=0077", "test $(umask) = 0022"),
];

const INACCESSIBLE: &str = "InaccessiblePaths=-%t/bus -%t/systemd/private -%h/.local/state/waitbus/credentials";
