"""What is written to make a change: streamd's own files are rewritten, a person's get a drop-in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.route.change import (
    AddOutput,
    AddRoute,
    Change,
    DisableOutput,
    DisableRoute,
    EnableOutput,
    EnableRoute,
    Kind,
    Refusal,
    RemoveOutput,
    RemoveRoute,
    UpdateOutput,
    UpdateRoute,
    check_change,
)
from streamd.route.document import read_document
from streamd.route.edit import decide
from streamd.route.merge import merge_documents
from streamd.route.pieces import DROPIN, Delete, Edit, Found, Mask, Write, is_signed, signed

ETC = "/etc/streamd/conf.d/a.toml"
OWN = f"{ETC}.d/{DROPIN}"
VENDOR = "/usr/lib/streamd/conf.d/a.toml"
MAIN = (
    '[input]\nurl = "test:"\n\n[output.x]\nurl = "srt://h:1"\nlatency = "200ms"\nlimits = { cpu = "30%", tasks = 9 }\n'
)
SRT = {"url": "srt://h:2"}


def found(main: str | None = MAIN, *, path: str = ETC, hiding: str = "", links: str = "", **dropins: str) -> Found:
    """Return a route's files; those that are signed are streamd's own. A drop-in's name is nNUMBER or `mine`."""
    pieces = {OWN if name == "mine" else f"{ETC}.d/{name[1:]}-x.toml": text for name, text in dropins.items()}
    documents = [read_document(name, text) for name, text in sorted(pieces.items())]
    texts = {**pieces, **({path: main} if main is not None else {})}
    return Found(
        path=ETC,
        main=read_document(path, main) if main is not None else None,
        dropins=tuple(documents),
        own=frozenset(name for name, text in texts.items() if is_signed(text.encode())) & {ETC, OWN},
        hiding=frozenset({hiding} - {""}),
        links=frozenset({links} - {""}),
        vendor=path == VENDOR,
    )


def written(change: Change, there: Found) -> dict[str, str]:
    """Return what is written, without the first line, and `(deleted)` or `(masked)`."""
    edit = decide(change, there)
    assert isinstance(edit, Edit), edit
    result = {}
    for action in edit.actions:
        if isinstance(action, Write):
            assert is_signed(action.text.encode())
            result[action.path] = action.text.partition("\n")[2]
        else:
            result[action.path] = {Delete: "(deleted)", Mask: "(masked)"}[type(action)]
    return result


def refused(change: Change, there: Found) -> tuple[Kind, str]:
    refusal = decide(change, there)
    assert isinstance(refusal, Refusal), refusal
    return refusal.kind, refusal.message


def test_a_signature_holds_until_somebody_touches_the_file() -> None:
    text = signed(MAIN)
    assert text.startswith("# Written by streamd. Edit it and it is yours. sha256:")
    assert is_signed(text.encode())
    assert is_signed(signed("").encode())
    for touched in (text + "\n", text.replace("200", "201"), text.replace("\n", "\r\n"), MAIN, "", "# Written by"):
        assert not is_signed(touched.encode())
    assert not is_signed(b"\xff" + text.encode())


# Routes


def test_a_new_route() -> None:
    table = {"input": {"url": "test:"}, "output": {"x": {"url": "rtmp://h/live", "key": {"credential": "k"}}}}
    assert written(AddRoute("a", table), found(None)) == {
        ETC: '[input]\nurl = "test:"\n\n[output.x]\nurl = "rtmp://h/live"\nkey = { credential = "k" }\n'
    }


def test_a_new_route_takes_what_streamd_left_over_away() -> None:
    there = found(None, mine=signed("[output.y]\nremoved = true\n"))
    assert written(AddRoute("a", {"input": {"url": "test:"}}), there) == {
        OWN: "(deleted)",
        ETC: '[input]\nurl = "test:"\n',
    }


@pytest.mark.parametrize("name", ["n10", "n90", "mine"])
def test_a_new_route_below_a_persons_drop_in(name: str) -> None:
    there = found(None, **{name: '[input]\nurl = "udp://0.0.0.0:5000"\n'})
    kind, message = refused(AddRoute("a", {"input": {"url": "test:"}}), there)
    assert kind is Kind.BY_HAND
    assert message.startswith(f"{ETC}.d/")


