"""Tells waitbus how a test session ended.

This file is what pytest loads in every session, so it imports nothing: whether anything happens is decided here, and
what happens is in the others. `session` listens to pytest and comes to a verdict, `teller` tells it without holding
anybody up, `bus` knows where the bus is and how a row gets into its log.
"""

__version__ = "0.3.0"


def pytest_addoption(parser):
    parser.addini("waitbus", "Tell waitbus how the session ended (WAITBUS_PYTEST comes first)", "bool", default=False)
    parser.addini(
        "waitbus_failures",
        "Tell waitbus of each failing test as it fails, too (WAITBUS_PYTEST_FAILURES comes first)",
        "bool",
        default=False,
    )


def pytest_configure(config):
    # A worker of pytest-xdist: the process that has started it hears of everything and speaks for all.
    if hasattr(config, "workerinput"):
        return
    import os

    environment = os.environ
    if not _is_wanted(environment.get("WAITBUS_PYTEST"), config.getini("waitbus")):
        return
    # A session that a test of another one has started. What it says is that test's business.
    if "PYTEST_CURRENT_TEST" in environment:
        return
    from .session import Session

    failures = _is_wanted(environment.get("WAITBUS_PYTEST_FAILURES"), config.getini("waitbus_failures"))
    config.pluginmanager.register(Session(config, environment, failures), "waitbus-session")


def _is_wanted(variable, setting):
    """What the environment says, else what the ini file says. An empty variable counts as unset."""
    if not variable:
        return setting
    return variable.strip().lower() in ("1", "true", "yes", "on")
