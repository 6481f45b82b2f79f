"""The verb that makes, lists and revokes the keys of streamd-web. It needs no daemon, and no gateway that runs."""

from __future__ import annotations

import argparse
import os
import sys

from streamd.ctl.exits import DENIED, FAILURE, NO_SUCH_THING, OK, USAGE, Failure
from streamd.ctl.printing import print_result
from streamd.ctl.style import Style, table


def run_web(options: argparse.Namespace) -> int:
    """Make, list or revoke keys. Raises: Failure."""
    from streamd.host.webkeys import KEY_FILE, KeyFileError  # noqa: PLC0415 (only this verb needs it)

    _check(options)
    if os.geteuid() != 0:
        raise Failure(f"only root may read or change {KEY_FILE}", DENIED)
    try:
        return {"add": _add, "list": _list, "revoke": _revoke}[options.action](options)
    except KeyFileError as error:
        raise Failure(str(error), FAILURE) from None


def _check(options: argparse.Namespace) -> None:
    if (options.name is None) is not (options.action == "list"):
        raise Failure("write: web key add NAME --role ROLE, or: web key list, or: web key revoke NAME", USAGE)
    if (options.role is None) is (options.action == "add"):
        text = "say what the key is for, with --role" if options.role is None else "--role is for web key add"
        raise Failure(text, USAGE)


def _add(options: argparse.Namespace) -> int:
    from streamd.host.webkeys import KEY_FILE, ROLES, add_key  # noqa: PLC0415

    secret = add_key(options.name, ROLES[options.role], KEY_FILE)
    # The key alone goes to standard output, so that a script has nothing to take apart.
    print_result(options, {"name": options.name, "role": options.role, "key": secret}, lambda _style: f"{secret}\n")
    if not options.json and sys.stdout.isatty():
        sys.stderr.write("Keep it: what streamd-web has of it does not tell it again.\n")
    return OK


def _list(options: argparse.Namespace) -> int:
    from streamd.host.webkeys import KEY_FILE, read_keys  # noqa: PLC0415

    keys = sorted(read_keys(KEY_FILE).values(), key=lambda key: key.name)
    document = [{"name": key.name, "role": str(key.role), "created": key.created.isoformat()} for key in keys]

    def render(style: Style) -> str:
        if not keys:
            return "There are no keys. Make one with: streamctl web key add NAME --role observer\n"
        rows = [["NAME", "ROLE", "CREATED"], *([key["name"], key["role"], key["created"]] for key in document)]
        return "".join("  ".join(cells).rstrip() + "\n" for cells in table(rows, style))

    print_result(options, document, render)
    return OK


def _revoke(options: argparse.Namespace) -> int:
    from streamd.host.webkeys import KEY_FILE, revoke_key  # noqa: PLC0415

    if not revoke_key(options.name, KEY_FILE):
        raise Failure(f'there is no key "{options.name}"', NO_SUCH_THING)
    print_result(options, {"name": options.name}, lambda _style: "")
    return OK