def test_a_route_that_is_there_already() -> None:
    assert refused(AddRoute("a", {}), found()) == (Kind.EXISTS, f'there is a route "a" already, in {ETC}')


def test_a_route_that_somebody_masked() -> None:
    assert refused(AddRoute("a", {}), found(None, links=ETC))[0] is Kind.BY_HAND


@pytest.mark.parametrize(
    ("there", "result"),
    [
        (found(signed(MAIN)), {ETC: "(deleted)"}),
        (found(signed(MAIN), mine=signed("enabled = false\n")), {ETC: "(deleted)", OWN: "(deleted)"}),
        (found(signed(MAIN), hiding=ETC), {ETC: "(masked)"}),
        (found(MAIN, path=VENDOR), {ETC: "(masked)"}),
        (found(MAIN, path=VENDOR, mine=signed("")), {ETC: "(masked)", OWN: "(deleted)"}),
        (found(MAIN, path=VENDOR, mine="# mine", n10="# mine"), {ETC: "(masked)"}),
    ],
)
def test_a_route_is_removed(there: Found, result: dict[str, str]) -> None:
    assert written(RemoveRoute("a"), there) == result


@pytest.mark.parametrize(
    ("there", "path"),
    [
        (found(MAIN), ETC),
        (found(signed(MAIN) + "# mine"), ETC),
        (found(MAIN, path="/run/streamd/conf.d/a.toml"), "/run/streamd/conf.d/a.toml"),
        (found(signed(MAIN), n10="# mine"), f"{ETC}.d/10-x.toml"),
        (found(signed(MAIN), mine="# mine"), OWN),
    ],
)
def test_what_a_person_wrote_is_removed_by_hand(there: Found, path: str) -> None:
    kind, message = refused(RemoveRoute("a"), there)
    assert kind is Kind.BY_HAND
    assert message.startswith(f"streamd did not write {path}, remove it by hand")


def test_what_is_not_there() -> None:
    assert refused(RemoveRoute("a"), found(None)) == (Kind.NOT_FOUND, 'there is no route "a"')
    assert refused(AddOutput("a", "x", SRT), found(None)) == (Kind.NOT_FOUND, 'there is no route "a"')
    for change in (
        UpdateOutput("a", "y", {"url": "srt://h:2"}),
        RemoveOutput("a", "y"),
        EnableOutput("a", "y"),
        DisableOutput("a", "y"),
    ):
        assert refused(change, found()) == (Kind.NOT_FOUND, 'route "a" has no output "y"')
    assert refused(AddOutput("a", "x", SRT), found()) == (Kind.EXISTS, 'route "a" has an output "x" already')


# Keys of a route

INPUT = '[input]\nurl = "srt://h:1"\nlatency = "200ms"\n\n[output.x]\nurl = "udp://h:2"\n'


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (UpdateRoute("a", {"description": "A"}), 'description = "A"\n\n' + INPUT),
        (
            UpdateRoute("a", {"input": {"latency": None, "mode": "caller"}}),
            INPUT.replace('latency = "200ms"', 'mode = "caller"'),
        ),
        (
            UpdateRoute("a", {"input": {"limits": {"tasks": 9}}}),
            INPUT.replace('s"\n\n', 's"\nlimits = { tasks = 9 }\n\n'),
        ),
        (DisableRoute("a"), "enabled = false\n\n" + INPUT),
    ],
)
def test_keys_of_a_route_that_streamd_wrote(change: Change, text: str) -> None:
    assert written(change, found(signed(INPUT))) == {ETC: text}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (UpdateRoute("a", {"description": "A", "relay": "direct"}), 'description = "A"\nrelay = "direct"\n'),
        (UpdateRoute("a", {"input": {"latency": "300ms"}}), '[input]\nlatency = "300ms"\n'),
        (DisableRoute("a"), "enabled = false\n"),
    ],
)
def test_keys_of_a_persons_route_go_to_a_drop_in(change: Change, text: str) -> None:
    assert written(change, found(INPUT)) == {OWN: text}
    # And beside what streamd said before.
    before = "[output.x]\nttl = 4\n"
    both = written(change, found(INPUT, mine=signed(before)))[OWN]
    assert both in {f"{text}\n{before}", f"{before}\n{text}"}


