"""Any sequence of calls, edits and kills ends with files, units and D-Bus telling the same story.

`STREAMD_SEARCH=MINUTES` looks for new sequences for so long; otherwise the same few are told each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from streamd.bus.connection import BusError, Connection, Variant, connect_system_bus
from streamd.bus.names import BUS_NAME, MANAGER, OBJECT_MANAGER, OUTPUT, ROOT, ROUTE, address_path
from streamd.bus.notice import Altered, Came, Everything, Interfaces, Left, Notice, Went
from streamd.bus.values import pack_table, unpack
from streamd.bus.watch import watch
from streamd.host.confd import read_configuration
from tests.appliance import story
from tests.appliance.host import CONF, kill_daemon, our_units, run, show, unit_of, wait_until
from tests.appliance.story import Act, Output, Route, World

pytestmark = pytest.mark.once

SEARCH = float(os.environ.get("STREAMD_SEARCH") or 0)
EXAMPLES, STEPS = (5, 25) if SEARCH else (4, 14)
PATIENCE = 20.0
"""Seconds until all must tell the same."""
CLIENTS = 3
UP = {"starting", "running", "starved", "waiting"}
GONE = "gone"
"""The reply of a daemon that was killed before it replied."""
MOVING = ("Bitrate", "Bytes", "Uptime")

T = TypeVar("T")

names = st.sampled_from(("a", "b-1"))
keys = st.sampled_from(("x", "y"))
addresses = st.builds(lambda route, output: f"{route}/{output}", names, keys)
things = st.one_of(names, addresses)
ports = st.integers(0, 3)


def input_port(name: str) -> int:
    return 5000 if name == "a" else 5010


def output_port(address: str, variant: int) -> int:
    route, _slash, name = address.partition("/")
    return input_port(route) + 1000 + 10 * ord(name[0]) + variant


Ask = tuple[Act, str, str, tuple[Any, ...]]
"""What should come of a call, and the call: member, signature and arguments."""


def _add_route(name: str) -> Ask:
    table = {"input": {"url": f"udp://0.0.0.0:{input_port(name)}"}}
    return story.add_route(name, input_port(name)), "AddRoute", "sa{sv}a{sv}", (name, pack_table(table), {})


def _add_output(address: str, variant: int) -> Ask:
    port = output_port(address, variant)
    table = pack_table({"url": f"udp://127.0.0.1:{port}"})
    return story.add_output(address, port), "AddOutput", "sa{sv}a{sv}", (address, table, {})


def _redirect(address: str, variant: int) -> Ask:
    port = output_port(address, variant)
    table = pack_table({"url": f"udp://127.0.0.1:{port}"})
    return story.redirect(address, port), "UpdateOutput", "sa{sv}a{sv}", (address, table, {})


def _describe(address: str, text: str) -> Ask:
    if text:
        arguments: tuple[Any, ...] = (address, pack_table({"description": text}), {})
    else:
        arguments = (address, {}, {"remove": Variant("as", ["description"])})
    return story.describe(address, text), "UpdateOutput", "sa{sv}a{sv}", arguments


def _simple(act: Act, member: str, address: str) -> Ask:
    return act, member, "sa{sv}", (address, {})


def _noun(address: str) -> str:
    return "Output" if "/" in address else "Route"


asks: st.SearchStrategy[Ask] = st.one_of(
    st.builds(_add_route, names),
    st.builds(_add_output, addresses, ports),
    st.builds(_add_output, addresses, ports),
    st.builds(_redirect, addresses, ports),
    st.builds(_describe, addresses, st.sampled_from(("", "one", "two \u00e4"))),
    st.builds(lambda name: _simple(story.remove_route(name), "RemoveRoute", name), names),
    st.builds(lambda address: _simple(story.remove_output(address), "RemoveOutput", address), addresses),
    st.builds(lambda address: _simple(story.enable(address, True), "EnableOutput", address), addresses),
    st.builds(lambda address: _simple(story.enable(address, False), "DisableOutput", address), addresses),
    st.builds(lambda address: _simple(story.start(address), f"Start{_noun(address)}", address), things),
    st.builds(lambda address: _simple(story.stop(address), f"Stop{_noun(address)}", address), things),
    st.builds(lambda address: _simple(story.restart(address), f"Restart{_noun(address)}", address), things),
    st.just((story.nothing, "Reload", "a{sv}", ({},))),
)


def told(ask: Ask) -> str:
    return f"{ask[1]}{ask[3]}"


class Listener:
    """Somebody who was told everything once, and has only listened since."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {}

    async def follow(self, notices: AsyncGenerator[Notice, None]) -> None:
        async for notice in notices:
            match notice:
                case Everything(objects):
                    self.objects = {path: _settled(found) for path, found in objects.items() if path != ROOT}
                case Came(path, interfaces):
                    assert path not in self.objects, f"{path} came twice"
                    self.objects[path] = _settled(interfaces)
                case Went(path):
                    del self.objects[path]
                case Altered(path, interface, values):
                    if path != ROOT:
                        self.objects[path][interface].update(values)
                case Left():
                    self.objects = {}


