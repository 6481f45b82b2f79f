"""What a confined run does: builds, boots, tests, in this order, for one suite after the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import axe, package, rootfs, schemathesis, source
from tests.harness.appliance import Appliance, in_container
from tests.harness.command import Clock, HarnessError, complain, say
from tests.harness.confinement import Run
from tests.harness.guest import FORGIVE, PASSED
from tests.harness.host import TREE
from tests.harness.lock import lock
from tests.harness.overlay import overlay

INSTALL_LIMIT = 120.0
UNIT_LIMIT = 1200.0
APPLIANCE_LIMIT = 2700.0
DEMO_LIMIT = 300.0
BENCH_LIMIT = 3600.0
SOAK_LIMIT = 900.0
"""Seconds that a soak may take more than it was asked to."""
DEVELOPER_LIMIT = 1800.0

GUEST_TREE = "/opt/streamd"
SHARED = ("tests", "etc", "units", "debian", "pyproject.toml", "README.md", "LICENSE")
"""What the guest sees of the source tree; not the code, for what is tested there is the installed package."""

GUEST_PYTEST = ("/usr/bin/python3", "-P", f"{GUEST_TREE}/tests/harness/guest.py")
PYTEST_OPTIONS = ("-o", "faulthandler_timeout=240")
FORGIVEN = 3
"""Failed tests of a stage that run once more; with more than these it is not the machine that was busy."""
LATER_BOOTS = "after_reboot or before_damage or after_damage"
"""The tests that are not for the first boot of an appliance."""


@dataclass
class Stages:
    """The steps of one run."""

    this: Run
    clock: Clock = field(default_factory=Clock)

    @contextmanager
    def appliance(self, suite: str, *, live: bool = False) -> Iterator[Appliance]:
        """Build what is missing and yield an appliance with streamd installed, not booted yet.

        Args:
            suite: the Debian suite.
            live: show the guest the source tree itself, not a copy of it.
        """
        cache = self.this.cache
        scratch = self.this.directory / suite
        scratch.mkdir()
        with ExitStack() as stack:
            with self.clock.step(f"{suite}: root file system"):
                root = rootfs.ensure(cache, suite)
                stack.enter_context(lock(rootfs.in_use(root), shared=True))
            with self.clock.step(f"{suite}: package"):
                tree = source.copy(scratch / "source")
                debs = package.ensure(cache, root, tree, scratch / "build")
            view = stack.enter_context(overlay(root, scratch / "appliance"))
            with self.clock.step(f"{suite}: installation"):
                self.install(suite, view, debs)
            # Not among the other logs: runs side by side share their directory, and it is shown when a boot fails.
            console = scratch / "console.log"
            shown = TREE if live else tree
            binds = {shown / name: f"{GUEST_TREE}/{name}" for name in SHARED if (shown / name).exists()}
            if tester := schemathesis.ensure(cache, suite):
                binds[tester] = f"{GUEST_TREE}/schemathesis"
            else:
                complain(f"schemathesis cannot be had, see {cache.logs / 'schemathesis.log'}")
            appliance = Appliance(self.this, view, console, binds)
            stack.callback(appliance.kill)
            yield appliance

    def install(self, suite: str, view: Path, debs: package.Debs) -> None:
        """Install the packages as an administrator would, and leave both versions of them for tests of upgrades."""
        for which in (package.CURRENT, package.NEXT):
            directory = view / f"opt/streamd/debs/{which}"
            directory.mkdir(parents=True)
            for path in debs.find(which):
                shutil.copy2(path, directory)
        paths = [f"{GUEST_TREE}/debs/{package.CURRENT}/{path.name}" for path in debs.find(package.CURRENT)]
        log = self.this.directory / suite / "install.log"
        apt = ["apt-get", "install", "--yes", "--no-install-recommends", "-o", "APT::Sandbox::User=root", *paths]
        in_container(view, apt, limit=INSTALL_LIMIT, log=log)
        # Some tests read the code; what they find where the source tree has it is what was installed.
        (view / "opt/streamd/streamd").symlink_to("/usr/lib/python3/dist-packages/streamd")
        if script := axe.ensure(self.this.cache):
            shutil.copy2(script, view / "opt/streamd/axe.min.js")
        else:
            complain(f"axe-core cannot be had, see {self.this.cache.logs / 'axe.log'}")
        if mediamtx := shutil.which("mediamtx"):
            shutil.copy2(mediamtx, view / "usr/local/bin/mediamtx")

    def boot(self, appliance: Appliance, name: str, *, degraded: bool = False) -> None:
        """Boot an appliance as a step of its own."""
        with self.clock.step(name):
            appliance.boot(degraded=degraded)

    def pytest(
        self, appliance: Appliance, name: str, arguments: Sequence[str], limit: float, forgiven: int = FORGIVEN
    ) -> bool:
        """Run tests in the guest and return whether all passed; show the journal otherwise."""
        options = (FORGIVE, str(forgiven), *PYTEST_OPTIONS)
        with self.clock.step(name):
            try:
                status = appliance.run(*GUEST_PYTEST, *options, *arguments, limit=limit)
            except HarnessError as error:
                complain(str(error))
                status = 1
        if status == PASSED:
            return True
        journal = self.this.cache.logs / f"{name.replace(': ', '-').replace(' ', '-')}.journal"
        appliance.save_journal(journal)
        print(appliance.journal(), flush=True)
        complain(f"{name} failed with exit status {status}; the whole journal is in {journal}")
        return False

    def pure(self, suite: str) -> bool:
        """Run the tests that ask for no machine with a suite's Python; return whether all passed."""
        with self.appliance(suite) as appliance:
            self.boot(appliance, f"{suite}: boot")
            paths = ["tests/unit", "tests/bus", "-m", "not host"]
            return self.pytest(appliance, f"{suite}: pure and bus tests", paths, UNIT_LIMIT)

    def each(self, suite: str) -> bool:
        """Run what is tested on every suite, with reboots in between; return whether all passed."""
        with self.appliance(suite) as appliance:
            self.boot(appliance, f"{suite}: boot")
            arguments = ["tests/appliance", "-v", "--durations=15", "-m", f"not once and not ({LATER_BOOTS})"]
            results = [self.pytest(appliance, f"{suite}: appliance tests", arguments, APPLIANCE_LIMIT)]
            results += self.later_boots(suite, appliance)
        return all(results)

    def reboots(self, suite: str) -> bool:
        """Run what is tested over reboots alone; return whether all passed."""
        with self.appliance(suite) as appliance:
            self.boot(appliance, f"{suite}: boot")
            arguments = ["tests/appliance", "-v", "-m", "before_reboot"]
            results = [self.pytest(appliance, f"{suite}: tests before the reboot", arguments, APPLIANCE_LIMIT)]
            results += self.later_boots(suite, appliance)
        return all(results)

    def later_boots(self, suite: str, appliance: Appliance) -> list[bool]:
        """Boot what the tests of the first boot have prepared, and then a damaged system; return what passed."""
        results = []
        with self.clock.step(f"{suite}: power off"):
            appliance.power_off()
        self.boot(appliance, f"{suite}: second boot")
        arguments = ["tests/appliance", "-v", "-m", "after_reboot or before_damage"]
        results.append(self.pytest(appliance, f"{suite}: tests after the reboot", arguments, APPLIANCE_LIMIT))
        with self.clock.step(f"{suite}: second power off"):
            appliance.power_off()
        self.boot(appliance, f"{suite}: boot of the damaged system", degraded=True)
        arguments = ["tests/appliance", "-v", "-m", "after_damage"]
        results.append(self.pytest(appliance, f"{suite}: tests of the damaged system", arguments, APPLIANCE_LIMIT))
        return results

    def once(self, suite: str, number: int, parts: int) -> bool:
        """Run one part of what is the same on every suite; return whether all passed."""
        if number == 1:
            self.self_test(suite)
        with self.appliance(suite) as appliance:
            self.boot(appliance, f"{suite}: boot")
            arguments = ["tests/appliance", "-v", "--durations=15", "-m", "once", f"--part={number}/{parts}"]
            return self.pytest(appliance, f"{suite}: tests that run once, part {number}", arguments, APPLIANCE_LIMIT)

    def script(self, suite: str, path: str, limit: float, *arguments: str) -> int:
        """Run a script of the tree on a freshly booted appliance and return its exit status."""
        with self.appliance(suite) as appliance:
            self.boot(appliance, f"{suite}: boot")
            with self.clock.step(f"{suite}: {path}"):
                status = appliance.run("/usr/bin/python3", "-P", f"{GUEST_TREE}/{path}", *arguments, limit=limit)
            if status:
                print(appliance.journal(), flush=True)
            return status

    def developer_pytest(self, suite: str, arguments: Sequence[str]) -> bool:
        """Run chosen tests on a freshly booted appliance; return whether all passed."""
        with self.appliance(suite) as appliance:
            self.boot(appliance, f"{suite}: boot", degraded=True)
            # Another -m among the arguments wins.
            chosen = ["-m", "not before_damage and not after_damage", *arguments]
            return self.pytest(appliance, f"{suite}: chosen tests", chosen, DEVELOPER_LIMIT, forgiven=0)

    def shell(self, suite: str) -> int:
        """Give the terminal to a shell on a freshly booted appliance, and return its exit status."""
        with self.appliance(suite, live=True) as appliance:
            self.boot(appliance, f"{suite}: boot", degraded=True)
            say("the tests are in /opt/streamd/tests, as in the source tree; leave with exit or Ctrl-D")
            return appliance.shell()

    def self_test(self, suite: str) -> None:
        """Make sure that a system which does not boot is noticed soon, and ended. Raises: HarnessError."""
        broken = {
            "an init that ends": ("exit 1", "ended before it had booted"),
            "an init that never gets anywhere": ("exec sleep infinity", "did not boot in time"),
        }
        root = rootfs.ensure(self.this.cache, suite)
        for number, (name, (script, verdict)) in enumerate(broken.items()):
            with (
                self.clock.step(f"self-test: {name}"),
                lock(rootfs.in_use(root), shared=True),
                overlay(root, self.this.directory / f"broken-{number}") as view,
            ):
                init = view / "usr/lib/systemd/systemd"
                init.unlink()
                init.write_text(f"#!/bin/sh\necho here\n{script}\n")
                init.chmod(0o755)
                appliance = Appliance(self.this, view, self.this.directory / "console.log", {})
                try:
                    appliance.boot(limit=3)
                except HarnessError as error:
                    if verdict not in str(error) or "here" not in str(error):
                        raise HarnessError(f"{name} was told as: {error}") from None
                else:
                    raise HarnessError(f"{name} counted as a boot")
