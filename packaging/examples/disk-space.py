#!/usr/bin/env python3
"""A source for waitbus: tells when a file system is full, and when it has room again.

    waitbus source disk -- packaging/examples/disk-space.py 90 / /home
    waitbus wait --source disk --type file_system --match status=full

Or, to have it always, in waitbus.toml:

    [source.disk]
    command = ["/usr/local/bin/disk-space.py", "90", "/", "/home"]
"""

import json
import os
import sys
import time

SECONDS = 30


def say(*lines):
    # At once, because Python keeps what it prints into a pipe; and in one write, so that an event and the position after
    # it are stored together whatever ends this in between.
    os.write(1, "".join(json.dumps(line) + "\n" for line in lines).encode())


def used(path):
    """What `df` calls use: the part that is taken of what this user could have."""
    disk = os.statvfs(path)
    taken = disk.f_blocks - disk.f_bfree
    # A file system without blocks, such as /proc, is never full.
    return 100 * taken / ((taken + disk.f_bavail) or 1)


def main(limit, paths):
    # What was full when this ran last. So nothing is said twice, and what has changed meanwhile is said.
    full = set(json.loads(os.environ.get("WAITBUS_SOURCE_POSITION", "[]")))
    while True:
        for path in paths:
            percent = round(used(path), 1)
            if (percent >= limit) == (path in full):
                continue
            full ^= {path}
            status = "full" if path in full else "free"
            fields = {"path": path, "percent": percent, "status": status}
            event = {"type": "file_system", "summary": f"{path} is {status}: {percent} % used", "fields": fields}
            say(event, {"position": json.dumps(sorted(full))})
        time.sleep(SECONDS)


if len(sys.argv) < 3:
    sys.exit(f"usage: {sys.argv[0]} PERCENT PATH…")
try:
    main(float(sys.argv[1]), sys.argv[2:])
except KeyboardInterrupt:
    pass