def _settled(interfaces: Interfaces) -> dict[str, dict[str, Any]]:
    """Return an object's properties without those that move all the time."""
    return {
        interface: {name: value for name, value in properties.items() if name not in MOVING}
        for interface, properties in interfaces.items()
    }


class Story(RuleBasedStateMachine):
    """Clients, an editor and a killer against the daemon; `worlds` are all that may be the case."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.worlds = [World()]
        self.count = 0
        self.invocations: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        self.clients: list[Connection] = []
        self.listener = Listener()

    @initialize()
    def begin(self) -> None:
        clear()
        self.clients = [self.do(connect_system_bus()) for _ in range(CLIENTS)]
        own = self.do(connect_system_bus())
        self.clients.append(own)
        self.following = self.loop.create_task(self.listener.follow(watch(own)))
        # So that the first acts find something to act on: a route of streamd's own, and one that a person wrote.
        for ask in (_add_route("a"), _add_output("a/x", 0), _add_output("a/y", 1)):
            self.one_call(0, ask)
        self.write_a_route("b-1", ask, "")

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @property
    def world(self) -> World:
        (world,) = self.worlds
        return world

    async def call(self, client: int, ask: Ask) -> str:
        """Return the last part of the error's name, or nothing."""
        _act, member, signature, arguments = ask
        try:
            await self.clients[client].call(BUS_NAME, ROOT, MANAGER, member, signature, arguments, within=60)
        except BusError as error:
            if error.name.startswith("org.freedesktop.DBus.Error."):
                return GONE
            return error.name.rpartition(".")[2]
        return story.OK

    def is_murky(self, ask: Ask) -> bool:
        """Tell whether a call starts or stops what a broken file is about: what is known of it depends on the past."""
        name = str(ask[3][0]).partition("/")[0]
        route = self.world.routes.get(name)
        return route is not None and route.broken and ask[1].startswith(("Start", "Stop", "Restart"))

    # Calls

    @rule(client=st.integers(0, CLIENTS - 1), ask=asks)
    def one_call(self, client: int, ask: Ask) -> None:
        if self.is_murky(ask):
            return
        reply = self.do(self.call(client, ask))
        wanted, after = ask[0](self.world)
        assert reply == wanted, f"{told(ask)}: {reply!r}, not {wanted!r}"
        self.worlds = [after]
        self.look()

    @rule(first=asks, second=asks)
    def two_calls_at_once(self, first: Ask, second: Ask) -> None:
        if self.is_murky(first) or self.is_murky(second):
            return

        async def both() -> list[str]:
            return list(await asyncio.gather(self.call(0, first), self.call(1, second)))

        replies = self.do(both())
        possible = list(story.orders(first[0], second[0], self.world))
        self.worlds = [world for *expected, world in possible if expected == replies]
        assert self.worlds, f"{told(first)} and {told(second)}: {replies}, not {[each[:2] for each in possible]}"
        self.look()

    @rule(ask=asks, delay=st.sampled_from((0.0, 0.002, 0.01, 0.03, 0.1)))
    def a_call_and_a_kill(self, ask: Ask, delay: float) -> None:
        if self.is_murky(ask):
            return

        async def both() -> str:
            calling = self.loop.create_task(self.call(0, ask))
            await asyncio.sleep(delay)  # a kill at some moment is what is tried here
            await asyncio.to_thread(kill_daemon)
            return await calling

        reply = self.do(both())
        wanted, after = ask[0](self.world)
        assert reply in {wanted, GONE}, f"{told(ask)}: {reply!r}, not {wanted!r}"
        self.worlds = [after] if reply != GONE else [after, replace(self.world, touched=after.touched)]
        self.look()

    @rule(ask=asks)
    def a_call_and_a_reload_of_systemd(self, ask: Ask) -> None:
        if self.is_murky(ask):
            return

        async def both() -> tuple[str, Any]:
            return await asyncio.gather(self.call(0, ask), asyncio.to_thread(run, "systemctl", "daemon-reload"))

        reply, _done = self.do(both())
        wanted, after = ask[0](self.world)
        assert reply == wanted, f"{told(ask)}: {reply!r}, not {wanted!r}"
        self.worlds = [after]
        self.look()

    # What people do

    @rule(name=names, ask=asks, stir=st.sampled_from(("", "hup", "kill", "call")))
    def edit_the_file(self, name: str, ask: Ask, stir: str) -> None:
        route = self.world.routes.get(name)
        if route is None or route.broken:
            return
        self.count += 1
        text = f"edit {self.count}"
        path = CONF / f"{name}.toml"
        kept = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("description")]
        # streamd's mark stays in the first line, as it does when a person edits; it is no longer right.
        mark = kept[:1] if kept[0].startswith("#") else []
        self.write(path, "".join([*mark, f'description = "{text}"\n', *kept[len(mark) :]]))
        self.worlds = [self.world.with_route(name, replace(route, own=False, written=text))]
        self.stir(stir, ask)

    @rule(name=names, ask=asks, stir=st.sampled_from(("", "hup", "kill", "call")))
    def write_a_route(self, name: str, ask: Ask, stir: str) -> None:
        if name in self.world.routes or (CONF / f"{name}.toml.d").exists():
            return
        self.count += 1
        outputs = {"y": Output(output_port(f"{name}/y", 0)), "x": Output(output_port(f"{name}/x", 1), enabled=False)}
        lines = [f'description = "by hand {self.count}"', "[input]", f'url = "udp://0.0.0.0:{input_port(name)}"']
        for key, output in outputs.items():
            lines += [f"[output.{key}]", f'url = "udp://127.0.0.1:{output.port}"  # mine']
        self.write(CONF / f"{name}.toml", "\n".join([*lines, "enabled = false\n"]))
        route = Route(input_port(name), outputs, own=False, written=f"by hand {self.count}")
        self.worlds = [self.world.with_route(name, route, name, f"{name}/x", f"{name}/y")]
        if stir == "call" and name in told(ask):
            stir = "hup"  # whether the call or the daemon's own look at the file is first, nobody can say
        self.stir(stir, ask)

    @rule(name=names, there=st.booleans(), stir=st.sampled_from(("", "hup", "kill")))
    def write_or_remove_a_dropin(self, name: str, there: bool, stir: str) -> None:
        route = self.world.routes.get(name)
        if route is None or route.broken or bool(route.dropin) is there:
            return
        self.count += 1
        path = CONF / f"{name}.toml.d/10-mine.toml"
        text = f"drop-in {self.count}" if there else ""
        if there:
            path.parent.mkdir(exist_ok=True)
            self.write(path, f'description = "{text}"\n')
        else:
            path.unlink()
        self.worlds = [self.world.with_route(name, replace(route, dropin=text))]
        self.stir(stir, None)

    @rule(name=names, stir=st.sampled_from(("", "hup", "kill")))
    def remove_by_hand(self, name: str, stir: str) -> None:
        if name not in self.world.routes:
            return
        shutil.rmtree(CONF / f"{name}.toml.d", ignore_errors=True)
        (CONF / f"{name}.toml").unlink()
        self.broken.pop(name, None)
        self.worlds = [self.world.without(name)]
        self.stir(stir, None)

    @rule(name=names)
    def break_or_mend(self, name: str) -> None:
        route = self.world.routes.get(name)
        if route is None:
            return
        path = CONF / f"{name}.toml"
        if route.broken:
            self.write(path, self.broken.pop(name))
        else:
            self.broken[name] = path.read_text()
            self.write(path, self.broken[name] + "this is no TOML\n")
        self.worlds = [self.world.with_route(name, replace(route, broken=not route.broken))]
        self.look()

    @rule(
        address=things, verb=st.sampled_from(("stop", "restart", "kill")), ask=asks, stir=st.sampled_from(("", "call"))
    )
    def systemctl(self, address: str, verb: str, ask: Ask, stir: str) -> None:
        if address not in self.world.running or self.world.routes[address.partition("/")[0]].broken:
            return
        run("systemctl", verb, *(["--signal=KILL"] if verb == "kill" else []), unit_of(address))
        stopped = self.world.stopped | ({address} if verb == "stop" else frozenset())
        self.worlds = [replace(self.world, stopped=stopped, touched=self.world.touched | {address})]
        self.stir(stir, ask)

    @rule(address=things)
    def systemctl_stop_while_the_daemon_is_away(self, address: str) -> None:
        if address not in self.world.running or self.world.routes[address.partition("/")[0]].broken:
            return
        run("systemctl", "stop", "streamd.service")
        run("systemctl", "stop", unit_of(address))
        run("systemctl", "start", "streamd.service")
        self.worlds = [
            replace(self.world, stopped=self.world.stopped | {address}, touched=self.world.touched | {address})
        ]
        self.look()

    @rule(how=st.sampled_from(("kill", "restart")))
    def the_daemon_goes_and_comes(self, how: str) -> None:
        if how == "kill":
            kill_daemon()
        else:
            run("systemctl", "restart", "streamd.service")
        self.look()

    def write(self, path: Path, text: str) -> None:
        temporary = path.with_suffix(".new")
        temporary.write_text(text)
        temporary.rename(path)

    def stir(self, how: str, ask: Ask | None) -> None:
        """Do something before the daemon has looked by itself, or wait for that."""
        match how:
            case "hup":
                run("systemctl", "kill", "--signal=HUP", "--kill-whom=main", "streamd.service")
            case "kill":
                kill_daemon()
            case "call" if ask is not None and not self.is_murky(ask):
                self.one_call(0, ask)
                return
        self.look()

    # What is

    def look(self) -> None:
        """Wait until all tell one of the stories that may be, and go on with that."""
        deadline = time.monotonic() + PATIENCE
        while True:
            faults = [self.do(self.faults(world)) for world in self.worlds]
            if [] in faults:
                break
            if time.monotonic() > deadline:
                raise AssertionError("\n".join(f"{text}" for found in faults for text in found))
            self.do(asyncio.sleep(0.05))
        world = self.worlds[faults.index([])]
        self.worlds = [replace(world, touched=frozenset())]
        note(f"{sorted(world.running)} run, {sorted(world.stopped)} are stopped")

    async def faults(self, world: World) -> list[str]:
        """Return what is not as it should be in this world."""
        found = file_faults(world)
        if found:
            return found
        units = our_units()
        wanted = {unit_of(address) for address in world.running}
        if set(units) != wanted:
            return [f"units: {sorted(units)}, not {sorted(wanted)}"]
        try:
            (managed,) = await self.clients[0].call(BUS_NAME, ROOT, OBJECT_MANAGER, "GetManagedObjects")
            (status,) = await self.clients[1].call(BUS_NAME, ROOT, MANAGER, "GetStatus", "a{sv}", [{}])
        except BusError as error:
            return [f"D-Bus: {error}"]
        objects = {path: _settled(interfaces) for path, interfaces in unpack(managed).items()}
        found = bus_faults(world, objects, unpack(status))
        if self.following.done():
            self.following.result()
        if objects != self.listener.objects:
            found.append(f"who listened knows {self.listener.objects}, not {objects}")
        if found:
            return found
        invocations: dict[str, str] = {}
        for address in sorted(world.running):
            found += self.process_faults(world, address, objects, invocations)
        if not found:
            self.invocations = invocations
        return found

    def process_faults(
        self, world: World, address: str, objects: dict[str, dict[str, dict[str, Any]]], invocations: dict[str, str]
    ) -> list[str]:
        """Return what is wrong with a unit that runs, or with what D-Bus tells of it."""
        unit = show(unit_of(address), "MainPID", "InvocationID", "ActiveState", "SubState")
        if (unit["ActiveState"], unit["SubState"]) != ("active", "running"):
            return [f"{address} is {unit}"]
        invocations[address] = unit["InvocationID"]
        route = world.routes[address.partition("/")[0]]
        if not route.broken:
            known = _of(objects, address)
            if (str(known["PID"]), known["Invocation"]) != (unit["MainPID"], unit["InvocationID"]):
                return [f"D-Bus tells {known} of {address}, which is {unit}"]
        before = self.invocations.get(address)
        if before and before != unit["InvocationID"] and address not in world.touched:
            return [f"{address} was started anew, and nothing that happened was about it"]
        output = world.output(address)
        port = output.port if output else route.port
        with contextlib.suppress(FileNotFoundError):
            argv = Path(f"/proc/{unit['MainPID']}/cmdline").read_bytes().decode()
            if f":{port}" not in argv:
                return [f"{address} runs {argv}, without port {port}"]
        return []

    def teardown(self) -> None:
        async def end() -> None:
            self.following.cancel()
            await asyncio.gather(self.following, return_exceptions=True)
            for client in self.clients:
                await client.close()

        if self.clients:
            self.do(end())
        self.loop.close()
        clear()


