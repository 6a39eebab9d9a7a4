"""Listens to a session, and comes to its verdict."""

import os
import sys
import time
import uuid
from contextlib import suppress

import pytest

from .bus import Bus, NoBus
from .teller import Teller

# As many as `waitbus run` names of a JUnit report: enough to see what is wrong, and small in a frame.
MAX_FAILING_TESTS = 100

# Of a node id or a message. A hundred of them, whatever their letters, are well within a frame of 64 KiB.
MAX_TEXT_BYTES = 300

# What pytest counts under these names, and by what name it is told. `rerun` is not here: the last try counts.
COUNTED = {
    "passed": "passed",
    "failed": "failed",
    "error": "errors",
    "skipped": "skipped",
    "xfailed": "xfailed",
    "xpassed": "xpassed",
}

# Whoever asks for one of these runs no test here.
RUNS_NO_TEST = (
    "looponfail",
    "collectonly",
    "setuponly",
    "setupplan",
    "showfixtures",
    "show_fixtures_per_test",
    "markers",
    "cacheshow",
    "help",
    "version",
)


class Session:
    def __init__(self, config, environment, failures):
        self._config = config
        self._failures = failures
        # A test that forks has a copy of this, and may come to the end of the session.
        self._process = os.getpid()
        self._id = uuid.uuid4().hex
        self._started = time.monotonic()
        self._cwd = os.getcwd()
        self._counts = dict.fromkeys(COUNTED.values(), 0)
        self._failing = {}
        self._is_run = False
        self._is_stopped = False
        self._teller, self._problem = None, None
        try:
            self._teller = Teller(Bus(environment))
        except NoBus as problem:
            self._problem = str(problem)
        # An odd machine is no reason for a session not to begin.
        except Exception as problem:
            self._problem = "{}: {}".format(type(problem).__name__, problem)

    def pytest_report_header(self):
        if self._teller is None:
            return "waitbus: the bus is not told: {}".format(_cleaned(self._problem))
        return "waitbus: the bus is told how this session ends"

    # A wrapper is called whoever else answers; pytest-xdist does.
    @pytest.hookimpl(hookwrapper=True)
    def pytest_collection(self):
        self._is_run = True
        yield

    def pytest_collectreport(self, report):
        if report.failed:
            self._fails(report, "error", report.nodeid)

    def pytest_runtest_logreport(self, report):
        # As the terminal counts it, whatever plugins have to say about it.
        status = self._config.hook.pytest_report_teststatus(report=report, config=self._config)
        category = status[0] if status else report.outcome
        if category in ("failed", "error") or (category not in COUNTED and category != "rerun" and report.failed):
            self._fails(report, "error" if category == "error" else "failed", report.nodeid)
        elif category in COUNTED:
            self._counts[COUNTED[category]] += 1

    def pytest_keyboard_interrupt(self):
        # Also `pytest.exit()`, and the end of a collection that had errors.
        self._is_stopped = True

    def end(self, option, outcome):
        """Tells how it was, once there is nothing left that could change it."""
        if os.getpid() != self._process or any(getattr(option, name, False) for name in RUNS_NO_TEST):
            return
        try:
            exit_code = _exit_code(outcome)
            # What comes to a good end without having looked for tests was about something else.
            if not self._is_run and exit_code == 0:
                return
            if outcome.excinfo is not None and isinstance(outcome.excinfo[1], KeyboardInterrupt):
                self._is_stopped = True
            problem = self._problem if self._teller is None else self._teller.finish(self._verdict(exit_code))
        except Exception as unexpected:
            problem = "{}: {}".format(type(unexpected).__name__, unexpected)
        if problem:
            self._say("waitbus: the bus was not told: {}".format(_cleaned(problem)))

    def _fails(self, report, outcome, node):
        name = _cleaned(node) or "(no name)"
        self._counts[COUNTED[outcome]] += 1
        is_new = node not in self._failing
        self._failing[node] = name
        if not (self._failures and self._teller and is_new and len(self._failing) <= MAX_FAILING_TESTS):
            return
        if os.getpid() != self._process:
            return
        fields = {"session_id": self._id, "test": name, "status": "completed", "conclusion": "failure"}
        fields.update(cwd=_cleaned(self._cwd), when=str(getattr(report, "when", None) or "collect"), outcome=outcome)
        crash = getattr(getattr(report, "longrepr", None), "reprcrash", None)
        message = _cleaned(str(getattr(crash, "message", "")).strip().split("\n")[0])
        if message:
            fields["message"] = message
        self._teller.tell(self._event("pytest_failure", "{} {}".format(name, outcome), fields, len(self._failing)))

    def _verdict(self, exit_code):
        conclusion = self._conclusion(exit_code)
        name = os.path.basename(str(self._config.rootpath)) or "/"
        seconds = time.monotonic() - self._started
        fields = {"status": "completed", "conclusion": conclusion, "exit_code": exit_code}
        fields.update(self._counts)
        fields.update(
            duration_ms=int(seconds * 1000), session_id=self._id, name=_cleaned(name), cwd=_cleaned(self._cwd)
        )
        if self._failing:
            fields["failing_tests"] = list(self._failing.values())[:MAX_FAILING_TESTS]
            fields["failing_tests_total"] = len(self._failing)
        counted = ((n, "error" if (n, what) == (1, "errors") else what) for what, n in self._counts.items())
        told = ", ".join("{} {}".format(n, what) for n, what in counted if n or what in ("passed", "failed"))
        summary = "pytest {}: {}: {} in {:.1f} s".format(fields["name"], conclusion, told, seconds)
        return self._event("pytest_session", summary, fields)

    def _conclusion(self, exit_code):
        """The word for it. What has failed has failed, however the session ended; nothing else is made of a guess."""
        if self._failing or exit_code == pytest.ExitCode.TESTS_FAILED:
            return "failure"
        if self._is_stopped or exit_code == pytest.ExitCode.INTERRUPTED:
            return "cancelled"
        return {
            pytest.ExitCode.OK: "success",
            pytest.ExitCode.USAGE_ERROR: "startup_failure",
            pytest.ExitCode.NO_TESTS_COLLECTED: "neutral",
        }.get(exit_code, "failure")

    def _event(self, kind, summary, fields, number=None):
        key = self._id if number is None else "{}.{}".format(self._id, number)
        return {"source": "pytest", "type": kind, "id": key, "summary": summary, "fields": fields}

    def _say(self, line):
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        # Whoever reads it may have gone.
        with suppress(OSError):
            if reporter is None:
                print(line, file=sys.stderr)
            else:
                reporter.ensure_newline()
                reporter.write_line(line, yellow=True)


def _exit_code(outcome):
    """What the process ends with, which pytest makes of what comes out of its outermost hook."""
    if outcome.excinfo is None:
        return int(outcome.get_result() or 0)
    error = outcome.excinfo[1]
    # It has no public name.
    if isinstance(error, pytest.UsageError) or type(error).__name__ == "ConftestImportFailure":
        return int(pytest.ExitCode.USAGE_ERROR)
    if isinstance(error, KeyboardInterrupt):
        # As a shell counts a death by SIGINT.
        return 130
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return error.code or 0
    return 1


def _cleaned(text):
    """One line without control, invisible and reordering characters, of a bounded length."""
    line = "".join(c if c.isprintable() else " " for c in text)
    cut = line.encode()[: MAX_TEXT_BYTES + 1]
    if len(cut) <= MAX_TEXT_BYTES:
        return line.strip()
    return cut[: MAX_TEXT_BYTES - 3].decode(errors="ignore").strip() + "…"
