"""axe-core, with which the tests of the dashboard judge what a screen reader would meet. It is for tests alone."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

from tests.harness.command import run
from tests.harness.host import Cache
from tests.harness.lock import lock

PACKAGE = "axe-playwright-python==0.1.8"
"""Carries axe-core 4.12.1; what else it is and needs is not installed."""
SCRIPT = "axe_playwright_python/axe.min.js"
LIMIT = 120.0


def ensure(cache: Cache) -> Path | None:
    """Return the script, fetched first where it is missing; None where it cannot be had, which the log explains."""
    kept = cache.path / "axe"
    script = kept / f"{PACKAGE}.js"
    with lock(cache.path / "axe.lock"):
        if not script.exists():
            shutil.rmtree(kept, ignore_errors=True)
            log = cache.logs / "axe.log"
            log.unlink(missing_ok=True)
            run([sys.executable, "-m", "venv", kept / "venv"], limit=LIMIT, log=log)
            pip: list[str | Path] = [kept / "venv/bin/python", "-m", "pip", "--disable-pip-version-check"]
            if run([*pip, "download", "--no-deps", "--dest", kept, PACKAGE], limit=LIMIT, log=log, check=False):
                return None
            (wheel,) = kept.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                script.write_bytes(archive.read(SCRIPT))
            shutil.rmtree(kept / "venv")
    return script