def _of(objects: dict[str, dict[str, dict[str, Any]]], address: str) -> dict[str, Any]:
    return objects[address_path(address)][OUTPUT if "/" in address else ROUTE]


def clear() -> None:
    for path in CONF.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run("systemctl", "reset-failed", "streamd.service", check=False)
    run("systemctl", "start", "streamd.service")
    run("streamctl", "reload")
    wait_until(lambda: not our_units(), 30, "no unit is left")


def file_faults(world: World) -> list[str]:
    """Return where the files, read by streamd's own parser, say something else."""
    configuration = read_configuration()
    found = {file.name: file for file in configuration.files}
    if found.keys() != world.routes.keys():
        return [f"files: {sorted(found)}, not {sorted(world.routes)}"]
    faults = []
    for name, route in world.routes.items():
        read = found[name].route
        if (read is None) is not route.broken:
            faults.append(f"files: {name} is {read}")
        if read is None or route.broken:
            continue
        outputs = {output.name: (output.url, output.description, output.enabled) for output in read.outputs}
        wanted = {
            key: (f"udp://127.0.0.1:{output.port}", output.description, output.enabled)
            for key, output in route.outputs.items()
        }
        if (outputs, read.description) != (wanted, route.description):
            faults.append(f"files: {name} has {outputs}, {read.description!r}, not {wanted}, {route.description!r}")
    if bool(configuration.diagnostics) is not any(route.broken for route in world.routes.values()):
        faults.append(f"files: {configuration.diagnostics}")
    return faults


