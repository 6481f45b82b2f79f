"""Who asks: root, somebody whom a polkit rule allows to start and stop, and nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.appliance.host import run, wait_until

OPERATOR = "streamops"
"""Somebody who may start and stop, but not configure."""
RULES = Path("/etc/polkit-1/rules.d/10-streamd-test.rules")
_RULE = f"""
polkit.addRule(function (action, subject) {{
    if (action.id == "org.streamd1.control" && subject.user == "{OPERATOR}")
        return polkit.Result.YES;
}});
"""


def become(user: str) -> tuple[str, ...]:
    """Return what to put before a command so that `user` runs it."""
    if user == "root":
        return ()
    return ("setpriv", f"--reuid={user}", f"--regid={_group(user)}", "--clear-groups", "--reset-env")


def _group(user: str) -> str:
    return run("id", "-g", user).stdout.strip()


@contextmanager
def operator() -> Iterator[str]:
    """Make the user, with the rule in force."""
    run("useradd", "--system", "--user-group", "--create-home", "--shell", "/bin/sh", OPERATOR)
    RULES.write_text(_RULE)
    RULES.chmod(0o644)
    run("systemctl", "restart", "polkit.service")
    try:
        wait_until(_is_allowed, 20, "polkit has read the rule")
        yield OPERATOR
    finally:
        RULES.unlink()
        run("systemctl", "restart", "polkit.service")
        run("userdel", "--remove", OPERATOR, check=False)


def _is_allowed() -> bool:
    reload = ("busctl", "call", "org.streamd1", "/org/streamd1", "org.streamd1.Manager", "Reload", "a{sv}", "0")
    return run(*become(OPERATOR), *reload, check=False).returncode == 0
