"""`streamctl logs`: the arguments that journalctl needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from streamd.plan.address import Address


def journalctl(
    address: str,
    units: Iterable[str],
    *,
    follow: bool = False,
    lines: str | None = None,
    since: str | None = None,
    until: str | None = None,
    json: bool = False,
) -> list[str]:
    """Return journalctl's argv for all that concerns a route or an output.

    Args:
        address: ROUTE or ROUTE/OUTPUT.
        units: the units concerned, as far as they are known.
        follow: go on with what is logged from now on.
        lines: how many lines to begin with.
        since: from when, as journalctl takes it.
        until: until when, as journalctl takes it.
        json: one JSON object a line.
    """
    argv = ["journalctl"]
    argv += ["--follow"] if follow else []
    argv += [f"--lines={lines}"] if lines else []
    argv += [f"--since={since}"] if since else []
    argv += [f"--until={until}"] if until else []
    argv += ["--output=json"] if json else []
    argv.append(f"STREAMD_OUTPUT={address}" if "/" in address else f"STREAMD_ROUTE={address}")
    route, _slash, output = address.partition("/")
    # The manager's own lines about a unit, such as "Started", have no STREAMD field on systemd 252.
    for unit in sorted({Address(route, output).unit, *units}):
        argv += ["+", f"UNIT={unit}"]
    return argv
