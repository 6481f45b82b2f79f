"""schemathesis, which asks the REST interface for whatever its description allows or forbids. It is for tests alone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from tests.harness.command import run
from tests.harness.host import Cache
from tests.harness.lock import lock

PACKAGE: Final = "schemathesis==4.32.5"
PYTHONS: Final = {"bookworm": "3.11", "trixie": "3.13"}
"""The Python of each suite, for which some of its libraries are compiled."""
LIMIT: Final = 300.0


def ensure(cache: Cache, suite: str) -> Path | None:
    """Return a directory to import it from on a suite, fetched first where it is missing; None where it cannot be had.

    The log explains why.
    """
    kept = cache.path / "schemathesis" / f"{PACKAGE}-{suite}"
    with lock(cache.path / "schemathesis.lock"):
        if not kept.exists():
            scratch = kept.with_suffix(".new")
            shutil.rmtree(scratch, ignore_errors=True)
            log = cache.logs / "schemathesis.log"
            log.unlink(missing_ok=True)
            run([sys.executable, "-m", "venv", scratch / "venv"], limit=LIMIT, log=log)
            pip: list[str | Path] = [scratch / "venv/bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
            of = [f"--python-version={PYTHONS[suite]}", "--only-binary=:all:", f"--target={scratch / 'target'}"]
            if run([*pip, *of, PACKAGE], limit=LIMIT, log=log, check=False):
                return None
            (scratch / "target").rename(kept)
            shutil.rmtree(scratch)
    return kept
