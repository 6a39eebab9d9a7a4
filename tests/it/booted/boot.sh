# One machine, for as long as standard input is open: `unshare --mount bash boot.sh NAME ROOT PROGRAM [COMMAND...]`.
# Whoever holds the other end may end in any way; the machine, its mounts and its group of processes go with it.
# With a COMMAND the machine runs only that, else it boots.
set -euo pipefail
name=$1 root=$2 program=$3
shift 3
[ $# -gt 0 ] || set -- --boot

# The names that nspawn leaves in /run go with this namespace.
mount -t tmpfs none /run
# A group for this machine alone: two managers in one would move each other's processes.
mount -t cgroup2 none /mnt
group="/mnt/$name"
mkdir "$group"

# Within a group and a table of processes of its own, so that the end of its first process is the end of all.
enter='
echo $$ >"$0/cgroup.procs"
exec unshare --mount --cgroup --pid --fork --kill-child --mount-proc bash -c "
    umount -R /sys/fs/cgroup 2>/dev/null
    mount -t cgroup2 none /sys/fs/cgroup && exec \"\$0\" \"\$@\"" "$@"
'
setpriv --pdeathsig KILL bash -c "$enter" "$group" \
    systemd-nspawn --quiet --directory="$root" --machine="$name" --register=no --keep-unit --console=pipe \
    --link-journal=no --private-network --volatile=overlay --notify-ready=yes \
    --bind-ro="$program:/opt/waitbus" "$@" </dev/null &
machine=$!

exec 3<&0
cat <&3 >/dev/null &
input=$!
wait -n "$machine" "$input" && code=0 || code=$?
kill "$input" 2>/dev/null || true
# The first process of the machine is the child of `unshare`, which returns when all of them are gone.
children="/proc/$machine/task/$machine/children"
if [ -e "$children" ]; then
    kill -KILL "$(tr -d ' ' <"$children")"
    wait "$machine" || true
fi
find "$group" -depth -type d -exec rmdir {} +
exit "$code"
