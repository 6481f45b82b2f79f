"""Sessions that were ended before their time, kept over restarts of the gateway: what signs them is kept, too."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from streamd.host.store import write_atomically

_LOG: Final = logging.getLogger(__name__)
_FILE: Final = "session.ended"
_LINE: Final = re.compile(r"([0-9a-f]{32}) ([0-9]{1,12})")
_LARGEST: Final = 1 << 20


def read_ended(directory: str) -> dict[str, int]:
    """Return when the sessions would have ended, by id, out of the unit's runtime directory, where there is one."""
    if not directory:
        return {}
    path = Path(directory) / _FILE
    try:
        with path.open("rb") as file:
            lines = file.read(_LARGEST).decode("ascii", "replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        _LOG.warning("sessions that were ended are good again, cannot read %s: %s", path, error.strerror)
        return {}
    found = [_LINE.fullmatch(line) for line in lines]
    if None in found:
        _LOG.warning("%s has lines that are none of ours", path)
    return {match[1]: int(match[2]) for match in found if match}


def keep_ended(directory: str, ended: Mapping[str, int]) -> None:
    """Write down which sessions were ended."""
    if not directory:
        return
    path = Path(directory) / _FILE
    try:
        write_atomically(path, "".join(f"{name} {ends}\n" for name, ends in ended.items()).encode())
    except OSError as error:
        _LOG.warning("after a restart, sessions that were ended are good: cannot write %s: %s", path, error.strerror)
