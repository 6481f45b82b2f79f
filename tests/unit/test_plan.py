"""plan(desired, observed): only what changed is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.plan.address import Address
from streamd.plan.desired import HostFacts
from streamd.plan.observed import Observed, ObservedUnit
from streamd.plan.plan import plan
from streamd.plan.step import Action
from streamd.route.model import Credential, Hooks, Limits, SrtMode, SrtTarget, UnitHook
from tests.unit.make import desired, route, running, udp_output, unit_of


def actions(steps: object) -> dict[str, str]:
    return {str(step.address): step.action.value for step in steps}  # type: ignore[attr-defined]


def test_starts_everything_on_an_empty_system() -> None:
    steps = plan(desired(route("a", udp_output("x"))), Observed())
    assert actions(steps) == {"a": "start", "a/x": "start"}


def test_keeps_what_is_as_it_should_be() -> None:
    wanted = desired(route("a", udp_output("x")), route("b", udp_output("y"), port=5001))
    assert set(actions(plan(wanted, running(wanted))).values()) == {"keep"}


def test_restarts_the_changed_output_alone() -> None:
    before = desired(route("a", udp_output("x", 6000), udp_output("y", 6001)))
    after = desired(route("a", udp_output("x", 6000), udp_output("y", 6002)))
    steps = plan(after, running(before))
    assert actions(steps) == {"a": "keep", "a/x": "keep", "a/y": "restart"}
    assert [step.reason for step in steps if step.action is Action.RESTART] == ["its definition changed"]


def test_a_new_description_of_the_route_touches_nothing() -> None:
    before = desired(route("a", udp_output("x")))
    after = desired(route("a", udp_output("x"), description="other"))
    assert set(actions(plan(after, running(before))).values()) == {"keep"}


def test_adjusts_limits_without_a_restart() -> None:
    before = desired(route("a", udp_output("x")))
    after = desired(route("a", udp_output("x", limits=Limits(memory=100 << 20))))
    assert actions(plan(after, running(before))) == {"a": "keep", "a/x": "adjust"}


def test_a_rotated_secret_restarts_its_output() -> None:
    target = SrtTarget(host="192.0.2.1", port=9000, mode=SrtMode.CALLER, passphrase=Credential("venue"))
    it = route("a", udp_output("x", target=target))
    before = desired(it, facts=HostFacts(digests={"venue": "1"}))
    after = desired(it, facts=HostFacts(digests={"venue": "2"}))
    steps = plan(after, running(before))
    assert actions(steps) == {"a": "keep", "a/x": "restart"}
    assert steps[0].reason == "a credential of it changed"


def test_a_missing_credential_blocks_its_output_alone_and_stops_nothing() -> None:
    target = SrtTarget(host="192.0.2.1", port=9000, mode=SrtMode.CALLER, passphrase=Credential("venue"))
    it = route("a", udp_output("x", target=target), udp_output("y"))
    blocked = desired(it)
    assert actions(plan(blocked, Observed())) == {"a": "start", "a/y": "start"}
    before = running(desired(it, facts=HostFacts(digests={"venue": "1"})))
    assert actions(plan(blocked, before)) == {"a": "keep", "a/x": "keep", "a/y": "keep"}


def test_stops_what_no_file_asks_for() -> None:
    before = desired(route("a", udp_output("x"), udp_output("y")))
    after = desired(route("a", udp_output("x")))
    assert actions(plan(after, running(before))) == {"a/y": "stop", "a": "keep", "a/x": "keep"}


def test_leaves_units_of_a_broken_file_alone() -> None:
    before = desired(route("a", udp_output("x")))
    steps = plan(desired(held=("a",)), running(before))
    assert actions(steps) == {"a": "keep", "a/x": "keep"}


@pytest.mark.parametrize("change", [{"enabled": False}, {}])
def test_disabled_and_stopped_outputs_are_stopped(change: dict[str, bool]) -> None:
    before = desired(route("a", udp_output("x")))
    after = desired(route("a", udp_output("x", **change)), stopped=() if change else ("a/x",))
    assert actions(plan(after, running(before))) == {"a/x": "stop", "a": "keep"}


def test_stops_come_first() -> None:
    before = desired(route("b", udp_output("x")))
    after = desired(route("a", udp_output("x")))
    assert [step.action for step in plan(after, running(before))] == [Action.STOP] * 2 + [Action.START] * 2


def test_what_is_stopping_is_decided_when_it_has_ended() -> None:
    wanted = desired(route("a", udp_output("x")))
    observed = running(wanted)
    name = unit_of("a/x")
    leaving = replace(observed.units[name], active="deactivating", sub="stop-sigterm")
    steps = plan(wanted, Observed(units={**observed.units, name: leaving}))
    assert actions(steps) == {"a": "keep", "a/x": "keep"}


@pytest.mark.parametrize("job", ["start", "restart"])
def test_what_systemd_is_about_to_start_is_left_to_it(job: str) -> None:
    wanted = desired(route("a", udp_output("x")))
    observed = running(wanted)
    name = unit_of("a/x")
    coming = replace(observed.units[name], active="inactive", sub="dead", job=job)
    during = Observed(units={**observed.units, name: coming}, slices=observed.slices)
    assert actions(plan(wanted, during)) == {"a": "keep", "a/x": "keep"}
    assert actions(plan(desired(), during))["a/x"] == "stop", "what nobody asks for is stopped before it has come"


def test_a_unit_waiting_for_its_automatic_restart_is_kept() -> None:
    wanted = desired(route("a"))
    name = unit_of("a")
    waiting = ObservedUnit(
        name=name, description=wanted.units[name].description, active="activating", sub="auto-restart"
    )
    assert actions(plan(wanted, Observed(units={name: waiting}))) == {"a": "keep"}


def test_a_failed_unit_is_started_again() -> None:
    wanted = desired(route("a"))
    name = unit_of("a")
    assert actions(plan(wanted, Observed(units={name: ObservedUnit(name=name, active="failed")}))) == {"a": "start"}


def test_a_unit_without_a_fingerprint_is_replaced() -> None:
    wanted = desired(route("a"))
    name = unit_of("a")
    assert actions(plan(wanted, Observed(units={name: ObservedUnit(name=name)}))) == {"a": "restart"}


def test_forced_restarts_are_done_even_if_nothing_changed() -> None:
    wanted = desired(route("a", udp_output("x")))
    steps = plan(wanted, running(wanted), forced={unit_of("a/x"): "asked for"})
    assert actions(steps) == {"a/x": "restart", "a": "keep"}


def test_units_of_others_are_none_of_our_business() -> None:
    observed = Observed(units={"streamd-mediamtx.service": ObservedUnit(name="streamd-mediamtx.service")})
    assert plan(desired(), observed) == ()


names = st.sampled_from(["a", "b-1", "c_2", "d9"])
routes = st.dictionaries(names, st.dictionaries(names, st.integers(6000, 6003), max_size=3), max_size=4).map(
    lambda drawn: [route(name, *(udp_output(out, port) for out, port in outs.items())) for name, outs in drawn.items()]
)


@given(before=routes, after=routes)
def test_carrying_out_a_plan_leaves_nothing_to_do(before: list, after: list) -> None:  # type: ignore[type-arg]
    was, wanted = running(desired(*before)), desired(*after)
    units = dict(was.units)
    for step in plan(wanted, was):
        if step.action in (Action.STOP, Action.RESTART):
            del units[step.address.unit]
        if step.unit is not None and step.action is not Action.KEEP:
            units[step.unit.name] = ObservedUnit(name=step.unit.name, description=step.unit.description)
    again = plan(wanted, Observed(units=units))
    assert all(step.action is Action.KEEP for step in again)
    assert {step.address.unit for step in again} == set(wanted.units)


@given(before=routes, after=routes)
def test_no_unit_is_named_twice_and_none_forgotten(before: list, after: list) -> None:  # type: ignore[type-arg]
    was, wanted = running(desired(*before)), desired(*after)
    named = [step.address for step in plan(wanted, was)]
    assert len(named) == len(set(named))
    assert {address.unit for address in named} == set(was.units) | set(wanted.units)


def test_addresses_and_unit_names_are_each_other() -> None:
    for address in (Address("a-b"), Address("a-b", "c_d")):
        assert Address.of_unit(address.unit) == address
    assert Address.of_unit("streamd-mediamtx.service") is None


def test_hooks_are_no_part_of_any_unit() -> None:
    before = desired(route("a", udp_output("x")))
    after = desired(route("a", udp_output("x"), hooks=Hooks(on_failure=(UnitHook("mail@%i.service"),), delay=1000)))
    assert set(actions(plan(after, running(before))).values()) == {"keep"}