@pytest.mark.parametrize(
    "change", [EnableRoute("a"), UpdateRoute("a", {"enabled": None}), UpdateRoute("a", {"enabled": True})]
)
def test_a_route_is_enabled_again(change: Change) -> None:
    there = found(INPUT, mine=signed("enabled = false\n"))
    assert written(change, there) in ({OWN: "(deleted)"}, {OWN: "enabled = true\n"})
    assert written(EnableRoute("a"), there) == {OWN: "(deleted)"}
    assert written(change, found(signed("enabled = false\n" + INPUT))) in (
        {ETC: INPUT},
        {ETC: "enabled = true\n\n" + INPUT},
    )
    assert written(change, found(INPUT)) == {}


def test_a_route_that_a_person_disabled_is_enabled_by_a_drop_in() -> None:
    there = found("enabled = false\n" + INPUT)
    assert written(EnableRoute("a"), there) == {OWN: "enabled = true\n"}
    assert written(DisableRoute("a"), found("enabled = false\n" + INPUT, mine=signed("enabled = true\n"))) == {
        OWN: "(deleted)"
    }


def test_both_files_of_streamd_say_something_of_a_key() -> None:
    main, mine = f'description = "A"\n\n{INPUT}', 'description = "B"\n\n[input]\nlatency = "300ms"\n'
    there = found(signed(main), mine=signed(mine))
    assert written(UpdateRoute("a", {"description": None, "input": {"latency": None}}), there) == {
        ETC: INPUT.replace('latency = "200ms"\n', ""),
        OWN: "(deleted)",
    }
    assert written(UpdateRoute("a", {"description": None}), there) == {
        ETC: INPUT,
        OWN: '[input]\nlatency = "300ms"\n',
    }


def test_what_no_drop_in_can_say_about_a_route() -> None:
    # Drop-ins take keys away from outputs alone.
    kind, message = refused(UpdateRoute("a", {"input": {"latency": None}}), found(INPUT))
    assert (kind, message) == (Kind.BY_HAND, f"{ETC} says otherwise about that, change it there")
    kind, message = refused(DisableRoute("a"), found(INPUT, n90="enabled = true\n"))
    assert (kind, message) == (Kind.BY_HAND, f"{ETC}.d/90-x.toml says otherwise about that, change it there")
    assert refused(DisableRoute("a"), found(INPUT, links=OWN))[0] is Kind.BY_HAND
    assert refused(DisableRoute("a"), found(None))[0] is Kind.NOT_FOUND
    assert refused(DisableRoute("a"), found("nonsense"))[0] is Kind.INVALID


def test_outputs_are_not_changed_with_their_route() -> None:
    for table in ({"output": {"x": {}}}, {"removed": True}):
        assert refused(UpdateRoute("a", table), found(INPUT))[0] is Kind.INVALID
    assert refused(UpdateRoute("a", {"input": {"x": object()}}), found(INPUT))[0] is Kind.INVALID
    assert refused(UpdateRoute("A", {"enabled": True}), found(INPUT))[0] is Kind.INVALID


# Outputs of a route that streamd wrote

HEAD = '[input]\nurl = "test:"\n\n[output.x]\nurl = "srt://h:1"\n'


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (AddOutput("a", "y", SRT), MAIN + '\n[output.y]\nurl = "srt://h:2"\n'),
        (UpdateOutput("a", "x", {"latency": None, "limits": None}), HEAD),
        (UpdateOutput("a", "x", {"limits": {"cpu": "9%"}, "latency": None}), HEAD + 'limits = { cpu = "9%" }\n'),
        (RemoveOutput("a", "x"), '[input]\nurl = "test:"\n'),
        (DisableOutput("a", "x"), MAIN + "enabled = false\n"),
    ],
)
def test_streamds_own_file_is_rewritten(change: Change, text: str) -> None:
    assert written(change, found(signed(MAIN))) == {ETC: text}


def test_what_is_so_already_is_not_written() -> None:
    for there in (found(MAIN), found(signed(MAIN))):
        assert written(EnableOutput("a", "x"), there) == {}
        assert written(UpdateOutput("a", "x", {"latency": "200ms", "ttl": None}), there) == {}


def test_an_own_file_below_a_drop_in_that_wins() -> None:
    there = found(signed(MAIN), n10='[output.x]\nlatency = "1s"\n')
    assert written(UpdateOutput("a", "x", {"latency": "2s"}), there) == {OWN: '[output.x]\nlatency = "2s"\n'}
    assert written(UpdateOutput("a", "x", {"latency": None}), there) == {OWN: '[output.x]\nremoved = ["latency"]\n'}
    assert written(RemoveOutput("a", "x"), there) == {OWN: "[output.x]\nremoved = true\n"}


