"""Where the bus is, and how a row gets into its log without starting a process.

This is the contract of waitbus's PROTOCOL.md, "Writing rows yourself": insert and commit, touch the wake file, ring the
doorbell without blocking. The log is made by waitbus alone. Where there is none yet, or one that this file does not
know, `waitbus emit` is asked, once.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

# The versions of the log whose columns are those below. A later one keeps them or is left to the program.
KNOWN_LOGS = (1, 2)

# How long to wait for the log's one write lock, or for the program. A writer of waitbus has it for milliseconds; whoever
# has it for longer is stuck, or is a person at an SQLite prompt.
PATIENCE_SECONDS = 2.0


class NoBus(Exception):
    """There is nobody to tell. The text says why."""


class Bus:
    """The bus of this user, as the environment had it when the session began: tests change it."""

    def __init__(self, environment):
        self._environment = dict(environment)
        self._state = self._state_directory()
        self._runtime = self._runtime_directory()
        self.program = shutil.which("waitbus", path=self._environment.get("PATH"))
        if self.program is None and not self.log.exists():
            raise NoBus("there is no bus here: neither {} nor the program waitbus".format(self.log))

    @property
    def log(self):
        return self._state / "events.db"

    def insert(self, events):
        """Commits the events, all or none, and wakes whoever waits for them: whether there is a log to do that with."""
        try:
            import sqlite3
        except ImportError:
            return False
        if not self.log.exists():
            return False
        uri = self.log.as_uri() + "?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE_SECONDS, isolation_level=None)) as log:
            if log.execute("PRAGMA user_version").fetchone()[0] not in KNOWN_LOGS:
                return False
            # Whoever checkpoints has to have a library without a known corruption. The hub does. Nor does the last one to
            # close, as far as Python lets it be told.
            log.execute("PRAGMA wal_autocheckpoint=0")
            if hasattr(log, "setconfig"):
                log.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
            log.execute("BEGIN IMMEDIATE")
            for event in events:
                log.execute(
                    "INSERT INTO events (source, event_type, delivery_id, summary, fields) VALUES (?, ?, ?, ?, ?)",
                    (event["source"], event["type"], event["id"], event["summary"], json.dumps(event["fields"])),
                )
            log.execute("COMMIT")
        self._touch("wake")
        if not self._ring():
            self._touch("bell")
        return True

    def emit(self, events):
        """Has the program do the same, which makes a log or brings an old one up to date."""
        if self.program is None:
            raise NoBus("the log {} is not one that this plugin knows, and waitbus is not in PATH".format(self.log))
        lines = "\n".join(json.dumps(event) for event in events)
        done = subprocess.run(
            [self.program, "emit", "--batch"],
            input=lines.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise NoBus(done.stderr.decode(errors="replace").strip() or "waitbus emit has failed")

    def _ring(self):
        """Whether the doorbell was rung. That nobody listens is no error: the next hub finds the row by itself."""
        import socket

        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bell:
                bell.setblocking(False)
                bell.connect(str(self._runtime / "doorbell.sock"))
                bell.send(b"\x01")
        # A plugin that forbids sockets raises what it likes.
        except Exception as problem:
            # A full backlog has been rung already.
            return isinstance(problem, BlockingIOError)
        return True

    def _touch(self, name):
        try:
            os.close(os.open(str(self._state / name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.utime(str(self._state / name))
        except OSError:
            pass  # The hub touches the file for whoever cannot.

    def _state_directory(self):
        home = Path(self._environment.get("HOME") or os.path.expanduser("~"))
        usual = home / ".local/state"
        if sys.platform == "darwin":
            return self._own("WAITBUS_STATE_DIR") or home / "Library/Application Support/waitbus"
        return self._own("WAITBUS_STATE_DIR") or (self._xdg("XDG_STATE_HOME") or usual) / "waitbus"

    def _runtime_directory(self):
        own = self._own("WAITBUS_RUNTIME_DIR")
        if own or sys.platform == "darwin":
            return own or self._state / "run"
        session = self._xdg("XDG_RUNTIME_DIR") or Path("/run/user/{}".format(os.geteuid()))
        if self._xdg("XDG_RUNTIME_DIR") or session.is_dir():
            return session / "waitbus"
        return self._state / "run"

    def _own(self, name):
        value = self._environment.get(name)
        if value and not os.path.isabs(value):
            raise NoBus("{} is not an absolute path: {!r}".format(name, value))
        return Path(value) if value else None

    def _xdg(self, name):
        value = self._environment.get(name)
        return Path(value) if value and os.path.isabs(value) else None
