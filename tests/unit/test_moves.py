"""From one relay to the other: the new way is up first, and outputs go over one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamd.plan.address import Address
from streamd.plan.desired import Desired, HostFacts
from streamd.plan.mediamtx import fetched_by, paths_of
from streamd.plan.observed import Observed
from streamd.plan.plan import plan
from streamd.plan.status import State
from streamd.route.model import PullSource, Relay, Route, Source
from tests.unit.make import desired, route, running, udp_output, unit_of

PULLED = PullSource(url="rtsp://192.0.2.1/x")
ALL = ("a/x", "a/y", "a/z")


def made(relay: Relay, source: Source | None = None) -> Route:
    return route("a", *(udp_output(name, 6000 + at) for at, name in enumerate("xyz")), relay=relay, source=source)


def steps(wanted: Desired, observed: Observed, *unsettled: str) -> dict[str, str]:
    found = plan(wanted, observed, unsettled={unit_of(address) for address in unsettled})
    return {str(step.address): step.action.value for step in found if not step.is_put_off and step.action != "keep"}


def carried_out(observed: Observed, wanted: Desired, *addresses: str) -> Observed:
    """Return what systemd has when the units at these addresses have been made anew."""
    fresh = running(wanted).units
    return replace(observed, units={**observed.units, **{unit_of(name): fresh[unit_of(name)] for name in addresses}})


@pytest.mark.parametrize("there", list(Relay))
@pytest.mark.parametrize("source", [None, PULLED])
def test_outputs_go_over_one_by_one(there: Relay, source: Source | None) -> None:
    here = next(relay for relay in Relay if relay is not there)
    observed, wanted = running(desired(made(here, source))), desired(made(there, source))
    gone: list[list[str]] = []
    for _ in range(10):
        found = list(steps(wanted, observed))
        if not found:
            break
        gone.append(found)
        observed = carried_out(observed, wanted, *found)
        later = steps(wanted, observed, *found)
        assert not later or found == ["a/z"], "while it does not send yet, the next one waits"
    one_by_one = [["a/x"], ["a/y"], ["a/z"]]
    if source is None:
        assert gone == one_by_one, "the ingest does the same for both"
    elif there is Relay.MEDIAMTX:
        assert gone == [*one_by_one, ["a"]], "the ingest feeds those that have not gone yet"
    else:
        assert gone == [["a"], *one_by_one], "the ingest feeds those that come"


def test_other_changes_are_made_at_once() -> None:
    before = desired(made(Relay.MEDIAMTX))
    outputs = tuple(udp_output(name, 7000 + at) for at, name in enumerate("xyz"))
    after = desired(replace(made(Relay.MEDIAMTX), outputs=outputs))
    assert steps(after, running(before)) == dict.fromkeys(ALL, "restart")


def test_mediamtx_fetches_as_long_as_somebody_reads_there() -> None:
    by_mediamtx, direct = made(Relay.MEDIAMTX, PULLED), made(Relay.DIRECT, PULLED)
    groups = {"a": "239.255.0.1"}
    observed, wanted = running(desired(by_mediamtx)), desired(direct)
    assert fetched_by([by_mediamtx], desired(by_mediamtx), Observed()) == {"a": PULLED}
    assert paths_of([by_mediamtx], desired(by_mediamtx), groups) == {}
    assert fetched_by([direct], wanted, observed) == {"a": PULLED}
    assert fetched_by([direct], wanted, carried_out(observed, wanted, "a", *ALL)) == {}
    no_password = replace(PULLED, url="rtsp://user@192.0.2.7/live", allow_visible_password=True)
    assert fetched_by([made(Relay.DIRECT, no_password)], wanted, observed) == {}, "MediaMTX would end"
    assert paths_of([direct], wanted, groups) == groups


def test_without_mediamtx_what_needs_it_is_blocked_and_nothing_else() -> None:
    facts = HostFacts(mediamtx="MediaMTX is not installed")
    absent = desired(made(Relay.MEDIAMTX), facts=facts).absent
    assert {str(Address.of_unit(name)): found.state for name, found in absent.items()} == dict.fromkeys(
        ALL, State.BLOCKED
    ), "the port is open all the same"
    assert set(desired(made(Relay.MEDIAMTX, PULLED), facts=facts).absent) == set(map(unit_of, ("a", *ALL)))
    assert not desired(made(Relay.DIRECT), facts=facts).absent


def test_a_mediamtx_without_copies_relays_only_what_it_has_itself() -> None:
    facts = HostFacts(mediamtx_copies="MediaMTX 1.9.0 cannot read from the relay, 1.12.1 or newer can")
    assert set(desired(made(Relay.MEDIAMTX), facts=facts).absent) == set(map(unit_of, ALL))
    assert not desired(made(Relay.MEDIAMTX, PULLED), facts=facts).absent