def bus_faults(world: World, objects: dict[str, dict[str, dict[str, Any]]], status: dict[str, Any]) -> list[str]:
    """Return where D-Bus says something else."""
    # Of a broken file the daemon knows what it knew before; where it was killed since, that is what runs.
    paths = {address_path(found): found for found in world.everything}
    optional = {path for path, found in paths.items() if "/" in found and world.routes[found.partition("/")[0]].broken}
    faults = []
    if objects.keys() - optional != paths.keys() - optional:
        return [f"D-Bus: {sorted(objects)}, not {sorted(paths)}"]
    wanted = {paths[path] for path in objects}
    by_address = {found["address"]: found for route in status["routes"] for found in (route, *route["outputs"])}
    if by_address.keys() != wanted:
        return [f"GetStatus: {sorted(by_address)}, not {sorted(wanted)}"]
    for address in sorted(wanted):
        known = _of(objects, address)
        for key in ("State", "Cause", "Since", "Unit", "PID", "Restarts", "Invocation", "Description", "URL"):
            if by_address[address][key.lower()] != known[key]:
                faults.append(f"{key} of {address}: {known[key]!r} and {by_address[address][key.lower()]!r}")
        route = world.routes[address.partition("/")[0]]
        if "/" not in address and known["Broken"] is not route.broken:
            faults.append(f"Broken of {address}: {known['Broken']}")
        if route.broken:
            continue
        output = world.output(address)
        if output and (known["URL"], known["Description"], known["Enabled"]) != (
            f"udp://127.0.0.1:{output.port}",
            output.description,
            output.enabled,
        ):
            faults.append(f"D-Bus: {known}, not {output}")
        if not output and known["Description"] != route.description:
            faults.append(f"Description of {address}: {known['Description']!r}, not {route.description!r}")
        states = {"disabled"} if world.is_disabled(address) else {"stopped"} if address in world.stopped else UP
        if known["State"] not in states:
            faults.append(f"{address} is {known['State']} ({known['Cause']}), not {sorted(states)}")
    return faults


def test_any_sequence_ends_in_one_story() -> None:
    end = time.monotonic() + SEARCH * 60
    how = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=not SEARCH,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        phases=(Phase.generate,),  # the appliance is too slow for making a story shorter
        report_multiple_bugs=False,
        verbosity=Verbosity.verbose if SEARCH else Verbosity.normal,
    )
    while True:
        run_state_machine_as_test(Story, settings=how)
        if time.monotonic() >= end:
            break
