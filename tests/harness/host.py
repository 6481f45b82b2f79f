"""The host: what has to be installed on it, the Python environment of the linters, and the tests that run there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.command import HarnessError, run, say

TREE = Path(__file__).resolve().parents[2]
REQUIREMENTS = TREE / "tests/requirements.txt"
FUZZ_LIMIT = 900.0
"""Seconds that a search may take more than it was asked to, to make what it keeps short."""

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "shellcheck": "shellcheck",
    "git": "git",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
}
"""Commands that the harness needs, and the Debian packages that bring them."""

FILES = {"/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring"}
"""Files that it needs, likewise."""


@dataclass(frozen=True)
class Cache:
    """What is kept between runs, outside the tree."""

    path: Path

    @staticmethod
    def default() -> Cache:
        """Return $STREAMD_TEST_CACHE, or /var/cache/streamd-tests."""
        return Cache(Path(os.environ.get("STREAMD_TEST_CACHE") or "/var/cache/streamd-tests").resolve())

    @property
    def logs(self) -> Path:
        """Return the directory of logs of the last run."""
        return self.path / "logs"

    @property
    def runs(self) -> Path:
        """Return the directory that holds one directory for each run under way."""
        return self.path / "runs"

    @property
    def venv(self) -> Path:
        """Return the Python environment of the linters."""
        return self.path / "venv"

    def prepare(self) -> None:
        """Make the directories."""
        for path in (self.path, self.logs, self.runs):
            path.mkdir(parents=True, exist_ok=True)


def require_root() -> None:
    """Refuse anybody but root, with a reason."""
    if os.geteuid() != 0:
        raise HarnessError("must run as root: it mounts file systems and boots a container; try sudo tests/run …")


def install_tools(cache: Cache) -> None:
    """Install on the host, with apt-get, the tools that are missing."""
    missing = {package for tool, package in TOOLS.items() if not shutil.which(tool)}
    missing |= {package for file, package in FILES.items() if not Path(file).exists()}
    if run([sys.executable, "-c", "import ensurepip, venv"], limit=30, log=cache.logs / "host.log", check=False):
        missing.add("python3-venv")
    if not missing:
        return
    packages = sorted(missing)
    if not shutil.which("apt-get"):
        raise HarnessError(
            f"needs these Debian packages, and there is no apt-get to install them: {' '.join(packages)}"
        )
    say(f"installing on this host: {' '.join(packages)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    log = cache.logs / "host.log"
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if run(install, limit=600, log=log, env=env, check=False):
        run(["apt-get", "update"], limit=300, log=log, env=env)
        run(install, limit=600, log=log, env=env)


def ensure_venv(cache: Cache) -> Path:
    """Return the bin directory of an environment with what tests/requirements.txt asks for."""
    stamp = cache.venv / "requirements.txt"
    wanted = REQUIREMENTS.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        log = cache.logs / "venv.log"
        shutil.rmtree(cache.venv, ignore_errors=True)
        run([sys.executable, "-m", "venv", cache.venv], limit=120, log=log)
        pip: list[str | Path] = [
            cache.venv / "bin/python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        run([*pip, "--requirement", REQUIREMENTS], limit=600, log=log)
        stamp.write_text(wanted)
    return cache.venv / "bin"


def _environment(cache: Cache, scripts: Path) -> dict[str, str]:
    return {
        "PATH": f"{scripts}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(cache.path),
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def unit_tests(cache: Cache) -> bool:
    """Run the pure tests and the linters on the host; return whether all passed."""
    scripts = ensure_venv(cache)
    env = {**_environment(cache, scripts), "STREAMD_REQUIRE_LINTERS": "1"}
    argv: list[str | Path] = [scripts / "python", "-m", "pytest", "tests/unit"]
    return run(argv, limit=600, env=env, cwd=TREE, check=False) == 0


def fuzz(cache: Cache, seconds: float, arguments: Sequence[str]) -> int:
    """Fuzz on the host for so long, and return the exit status."""
    scripts = ensure_venv(cache)
    argv: list[str | Path] = [scripts / "python", "-m", "tests.fuzz.run", str(seconds), *arguments]
    return run(argv, limit=seconds + FUZZ_LIMIT, env=_environment(cache, scripts), cwd=TREE, check=False)