# Outputs of a route that a person wrote


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (AddOutput("a", "y", SRT), '[output.y]\nurl = "srt://h:2"\n'),
        (UpdateOutput("a", "x", {"latency": "1s"}), '[output.x]\nlatency = "1s"\n'),
        (UpdateOutput("a", "x", {"latency": None}), '[output.x]\nremoved = ["latency"]\n'),
        (UpdateOutput("a", "x", {"limits": {"cpu": "9%"}}), '[output.x]\nlimits = { cpu = "9%" }\n'),
        (RemoveOutput("a", "x"), "[output.x]\nremoved = true\n"),
        (DisableOutput("a", "x"), "[output.x]\nenabled = false\n"),
    ],
)
def test_a_persons_file_gets_a_drop_in(change: Change, text: str) -> None:
    assert written(change, found(MAIN)) == {OWN: text}
    assert written(change, found(MAIN, path=VENDOR)) == {OWN: text}
    # A second change goes into the same drop-in.
    assert written(change, found(MAIN, mine=signed('description = "d"\n'))) == {OWN: f'description = "d"\n\n{text}'}


@pytest.mark.parametrize(
    ("change", "mine", "text"),
    [
        (RemoveOutput("a", "y"), '[output.y]\nurl = "srt://h:2"\n', "(deleted)"),
        (EnableOutput("a", "x"), "[output.x]\nenabled = false\n", "(deleted)"),
        (UpdateOutput("a", "x", {"latency": None}), '[output.x]\nttl = 1\nlatency = "1s"\n', None),
        (RemoveOutput("a", "x"), '[output.x]\nlatency = "1s"\n', "[output.x]\nremoved = true\n"),
        (AddOutput("a", "x", SRT), "[output.x]\nremoved = true\n", '[output]\nx = { url = "srt://h:2" }\n'),
    ],
)
def test_streamds_drop_in_is_rewritten(change: Change, mine: str, text: str | None) -> None:
    expected = text if text is not None else '[output.x]\nttl = 1\nremoved = ["latency"]\n'
    assert written(change, found(MAIN, mine=signed(mine))) == {OWN: expected}


def test_enabling_what_a_person_disabled_says_so() -> None:
    there = found(MAIN + "enabled = false\n")
    assert written(EnableOutput("a", "x"), there) == {OWN: "[output.x]\nenabled = true\n"}
    there = found(MAIN + "enabled = false\n", mine=signed("[output.x]\nenabled = true\n"))
    assert written(DisableOutput("a", "x"), there) == {OWN: "(deleted)"}


def test_a_person_may_edit_streamds_drop_in() -> None:
    """Its keys stay, and what merges or replaces still does; comments are lost there, and there alone."""
    mine = '# mine\n[output]\ny = { url = "srt://h:3" }\n[output.x]\nlatency = "1s" # less\n'
    mine += '[output.x.limits]\ncpu = "8%"\n'
    assert written(DisableOutput("a", "x"), found(MAIN, mine=mine)) == {
        OWN: (
            '[output]\ny = { url = "srt://h:3" }\n\n[output.x]\nlatency = "1s"\nenabled = false\n\n'
            '[output.x.limits]\ncpu = "8%"\n'
        )
    }
    emptied = "# mine\n[output.x]\nenabled = false\n"
    assert written(EnableOutput("a", "x"), found(MAIN, mine=emptied)) == {OWN: ""}


def test_a_drop_in_of_the_same_name_below_is_not_lost() -> None:
    there = found(MAIN, hiding=OWN, mine=signed("[output.x]\nenabled = false\n"))
    assert written(EnableOutput("a", "x"), there) == {OWN: ""}


def test_a_later_drop_in_that_says_otherwise_is_named() -> None:
    there = found(MAIN, n90='[output.x]\nlatency = "3s"\n')
    message = f'{ETC}.d/90-x.toml says otherwise about output "x", change it there'
    assert refused(UpdateOutput("a", "x", {"latency": "1s"}), there) == (Kind.BY_HAND, message)
    assert refused(RemoveOutput("a", "x"), there) == (Kind.BY_HAND, message)
    assert written(UpdateOutput("a", "x", {"ttl": 3}), there) == {OWN: "[output.x]\nttl = 3\n"}


