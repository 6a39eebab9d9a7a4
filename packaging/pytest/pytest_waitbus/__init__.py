"""Tells waitbus how a test session ended.

This file is what pytest loads in every session, so it imports nothing that is not there already: whether anything
happens is decided here, and what happens is in the others. `session` listens to pytest and comes to a verdict, `teller`
tells it without holding anybody up, `bus` knows where the bus is and how a row gets into its log.
"""

import pytest

__version__ = "0.3.0"


def pytest_addoption(parser):
    parser.addini("waitbus", "Tell waitbus how the session ended (WAITBUS_PYTEST comes first)", "bool", default=False)
    parser.addini(
        "waitbus_failures",
        "Tell waitbus of each failing test as it fails, too (WAITBUS_PYTEST_FAILURES comes first)",
        "bool",
        default=False,
    )


# A `conftest.py` that cannot be loaded is the end, and nothing else of pytest is asked after it.
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config):
    outcome = yield
    if outcome.excinfo is not None:
        session = _session(early_config)
        if session is not None:
            session.end(early_config.known_args_namespace, outcome)


# Around everything that can still change what pytest ends with: the hooks that end a session, and those after them.
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_cmdline_main(config):
    session = _session(config)
    if session is not None:
        config.pluginmanager.register(session, "waitbus-session")
    outcome = yield
    if session is not None:
        session.end(config.option, outcome)


def _session(config):
    """What listens to this session, or None if it is not to be told."""
    import os

    environment = os.environ
    # A worker of pytest-xdist: the process that has started it hears of everything and speaks for all.
    if hasattr(config, "workerinput") or "PYTEST_XDIST_WORKER" in environment:
        return None
    if not _is_wanted(environment.get("WAITBUS_PYTEST"), config.getini("waitbus")):
        return None
    # A session that a test of another one has started. What it says is that test's business.
    if "PYTEST_CURRENT_TEST" in environment:
        return None
    from .session import Session

    failures = _is_wanted(environment.get("WAITBUS_PYTEST_FAILURES"), config.getini("waitbus_failures"))
    return Session(config, environment, failures)


def _is_wanted(variable, setting):
    """What the environment says, else what the ini file says. An empty variable counts as unset."""
    if not variable:
        return setting
    return variable.strip().lower() in ("1", "true", "yes", "on")
