"""Forty outputs that send for hours, while chance does to them, and around them, what happens in a year.

    tests/run soak SUITE [DURATION] [--seed N]              # 10m, 24h; 30m if not given

One thing is done at a time; each time it is known which outputs may notice. Of all the others not one packet may be
lost, and their processes are the same ones afterwards. At the end nothing is left over: no unit, process, preset or
descriptor, and no memory.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.host import (
    CONF,
    UNITS,
    kill_daemon,
    run,
    show,
    status,
    unit_of,
    wait_until,
    write_credential,
    write_route,
)
from tests.appliance.media import Count, Sender, SrtReceiver, UdpReceiver, make_stream

BITRATE = 800_000
"""Of each input: forty outputs are 32 Mbit/s, and each datagram is compared in Python."""
ROUTES = ("s0", "s1", "s2", "s3")
UDP_EACH = 10
SRT = ("s0/caller", "s0/listener")
PASSPHRASE = "correct-horse-battery"
MOVED = 1000
"""How far an output's other port is from its first."""
MOST_EXTRA = 3
SETTLED_WITHIN = 60.0
WARM_UP = 0.3
"""Of the time, in which the daemon may be killed; after it one process lives to the end, and is measured."""
GROWTH = {"descriptors": 4, "threads": 4, "memory": 4096}
"""How much more the daemon may have at the end: the threads of its pool are made as they are needed, and stay; the KiB
are what an allocator keeps, and not what leaks; descriptors are some that are open at the moment of a look."""
REPORT_EVERY = 60.0
GARBAGE = (
    b"\x00[[[\xff",
    b"",
    b"this is no TOML\n",
    b'[input]\nurl = "gopher://h:1"\n',
    b'[input]\nurl = "udp://127.0.0.1:5000"\n[output.x]\nurl = "udp://127.0.0.1"\n',
)


@dataclass
class Output:
    """A UDP output."""

    port: int
    moved: bool = False
    stopped: bool = False
    enabled: bool = True

    @property
    def target(self) -> int:
        return self.port + (MOVED if self.moved else 0)


@dataclass
class Route:
    """A route, as its file should be."""

    number: int
    outputs: dict[str, Output]
    srt: bool = False
    there: bool = True
    broken: bool = False
    revision: int = 0

    def text(self) -> str:
        lines = [f'description = "{self.revision}"', "[input]", f'url = "udp://127.0.0.1:{5000 + self.number}"']
        for name, output in self.outputs.items():
            lines += [f"[output.{name}]", f'url = "udp://127.0.0.1:{output.target}"']
            lines += [] if output.enabled else ["enabled = false"]
        if self.srt:
            secret = 'passphrase = { credential = "venue" }'
            lines += ["[output.caller]", 'url = "srt://127.0.0.1:9000"', secret]
            lines += ["[output.listener]", 'url = "srt://127.0.0.1:9100"', 'mode = "listener"', secret]
        return "\n".join([*lines, ""])


@dataclass(frozen=True)
class Sample:
    """What the daemon has."""

    at: float
    pid: int
    descriptors: int
    threads: int
    memory: int
    """In KiB, what is its own alone: anonymous pages, without files that are mapped, such as those of the journal."""
    pss: int = 0
    """In KiB, with its part of what is shared."""


