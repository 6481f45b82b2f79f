"""The appliance: a root file system booted by systemd-nspawn, with a network of its own that is the loopback alone."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.harness.command import HarnessError, kill_group, output, run, tail
from tests.harness.confinement import NSPAWN_STATE, Run

BOOT_LIMIT = 90.0
HALT_LIMIT = 60.0
COMMAND_LIMIT = 30.0
JOURNAL_LINES = 200
UNIT = "appliance-session"
"""The transient unit in which commands run in the guest."""

NSPAWN = (
    "systemd-nspawn",
    "--quiet",
    "--register=no",
    "--keep-unit",
    "--private-network",
    "--machine=appliance",
    "--resolv-conf=off",
    "--timezone=off",
    "--link-journal=no",
)
HOST_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
}
GUEST_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TERM": os.environ.get("TERM", "dumb"),
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    # Whether property-based tests look for new examples.
    **{name: os.environ[name] for name in ("STREAMD_SEARCH",) if name in os.environ},
}


def in_container(root: Path, argv: Sequence[str], *, limit: float, log: Path, directory: str = "/") -> None:
    """Run one command in a root file system that is not booted. Raises: HarnessError."""
    env = {**HOST_ENVIRONMENT, "SYSTEMD_LOG_LEVEL": "warning"}
    options = [f"--directory={root}", f"--chdir={directory}", "--as-pid2", "--console=pipe"]
    options += ["--setenv=DEBIAN_FRONTEND=noninteractive", "--setenv=LC_ALL=C.UTF-8"]
    run([*NSPAWN, *options, *argv], limit=limit, log=log, env=env)


class Appliance:
    """One root file system, which can be booted, used, powered off and booted again."""

    def __init__(self, this: Run, root: Path, console: Path, binds: Mapping[Path, str]) -> None:
        """Take a root file system.

        Args:
            this: the run that it is booted by.
            root: its directory.
            console: the log to which all boots append what they print.
            binds: paths of the host, and where they are seen, read-only, in the guest.
        """
        self.run_of = this
        self.root = root
        self.console = console
        self.binds = binds
        self.process: subprocess.Popen[bytes] | None = None
        self.leader = 0

    def boot(self, *, limit: float = BOOT_LIMIT, degraded: bool = False) -> None:
        """Boot it, and return when all that starts at boot has started.

        Args:
            limit: seconds that this may take.
            degraded: be content with a system on which some unit failed.

        Raises:
            HarnessError: it did not boot; nothing of it runs any more.
        """
        deadline = time.monotonic() + limit
        try:
            self.start(deadline)
            self.require_running("running", "degraded" if degraded else "running")
        except BaseException:
            self.kill()
            raise

    def require_running(self, *wanted: str) -> None:
        """Make sure that the guest's systemd is in one of the states wanted. Raises: HarnessError."""
        state = output(self.entered("systemctl", "is-system-running", "--wait"), limit=COMMAND_LIMIT).strip()
        if state not in wanted:
            failed = output(self.entered("systemctl", "--failed", "--no-legend", "--plain"), limit=COMMAND_LIMIT)
            raise HarnessError(f'the appliance is "{state or "silent"}" after its boot\n{failed}{self.journal()}')

    def start(self, deadline: float) -> None:
        """Start systemd-nspawn and wait for the guest's word that it has booted."""
        address = NSPAWN_STATE / "notify"
        address.unlink(missing_ok=True)
        options = [f"--directory={self.root}", "--boot", "--console=pipe", "--notify-ready=yes", "--capability=all"]
        options += [f"--bind-ro={source}:{target}" for source, target in self.binds.items()]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, self.console.open("ab") as console:
            notify.bind(str(address))
            with self.run_of.inside("guest"):
                self.process = subprocess.Popen(
                    [*NSPAWN, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    env={**HOST_ENVIRONMENT, "NOTIFY_SOCKET": str(address)},
                    start_new_session=True,
                )
            exited = os.pidfd_open(self.process.pid)
            try:
                while True:
                    left = max(0.0, deadline - time.monotonic())
                    ready, _, _ = select.select([notify.fileno(), exited], [], [], left)
                    if notify.fileno() in ready:
                        message = notify.recv(4096).decode(errors="replace").splitlines()
                        for line in message:
                            if line.startswith("X_NSPAWN_LEADER_PID="):
                                self.leader = int(line.partition("=")[2])
                        if "READY=1" in message:
                            return
                    elif ready:
                        raise HarnessError(f"the appliance ended before it had booted{tail(self.console)}")
                    else:
                        shown = self.journal() if self.leader else ""
                        raise HarnessError(f"the appliance did not boot in time{tail(self.console)}\n{shown}")
            finally:
                os.close(exited)

    def entered(self, *argv: str) -> list[str]:
        """Return the command that runs another one in the guest, outside of its control groups."""
        environment = [f"{name}={value}" for name, value in GUEST_ENVIRONMENT.items()]
        namespaces = ["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"]
        return ["nsenter", "-t", str(self.leader), *namespaces, "--", "env", "-i", *environment, *argv]

    def session(self, *argv: str) -> list[str]:
        """Return the command that runs another one in the guest, as a service of the guest's systemd.

        Its standard streams are those of the caller, its exit status becomes that of the command.
        """
        options = ["--quiet", "--pipe", "--wait", "--collect", "--service-type=exec", f"--unit={UNIT}"]
        options += ["--working-directory=/opt/streamd", "--property=TimeoutStopSec=5s", "--property=LimitNOFILE=65536"]
        options += [f"--setenv={name}={value}" for name, value in GUEST_ENVIRONMENT.items()]
        return self.entered("systemd-run", *options, *argv)

    def run(self, *argv: str, limit: float) -> int:
        """Run a command in the guest and return its exit status. Raises: HarnessError when it takes too long."""
        sys.stdout.flush()
        try:
            return run(self.session(*argv), limit=limit, check=False)
        except HarnessError:
            output(self.entered("systemctl", "stop", UNIT), limit=COMMAND_LIMIT)
            raise

    def shell(self) -> int:
        """Give the terminal to a shell in the guest, and return its exit status."""
        return subprocess.run(self.entered("/bin/bash", "-l"), check=False).returncode

    def journal(self, lines: int = JOURNAL_LINES) -> str:
        """Return the last lines of the guest's journal, and what has become of the units of streamd."""
        units = output(self.entered("systemctl", "list-units", "--all", "--no-pager", "streamd*"), limit=COMMAND_LIMIT)
        show = ["journalctl", "--boot", "--no-pager", "--output=short-precise", f"--lines={lines}"]
        text = output(self.entered(*show), limit=COMMAND_LIMIT)
        return f"units:\n{units}\nthe end of the journal:\n{text}"

    def save_journal(self, path: Path) -> None:
        """Write the whole journal of the guest to a file of the host."""
        path.write_text(output(self.entered("journalctl", "--no-pager", "--output=short-precise"), limit=60))

    def power_off(self) -> None:
        """Shut it down in good order. Raises: HarnessError when that takes too long."""
        assert self.process is not None
        output(self.entered("systemctl", "poweroff"), limit=COMMAND_LIMIT)
        try:
            self.process.wait(HALT_LIMIT)
        except subprocess.TimeoutExpired:
            raise HarnessError(
                f"the appliance did not shut down in time\n{self.journal()}{tail(self.console)}"
            ) from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, with all of its processes, if it runs."""
        if self.leader:
            # The first process of its PID namespace: with it the kernel ends all the others.
            with suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5 if self.leader else 0)
            kill_group(self.process)
        self.process, self.leader = None, 0
