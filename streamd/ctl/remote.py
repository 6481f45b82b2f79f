"""`streamctl -H HOST`: the same command over ssh. Pure but for the last step."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from streamd.ctl.exits import FAILURE, Failure

_QUIET: Final = ("-o", "LogLevel=ERROR")
"""Without it ssh says at the end of each command on a terminal that the connection was closed."""


def is_host(text: str) -> bool:
    """Return whether ssh will read this as a destination and nothing else."""
    return bool(text) and not text.startswith("-") and text.isprintable() and " " not in text


def ssh(host: str, words: Sequence[str], *, terminal: bool) -> list[str]:
    """Return ssh's argv.

    Args:
        host: HOST, USER@HOST or ssh://USER@HOST:PORT.
        words: streamctl's own argv. A shell reads them over there, so they are quoted for one.
        terminal: whether the command is to have a terminal over there.
    """
    return ["ssh", *_QUIET, "-t" if terminal else "-T", "--", host, shlex.join(words)]


def run_there(host: str, words: Sequence[str]) -> NoReturn:
    """Become ssh; its exit status is streamctl's over there, or 255 when ssh itself fails. Raises: Failure."""
    # A terminal over there joins output and errors, so it is used only where both end up on one anyway. It brings
    # colours, the width, Ctrl-C and the question for a password.
    terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    argv = ssh(host, words, terminal=terminal)
    try:
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as error:
        raise Failure(f"cannot run ssh: {error.strerror}", FAILURE) from error