@dataclass
class Results:
    """What came of it."""

    seed: int
    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    packets: int = 0
    """Datagrams that outputs had which nobody touched."""
    lost: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Tracebacks and the like."""
    samples: list[Sample] = field(default_factory=list)

    def measured(self) -> list[Sample]:
        """Return the samples of the daemon that lived to the end, without those of its first minute."""
        last = [one for one in self.samples if one.pid == self.samples[-1].pid]
        return [one for one in last if one.at >= last[0].at + min(60.0, (last[-1].at - last[0].at) / 4)]

    def ends(self) -> tuple[list[Sample], list[Sample]]:
        """Return the first and the last quarter of what was measured."""
        found = self.measured()
        quarter = max(1, len(found) // 4)
        return found[:quarter], found[-quarter:]

    def growth(self) -> dict[str, tuple[float, float]]:
        """Return of descriptors, threads and memory the median of the first quarter and that of the last."""
        first, last = self.ends()
        return {
            name: tuple(statistics.median(getattr(one, name) for one in part) for part in (first, last))  # type: ignore[misc]
            for name in ("descriptors", "threads", "memory")
        }

    def faults(self) -> list[str]:
        """Return all that is not as it should be."""
        found = [*self.lost, *self.replaced, *self.left, *self.told]
        if not self.packets:
            found.append("no packet was counted")
        for name, (before, after) in self.growth().items():
            if after > before + GROWTH[name]:
                found.append(f"the daemon's {name} grew from {before:g} to {after:g}")
        return found

    def table(self) -> str:
        growth = self.growth()
        memory = growth["memory"]
        rows = [
            ("seed", self.seed),
            ("time", f"{self.seconds / 60:.1f} min"),
            ("operations", ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))),
            ("operations in all", self.done.total()),
            ("datagrams of untouched outputs", self.packets),
            ("of these lost, changed or repeated", len(self.lost)),
            ("untouched processes replaced", len(self.replaced)),
            ("units, processes, presets left over or missing", len(self.left)),
            ("tracebacks in the journal", len(self.told)),
            ("the daemon's descriptors", f"{growth['descriptors'][0]:g}, then {growth['descriptors'][1]:g}"),
            ("the daemon's threads", f"{growth['threads'][0]:g}, then {growth['threads'][1]:g}"),
            ("the daemon's own memory", f"{memory[0] / 1024:.1f} MiB, then {memory[1] / 1024:.1f} MiB"),
            ("the daemon's PSS at the end", f"{self.samples[-1].pss / 1024:.1f} MiB"),
            ("measured over", f"{(self.samples[-1].at - self.measured()[0].at) / 60:.1f} min of one process"),
        ]
        return "\n".join(["| what | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def listed(*patterns: str, state: str = "") -> dict[str, str]:
    """Return the units that systemd knows by these patterns, and the state of each."""
    options = ("--all", "--plain", "--no-legend", *((f"--state={state}",) if state else ()))
    rows = (line.split(None, 4) for line in run("systemctl", "list-units", *options, *patterns).stdout.splitlines())
    return {row[0]: f"{row[2]} {row[3]}" for row in rows if row}


class Soak:
    """The routes, their senders and receivers, and what is done to them."""

    def __init__(self, seconds: float, seed: int, stream: Path, stack: ExitStack) -> None:
        self.dice = Random(seed)
        self.results = Results(seed)
        self.seconds = seconds
        self.begin = time.monotonic()
        self.routes = {
            name: Route(
                number,
                {f"u{at}": Output(6000 + 100 * number + at) for at in range(UDP_EACH - (2 if not number else 0))},
                srt=not number,
            )
            for number, name in enumerate(ROUTES)
        }
        self.extra = 0
        self.dirty: set[str] = set()
        """Routes whose file changed and of which D-Bus has to tell it."""
        write_credential("venue", PASSPHRASE)
        ports = [output.port for route in self.routes.values() for output in route.outputs.values()]
        self.udp = stack.enter_context(UdpReceiver(stream, [*ports, *(port + MOVED for port in ports)]))
        self.srt = {
            SRT[0]: stack.enter_context(
                SrtReceiver(stream, "127.0.0.1", 9000, mode="listener", passphrase=PASSPHRASE, hidden=True)
            ),
            SRT[1]: stack.enter_context(
                SrtReceiver(stream, "127.0.0.1", 9100, mode="caller", passphrase=PASSPHRASE, hidden=True)
            ),
        }
        for number in range(len(ROUTES)):
            stack.enter_context(Sender(stream, "127.0.0.1", 5000 + number, bitrate=BITRATE))

    # What should be

    def outputs_of(self, name: str) -> list[str]:
        route = self.routes[name]
        return [f"{name}/{key}" for key in route.outputs] + (list(SRT) if route.srt else [])

    def output(self, address: str) -> Output:
        name, _slash, key = address.partition("/")
        return self.routes[name].outputs[key]

    def running(self) -> set[str]:
        """Return the outputs that should run."""
        there = [name for name, route in self.routes.items() if route.there]
        found = {address for name in there for address in self.outputs_of(name)}
        return {one for one in found if one in SRT or not (self.output(one).stopped or not self.output(one).enabled)}

    def wanted(self) -> set[str]:
        """Return the units that should be there."""
        there = [name for name, route in self.routes.items() if route.there]
        return {unit_of(address) for address in (*there, *self.running())}

    def fed(self, addresses: Collection[str]) -> set[str]:
        """Return those of some outputs that have an encoder."""
        return {one for one in addresses if one.partition("/")[0] in ROUTES}

    # What is

    def reset(self) -> dict[str, Count]:
        """Return the counts by the port's number, or the address of an SRT output, and count from zero."""
        found = {str(port): count for port, count in self.udp.reset().items()}
        return found | {address: receiver.reset() for address, receiver in self.srt.items()}

    def arrived(self, addresses: Collection[str]) -> dict[str, float]:
        """Return when the last datagram of each output came."""
        counts = self.udp.report()
        return {
            one: (self.srt[one].report() if one in SRT else counts[self.output(one).target]).last_at
            for one in addresses
        }

    def incarnations(self, addresses: Collection[str]) -> dict[str, str]:
        """Return which life of its unit each of the outputs is in."""
        units = {unit_of(address): address for address in addresses}
        out = run("systemctl", "show", "--property=Id,InvocationID", *units).stdout if units else ""
        blocks = (dict(line.split("=", 1) for line in block.splitlines()) for block in out.strip().split("\n\n"))
        return {units[block["Id"]]: block["InvocationID"] for block in blocks if block}

    def sample(self) -> None:
        pid = int(show("streamd.service", "MainPID")["MainPID"])
        proc = Path(f"/proc/{pid}")
        with contextlib.suppress(OSError):
            fields = dict(line.split(":", 1) for line in (proc / "smaps_rollup").read_text().splitlines()[1:])
            self.results.samples.append(
                Sample(
                    at=time.monotonic() - self.begin,
                    pid=pid,
                    descriptors=len(list((proc / "fd").iterdir())),
                    threads=len(list((proc / "task").iterdir())),
                    memory=int(fields["Pss_Anon"].split()[0]),
                    pss=int(fields["Pss"].split()[0]),
                )
            )

    # Until all is well again

    def settle(self) -> list[str]:
        """Wait until units, D-Bus and streams are as they should be; return what is not, after a while."""
        deadline = time.monotonic() + SETTLED_WITHIN
        fault = "nothing was looked at"
        for look in (self.units_fault, self.bus_fault, self.stream_fault):
            while fault := look():
                if time.monotonic() > deadline:
                    return [fault]
                time.sleep(0.1)  # other processes, some of which send no event
        return []

    def units_fault(self) -> str:
        found = listed(*UNITS)
        wanted = self.wanted()
        if missing := wanted - found.keys():
            return f"not there: {sorted(missing)}"
        if more := found.keys() - wanted:
            return f"left over: {sorted(more)}"
        odd = {unit: state for unit, state in found.items() if state != "active running"}
        return f"{odd}" if odd else ""

    def bus_fault(self) -> str:
        told = {route["route"]: route for route in (status() or {"routes": []})["routes"]}
        there = {name: route for name, route in self.routes.items() if route.there}
        if told.keys() != there.keys():
            return f"routes: {sorted(told)}, not {sorted(there)}"
        for name, route in there.items():
            if told[name]["broken"] is not route.broken:
                return f"{name} is broken: {told[name]['broken']}"
            if not route.broken and told[name]["description"] != str(route.revision):
                return f"{name} is still what it was"
        return ""

    def stream_fault(self) -> str:
        since = time.monotonic()
        fed = self.fed(self.running())

        def late() -> list[str]:
            return sorted(one for one, at in self.arrived(fed).items() if at < since)

        with contextlib.suppress(AssertionError):
            wait_until(lambda: not late(), 15, "")
        return f"nothing comes from {late()}" if late() else ""

    def judge(self, operation: str, before: dict[str, str], touched: Collection[str]) -> None:
        """Compare what came of all that were not touched with what should."""
        counts = self.reset()
        after = self.incarnations(before)
        for address in sorted(before.keys() - set(touched)):
            count = counts[address if address in SRT else str(self.output(address).target)]
            self.results.packets += count.packets
            if not count.intact or count.restarts:
                self.results.lost.append(f"{operation}: {address} lost {count.missing}, {count}")
            if after.get(address) != before[address]:
                self.results.replaced.append(f"{operation}: {address} was started anew")

    # What is done. Each yields what it does by name, and returns the outputs that may notice.

    def write(self, name: str, how: str = "") -> None:
        """Write a route's file as it should be, and let the daemon find it, or be told."""
        route = self.routes[name]
        route.revision += 1
        route.broken = False
        route.there = True
        write_route(name, route.text())
        self.stir(how)

    def stir(self, how: str = "") -> None:
        how = how or self.dice.choice(("watch", "watch", "reload", "hangup", *(["kill"] if self.may_kill() else [])))
        if how == "reload":
            run("streamctl", "reload", check=False)  # a file may be broken
        elif how == "hangup":
            run("systemctl", "kill", "--kill-whom=main", "--signal=HUP", "streamd.service")
        elif how == "kill":
            kill_daemon()

    def may_kill(self) -> bool:
        return time.monotonic() - self.begin < WARM_UP * self.seconds

    def pick(self, names: Collection[str], what: Callable[[Output], bool]) -> str:
        found = [
            f"{name}/{key}"
            for name in names
            for key, output in self.routes[name].outputs.items()
            if self.routes[name].there and not self.routes[name].broken and what(output)
        ]
        return self.dice.choice(found) if found else ""

    def sound(self) -> list[str]:
        return [name for name in ROUTES if self.routes[name].there and not self.routes[name].broken]

    def drop(self) -> set[str] | None:
        """A new route's file is dropped in."""
        extras = [name for name in self.routes if name not in ROUTES]
        if len(extras) >= MOST_EXTRA:
            return None
        self.extra = (self.extra + 1) % (4 * MOST_EXTRA)  # what is kept of a name that is gone is kept on purpose
        number = 10 + self.extra
        name = f"x{self.extra}"
        if name in self.routes:
            return None
        self.routes[name] = Route(number, {f"o{at}": Output(8000 + 10 * number + at) for at in range(2)})
        self.write(name)
        return set()

    def edit(self) -> set[str] | None:
        """An output sends elsewhere."""
        address = self.pick(self.sound(), lambda output: not output.stopped and output.enabled)
        if not address:
            return None
        self.output(address).moved ^= True
        self.write(address.partition("/")[0])
        return {address}

    def describe(self) -> set[str] | None:
        """A file changes in what touches no process."""
        names = self.sound()
        if not names:
            return None
        self.write(self.dice.choice(names))
        return set()

    def spoil(self) -> set[str] | None:
        """A file is broken, and its route goes on."""
        names = self.sound()
        if len(names) < 2:
            return None
        name = self.dice.choice(names)
        self.routes[name].broken = True
        path = CONF / f"{name}.toml"
        path.write_bytes(self.dice.choice(GARBAGE))  # in place, as a careless editor does
        self.stir()
        return set()

    def mend(self) -> set[str] | None:
        """A broken file is made good, or one that was removed comes back."""
        names = [name for name in ROUTES if self.routes[name].broken or not self.routes[name].there]
        if not names:
            return None
        name = self.dice.choice(names)
        touched = set() if self.routes[name].there else set(self.outputs_of(name))
        self.write(name)
        return touched

    def delete(self) -> set[str] | None:
        """A route's file, or one of its outputs, is removed."""
        extras = [name for name in self.routes if name not in ROUTES]
        sound = [name for name in self.sound() if name != ROUTES[0]]
        kind = self.dice.choice(("extra", "output", "output", "route"))
        if kind == "extra" and extras:
            name = self.dice.choice(extras)
            (CONF / f"{name}.toml").unlink()
            del self.routes[name]
            self.stir()
            return set()
        if kind == "output":
            return self.toggle()
        if len(sound) < 2:
            return None
        name = self.dice.choice(sound)
        touched = set(self.outputs_of(name))
        (CONF / f"{name}.toml").unlink()
        self.routes[name].there = False
        for output in self.routes[name].outputs.values():
            output.stopped = False  # nobody remembers what was stopped of a route that is gone
        self.stir()
        return touched

    def toggle(self) -> set[str] | None:
        """An output is disabled in its file, or enabled again."""
        address = self.pick(self.sound(), lambda output: not output.stopped)
        if not address:
            return None
        output = self.output(address)
        output.enabled = not output.enabled
        self.write(address.partition("/")[0])
        return {address}

    def kill(self) -> set[str] | None:
        """An FFmpeg is killed, or an ingest, or the daemon."""
        kind = self.dice.choice(("output", "output", "output", "ingest", "daemon"))
        if kind == "daemon":
            if not self.may_kill():
                return None
            kill_daemon()
            return set()
        if kind == "ingest":
            names = [name for name in ROUTES[1:] if self.routes[name].there]
            if not names:
                return None
            name = self.dice.choice(names)
            self.kill_unit(name)
            return set(self.outputs_of(name))
        address = self.pick(ROUTES, lambda output: not output.stopped and output.enabled)
        if not address:
            return None
        self.kill_unit(address)
        return {address}

    def kill_unit(self, address: str) -> None:
        before = show(unit_of(address), "MainPID")["MainPID"]
        run("systemctl", "kill", "--signal=KILL", unit_of(address))

        def again() -> bool:
            return show(unit_of(address), "MainPID")["MainPID"] not in ("0", before)

        wait_until(again, 45, f"{address} runs again")

    def stop(self) -> set[str] | None:
        """An operator stops or restarts an output."""
        address = self.pick(self.sound(), lambda output: not output.stopped and output.enabled)
        if not address:
            return None
        how = self.dice.choice(("streamctl stop", "streamctl restart", "systemctl stop", "systemctl restart"))
        tool, verb = how.split()
        run(tool, verb, address if tool == "streamctl" else unit_of(address))
        self.output(address).stopped = verb == "stop"
        return {address}

    def start(self) -> set[str] | None:
        """An operator starts what was stopped."""
        address = self.pick(self.sound(), lambda output: output.stopped)
        if not address:
            return None
        run("streamctl", "start", address)
        self.output(address).stopped = False
        return {address}

    def reload(self) -> set[str] | None:
        """Everything is told to look again."""
        how = self.dice.choice(("reload", "hangup", "daemon-reload", "daemon-reload", "daemon-reexec", "restart"))
        if how == "restart":
            if not self.may_kill():
                return None
            run("systemctl", "restart", "streamd.service")
        elif how.startswith("daemon-"):
            run("systemctl", how, seconds=120)
        else:
            self.stir(how)
        return set()

    def read(self) -> set[str] | None:
        """Somebody looks."""
        for argv in (("status",), ("list",), ("check",), ("diff",)):
            run("streamctl", *argv, check=False)
        run("busctl", "introspect", "org.streamd1", "/org/streamd1", check=False)
        return set()

    def operations(self) -> Iterator[Callable[[], set[str] | None]]:
        """Yield what is done next, for ever."""
        often = {
            **dict.fromkeys((self.edit, self.stop, self.start, self.kill, self.delete, self.mend), 3),
            **dict.fromkeys((self.drop, self.spoil, self.toggle, self.reload), 2),
            **dict.fromkeys((self.describe, self.read), 1),
        }
        while True:
            yield self.dice.choices(list(often), list(often.values()))[0]

    # From the beginning to the end

    def run(self) -> Results:
        for name in ROUTES:
            self.write(name, "watch")
        self.fail_on(self.settle(), "the beginning")
        self.fed_first()
        self.reset()
        told = self.begin = time.monotonic()
        self.sample()
        for operation in self.operations():
            if time.monotonic() - self.begin > self.seconds:
                break
            name = operation.__name__
            before = self.incarnations(self.fed(self.running()))
            touched = operation()
            if touched is None:
                continue
            self.results.done[name] += 1
            # What came back, or is new, was not there before, so it is nobody who may not notice.
            self.fail_on(self.settle(), name)
            self.judge(name, before, touched)
            self.sample()
            if time.monotonic() - told > REPORT_EVERY:
                told = time.monotonic()
                self.report()
        self.results.seconds = time.monotonic() - self.begin
        self.finish()
        return self.results

    def fed_first(self) -> None:
        """Wait until every receiver has had something, so that what it counts from here on is without a hole."""
        wait_until(lambda: all(self.arrived(self.fed(self.running())).values()), 60, "every output sends")

    def fail_on(self, faults: list[str], what: str) -> None:
        """Note what did not become well, and end: nothing after it could be judged."""
        if faults:
            self.results.seconds = time.monotonic() - self.begin
            self.sample()
            raise SoakError(f"after {what}: {'; '.join(faults)}", self.results)

    def report(self) -> None:
        last = self.results.samples[-1]
        print(
            f"{last.at / 60:.0f} min: {self.results.done.total()} operations, {self.results.packets} datagrams, "
            f"{len(self.results.lost)} losses, {len(self.results.replaced)} replaced; the daemon has "
            f"{last.descriptors} descriptors, {last.threads} threads, {last.memory / 1024:.1f} MiB of its own",
            flush=True,
        )

    def finish(self) -> None:
        """Look for what is left over while all still runs, and after all was removed."""
        left = self.results.left
        processes = run("systemctl", "status", "--no-pager", "--lines=0", "streamd.slice", check=False).stdout
        running = len(re.findall(r"─\d+ \S*ffmpeg\b", processes))
        if running != len(self.wanted()):
            left.append(f"{running} FFmpegs run for {len(self.wanted())} units")
        presets = {path.name for path in Path("/run/streamd/presets").iterdir()}
        secret = {unit_of(address) for address in SRT}
        if presets != secret:
            left.append(f"presets: {sorted(presets)}, not {sorted(secret)}")
        for path in CONF.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for route in self.routes.values():
            route.there = False
        run("streamctl", "reload")
        left += self.settle()
        deadline = time.monotonic() + SETTLED_WITHIN
        while (units := listed("streamd-*.slice", "streamd-*@*")) and time.monotonic() < deadline:
            time.sleep(0.5)  # an empty slice goes when systemd gets to it
        left += [f"left over: {unit}" for unit in units]
        left += [f"failed: {unit}" for unit in listed("streamd*", state="failed")]
        if presets := sorted(path.name for path in Path("/run/streamd/presets").iterdir()):
            left.append(f"presets: {presets}")
        journal = run(
            "journalctl", "--no-pager", "--output=cat", "--unit=streamd.service", "--boot", seconds=300
        ).stdout
        self.results.told += [line for line in journal.splitlines() if "Traceback" in line or "never retrieved" in line]


class SoakError(Exception):
    """Something did not become well again; the results are those until then."""

    def __init__(self, message: str, results: Results) -> None:
        super().__init__(message)
        self.results = results


def soak(seconds: float, seed: int, stream: Path) -> Results:
    """Run for so long. Raises: SoakError."""
    with ExitStack() as stack:
        return Soak(seconds, seed, stream, stack).run()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = time.time_ns() % (1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}: {options.seconds / 60:.1f} minutes", flush=True)
    try:
        results = soak(options.seconds, seed, make_stream(Path("/var/tmp/stream.ts")))
        faults = results.faults()
    except SoakError as error:
        results = error.results
        faults = [str(error), *results.faults()]
    print(results.table())
    for fault in faults[:50]:
        print(f"FAULT {fault}"[:1000])
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
