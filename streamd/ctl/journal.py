"""The last lines of a log, as `systemctl status` shows them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

_JOURNALS: Final = (Path("/var/log/journal"), Path("/run/log/journal"))
_WITHIN: Final = 15.0
"""Seconds for a look into a large journal."""


def last_lines(argv: Sequence[str]) -> list[str]:
    """Return what journalctl prints, or one line why nothing can be shown.

    Args:
        argv: journalctl's, with what is wanted.
    """
    if os.geteuid() != 0 and not _is_readable(_JOURNALS):
        return ["The log is not shown: only root and the groups adm and systemd-journal may read the journal."]
    program, *arguments = argv
    try:
        done = subprocess.run(
            [program, "--no-pager", "--quiet", "--output=short", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_WITHIN,
        )
    except OSError as error:
        return [f"The log is not shown: cannot run {program}: {error.strerror}."]
    except subprocess.TimeoutExpired:
        return [f"The log is not shown: {program} took longer than {_WITHIN:g} s."]
    if done.returncode and not done.stdout:
        problem = done.stderr.decode(errors="replace").strip().splitlines()
        return [f"The log is not shown: {problem[0] if problem else f'{program} failed'}"]
    return done.stdout.decode(errors="replace").splitlines()


def _is_readable(folders: Iterable[Path]) -> bool:
    """Return whether the caller may read a journal of the system's; a user's own tells nothing of units."""
    files = chain.from_iterable(folder.glob("*/system.journal") for folder in folders)
    try:
        return any(os.access(path, os.R_OK, effective_ids=True) for path in files)
    except OSError:  # a folder that may not be looked into
        return False
