"""The root file system of a suite: a minimal Debian with what streamd and its tests need, kept between runs."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.harness.command import run
from tests.harness.host import Cache
from tests.harness.lock import is_held, lock

BUILD_LIMIT = 900.0

SYSTEM = ("systemd", "systemd-sysv", "dbus", "polkitd", "procps", "iproute2", "nftables", "ca-certificates")
RUNTIME = (
    "ffmpeg",
    "libjs-bootstrap5",
    "python3",
    "python3-dbus-next",
    "python3-fastapi",
    "python3-httpx",
    "python3-systemd",
    "python3-tomli-w",
    "python3-uvicorn",
    "python3-watchdog",
    "python3-websockets",
)
"""What the packages depend on: with it in place they install without a network."""
TESTING = (
    "autopkgtest",
    "chromium",
    "chromium-driver",
    "fonts-dejavu-core",
    "gir1.2-gst-plugins-bad-1.0",
    "gstreamer1.0-libav",
    "gstreamer1.0-nice",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-ugly",
    "gstreamer1.0-rtsp",
    "gstreamer1.0-tools",
    "libglib2.0-bin",
    "libnginx-mod-rtmp",
    "lintian",
    "nginx-light",
    "openssh-client",
    "openssh-server",
    "openssl",
    "prometheus",
    "python3-dbusmock",
    "python3-gi",
    "python3-hypothesis",
    "python3-pytest",
    "rsyslog",
    "socat",
    "srt-tools",
    "systemd-journal-remote",
)
BUILDING = ("debhelper", "dh-python", "dpkg-dev", "pybuild-plugin-pyproject", "python3-all", "python3-setuptools")
PACKAGES = (*SYSTEM, *RUNTIME, *TESTING, *BUILDING)

MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "man-db.timer",
    "systemd-modules-load.service",
)
"""What fails in a container, or costs time there for nothing."""
DISABLED = (
    "multi-user.target.wants/nginx.service",
    "multi-user.target.wants/prometheus.service",
    "multi-user.target.wants/rsyslog.service",
    "multi-user.target.wants/ssh.service",
    "sockets.target.wants/ssh.socket",
    "sockets.target.wants/systemd-journal-gatewayd.socket",
    "sockets.target.wants/systemd-journal-remote.socket",
)
"""What the tests start themselves, with configurations of their own."""

MACHINE_ID = "5712ea3dc0de4d1cb1a4f5a2e9d0b7c6"
"""Fixed, so that a boot is never a first boot: that would apply presets, and the journal would change its place."""


def key() -> str:
    """Return a hash of all that makes up a root file system."""
    recipe = repr((sorted(PACKAGES), MASKED, DISABLED, MACHINE_ID, Path(__file__).read_text()))
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def path_of(cache: Cache, suite: str) -> Path:
    """Return where a suite's root file system is, once built."""
    return cache.path / "rootfs" / f"{suite}-{key()}"


def ensure(cache: Cache, suite: str) -> Path:
    """Return a suite's root file system, built first where it is missing. It is never written to again."""
    root = path_of(cache, suite)
    with lock(root.with_suffix(".build")):
        if not root.exists():
            forget_old(root.parent, suite)
            unfinished = root.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            log = cache.logs / f"{suite}-rootfs.log"
            log.unlink(missing_ok=True)
            include = "--include=" + ",".join(PACKAGES)
            run(["mmdebstrap", "--variant=minbase", include, suite, unfinished], limit=BUILD_LIMIT, log=log)
            customize(unfinished)
            unfinished.rename(root)
    return root


def in_use(root: Path) -> Path:
    """Return the lock that whoever uses a root file system holds shared."""
    return root.with_suffix(".lock")


def forget_old(directory: Path, suite: str) -> None:
    """Remove a suite's root file systems by older recipes, unless somebody uses them."""
    for old in directory.glob(f"{suite}-*"):
        if old.is_dir() and not is_held(in_use(old)):
            shutil.rmtree(old)
            in_use(old).unlink(missing_ok=True)


def customize(root: Path) -> None:
    """Make it boot fast and silently in a container."""
    units = root / "etc/systemd/system"
    for unit in MASKED:
        link = units / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    for name in DISABLED:
        (units / name).unlink(missing_ok=True)
    (root / "etc/machine-id").write_text(MACHINE_ID + "\n")
    (root / "etc/hostname").write_text("appliance\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost appliance\n::1 localhost\n")
    (root / "var/log/journal").mkdir(exist_ok=True)
    (root / "opt/streamd/tests").mkdir(parents=True, exist_ok=True)