def test_a_drop_in_that_is_a_link_is_left_alone() -> None:
    kind, message = refused(DisableOutput("a", "x"), found(MAIN, links=OWN))
    assert (kind, message) == (Kind.BY_HAND, f"{OWN} is a link, remove it to let streamd write there")


@pytest.mark.parametrize(
    "broken", [{"main": "[input\n"}, {"mine": "[output.x\n"}, {"n10": "[output.x]\nremoved = 1\n"}]
)
def test_nothing_is_changed_beside_errors(broken: dict[str, str]) -> None:
    there = found(**broken)
    refusal = decide(DisableOutput("a", "x"), there)
    assert isinstance(refusal, Refusal)
    assert refusal.kind is Kind.INVALID
    assert refusal.diagnostics


def test_what_is_no_table_is_not_overwritten() -> None:
    assert refused(AddOutput("a", "y", SRT), found(MAIN, mine="output = 1\n"))[0] is Kind.BY_HAND


@pytest.mark.parametrize("main", [MAIN, signed(MAIN)])
def test_what_the_parser_would_not_read_is_not_written(main: str) -> None:
    for change, there in (
        (AddOutput("a", "y", {"url": "x" * 5000}), found(main)),
        (AddRoute("a", {"x": "x" * 5000}), found(None)),
    ):
        refusal = decide(change, there)
        assert isinstance(refusal, Refusal)
        assert (refusal.kind, "longer than 4096" in refusal.message) == (Kind.INVALID, True)


# Names and values


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "a.b", "-a", "a" * 64, "a\n", "é"])
def test_bad_names(name: str) -> None:
    for change in (AddRoute(name, {}), RemoveRoute(name), AddOutput(name, "x", {}), AddOutput("a", name, {})):
        refusal = check_change(change)
        assert refusal is not None
        assert refusal.kind is Kind.INVALID
        assert "must be 1 to 63" in refusal.message


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"x", object(), {1: 2}, {"x": None}, ["\ud800"], {"\ud800": 1}, "\udc80", (1,)),
        {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}},
    ],
)
def test_values_that_toml_does_not_have(value: Any) -> None:
    for change in (AddRoute("a", {"x": value}), AddOutput("a", "x", {"x": value})):
        refusal = check_change(change)
        assert refusal is not None
        assert refusal.kind is Kind.INVALID
    assert check_change(UpdateOutput("a", "x", {"x": None})) is None
    assert check_change(UpdateOutput("a", "x", {"x": {"y": None}})) is not None


def test_removed_is_no_key_to_set() -> None:
    for change in (AddOutput("a", "x", {"removed": True}), UpdateOutput("a", "x", {"removed": True})):
        assert check_change(change) is not None


values = st.recursive(
    st.booleans() | st.integers() | st.text(st.characters(blacklist_categories=("Cs",))) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab.\n", max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), values, max_size=3))
def test_whatever_is_added_is_what_is_there(table: dict[str, Any]) -> None:
    for there in (found(MAIN), found(signed(MAIN)), found(MAIN, mine=signed("[output.y]\nremoved = true\n"))):
        edit = decide(AddOutput("a", "y", table), there)
        assert isinstance(edit, Edit)
        assert merge_documents(edit.pieces).data["output"]["y"] == table


def test_hooks_are_not_for_requests() -> None:
    hooks = {"on_failure": "poweroff.target"}
    for change in (
        AddRoute("a", {"input": {"url": "test:"}, "hooks": hooks}),
        UpdateOutput("a", "x", {"hooks": hooks}),
    ):
        refusal = check_change(change)
        assert refusal is not None
        assert (refusal.kind, "hooks start units" in refusal.message) == (Kind.INVALID, True)


def test_what_is_only_equal_to_true_is_not_true() -> None:
    """To Python 1 is True, and the route with `enabled = 1` is broken."""
    there = found(MAIN + "enabled = 1\n")
    assert written(EnableOutput("a", "x"), there) == {OWN: "[output.x]\nenabled = true\n"}
    there = found("enabled = 1\n" + MAIN)
    assert written(EnableRoute("a"), there) == {OWN: "enabled = true\n"}
