"""Listens to a session, and comes to its verdict."""

import os
import time
import uuid

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
        option = self._config.option
        # These run no test, and neither does what never comes here, such as `--fixtures`.
        shows_only = ("collectonly", "setuponly", "setupplan")
        self._is_run = not any(getattr(option, name, False) for name in shows_only)
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

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session):
        # After everybody else: plugins change the exit code here, and the terminal prints its summary.
        yield
        if self._teller is None or not self._is_run or os.getpid() != self._process:
            return
        try:
            problem = self._teller.finish(self._verdict(int(session.exitstatus)))
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
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line, yellow=True)


def _cleaned(text):
    """One line without control, invisible and reordering characters, of a bounded length."""
    line = "".join(c if c.isprintable() else " " for c in text)
    cut = line.encode()[: MAX_TEXT_BYTES + 1]
    if len(cut) <= MAX_TEXT_BYTES:
        return line.strip()
    return cut[: MAX_TEXT_BYTES - 3].decode(errors="ignore").strip() + "…"
