"""Drop-ins. Each folder of data/dropins is a case: a route's file and its drop-ins, with what comes of them.

The `##` lines of a bad piece are the diagnostics that name it; those of a good one are values of the merged route.
"""

from __future__ import annotations

import tomllib
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamd.route.crosscheck import crosscheck
from streamd.route.document import Document, read_document
from streamd.route.mask import MASK
from streamd.route.merge import document_node, merge_documents, merge_nodes, node_data
from streamd.route.model import Settings
from streamd.route.parse import RouteFile, parse_pieces, parse_route
from streamd.route.render import data_node, masked, render_cat, render_data, render_node
from tests.unit.expectations import DATA, expected_of, shown
from tests.unit.test_parse_properties import CORPUS, SECRET, WORDS, documents

CASES = DATA / "dropins"
BAD = sorted((CASES / "bad").iterdir())
GOOD = sorted((CASES / "good").iterdir())
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def paths_of(case: Path) -> list[Path]:
    return [case / "a.toml", *sorted(case.glob("a.toml.d/*.toml"))]


def read(case: Path) -> RouteFile:
    pieces = [read_document(str(path.relative_to(case)), path.read_bytes()) for path in paths_of(case)]
    return parse_pieces(pieces, Settings())


def check(pieces: list[Document]) -> RouteFile:
    """Parse, and assert all that holds for any pieces."""
    file = parse_pieces(pieces, Settings())
    assert (file.route is None) == bool(file.diagnostics)
    assert file.path == pieces[0].path
    texts = {piece.path: piece.text.split("\n") for piece in pieces}
    (crossed,) = crosscheck([file], incumbents={}, credentials={})
    for found in crossed.diagnostics:
        lines = texts[found.path]
        assert 1 <= found.span.line <= len(lines)
        assert 1 <= found.span.column <= len(lines[found.span.line - 1]) + 1
    assert all(char.isprintable() or char in "\n\t" for char in render_cat(file))
    return file


@pytest.mark.parametrize("case", BAD, ids=lambda path: path.name)
def test_bad_case(case: Path) -> None:
    file = read(case)
    assert file.route is None
    for path in paths_of(case):
        found = tuple(one for one in file.diagnostics if one.path == str(path.relative_to(case)))
        assert shown(found) == expected_of(path)
    assert "hunter2" not in "\n".join(map(str, file.diagnostics)) + render_cat(file)


@pytest.mark.parametrize("case", GOOD, ids=lambda path: path.name)
def test_good_case(case: Path) -> None:
    file = read(case)
    assert file.diagnostics == ()
    assert file.route is not None
    outputs: dict[str, Any] = {output.name: output for output in file.route.outputs}
    wanted = [line for path in paths_of(case) for line in expected_of(path)]
    assert wanted
    for line in wanted:
        name, _, value = line.partition(" = ")
        thing: Any = tuple(outputs)
        if name != "outputs":
            first, *rest = name.split(".")
            thing = outputs[first] if first in outputs else getattr(file.route, first)
            thing = reduce(getattr, rest, thing)
        assert f"{name} = {thing!r}" == f"{name} = {value}"


def test_two_that_bind_one_port_are_told_where_the_port_stands() -> None:
    main = '[input]\nurl = "udp://0.0.0.0:5000"\n'
    moved = '# here\n[input]\nurl = "udp://0.0.0.0:5001"\n'
    files = [
        parse_pieces([read_document("a.toml", main), read_document("a.toml.d/x.toml", moved)], Settings()),
        parse_pieces([read_document("b.toml", main), read_document("b.toml.d/x.toml", moved)], Settings()),
    ]
    first, second = crosscheck(files, incumbents={}, credentials={})
    assert first.route is not None
    assert [found.headline() for found in second.diagnostics] == [
        "b.toml.d/x.toml:3:7: input.url: 0.0.0.0:5001 is already bound by a.toml.d/x.toml:3, write another port"
    ]
    assert second.diagnostics[0].line_text == 'url = "udp://0.0.0.0:5001"'


# Properties.


def dropin(text: str) -> Any:
    return document_node(read_document("x", text), 1, [])


REMOVALS = [
    "[output.a]\nremoved = true\n",
    '[output.b]\nremoved = ["a", "key"]\n',
    "[output]\na = { removed = true }\n",
]
drop_ins = documents().map(
    lambda text: text.replace("[a]", "[output.a]").replace("[b]", "[output.b]")
) | st.sampled_from(
    [*REMOVALS, "[output.a]\nkey = 1\n", "output.b = { key = 1 }\n", "output = 1\n", "[output.b.key]\nx = 1\n"]
)


@quick
@given(drop_ins, drop_ins, drop_ins)
def test_merging_is_associative(one: str, two: str, three: str) -> None:
    a, b, c = map(dropin, (one, two, three))
    left = merge_nodes(merge_nodes(a, b), c)
    right = merge_nodes(a, merge_nodes(b, c))
    assert node_data(left) == node_data(right)
    assert list(node_data(left)) == list(node_data(right))


@quick
@given(documents(), st.integers(0, 3))
def test_merging_nothing_changes_nothing(text: str, times: int) -> None:
    main = read_document("a.toml", text)
    merged = merge_documents([main, *(read_document(f"{number}", "# nothing\n") for number in range(times))])
    assert merged.data == tomllib.loads(text)
    assert {path: origin.place for path, origin in merged.origins.items()} == main.places
    assert {origin.piece for origin in merged.origins.values()} <= {0}


@quick
@given(documents())
def test_what_replaces_everything_is_what_is_left(text: str) -> None:
    data = tomllib.loads(text)
    merged = merge_documents([read_document("a.toml", text), read_document("x", text)])
    assert merged.data == data


@quick
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=25).map("".join), min_size=1, max_size=3))
def test_any_words(texts: list[str]) -> None:
    check([read_document(f"{number}.toml", text) for number, text in enumerate(texts)])


@quick
@given(st.lists(st.sampled_from(CORPUS), min_size=2, max_size=4))
def test_any_files(raws: list[bytes]) -> None:
    check([read_document(f"{number}.toml", raw) for number, raw in enumerate(raws)])


@quick
@given(documents())
def test_what_is_rendered_reads_back(text: str) -> None:
    data = tomllib.loads(text)
    assert tomllib.loads(render_data(data)) == data or "nan" in text
    main = document_node(read_document("a.toml", text), 0, [])
    assert tomllib.loads(render_node(main)) == data


@quick
@given(drop_ins, drop_ins)
def test_what_is_rendered_merges_as_before(one: str, two: str) -> None:
    """The spelling that says whether a table merges or replaces is kept, and so is what takes something away."""
    below, above = dropin(one), dropin(two)
    again = dropin(render_node(above))
    assert node_data(merge_nodes(below, again)) == node_data(merge_nodes(below, above))


def test_rendered_as_a_person_would_write_it() -> None:
    data = {
        "description": "The studio",
        "output": {"youtube": {"url": "rtmps://a/live", "key": {"credential": "yt"}, "limits": {"memory": "1G"}}},
        "input": {"url": "test:"},
    }
    assert render_data(data) == (
        'description = "The studio"\n\n[output.youtube]\nurl = "rtmps://a/live"\nkey = { credential = "yt" }\n'
        'limits = { memory = "1G" }\n\n[input]\nurl = "test:"\n'
    )
    assert render_node(data_node({})) == ""


# What `streamctl cat` shows.


def test_cat() -> None:
    main = '# The studio\n[input]\nurl = "test:"\n\n[output.a]\nurl = "rtmp://u:hunter2@h/live?hunter2"\n'
    more = '[output.a]\nkey = { credential = "yt" }\nenabled = false\n'
    file = parse_pieces([read_document("/etc/a.toml", main), read_document("/run/a.toml.d/x.toml", more)], Settings())
    assert render_cat(file) == (
        '# /etc/a.toml\n# The studio\n[input]\nurl = "test:"\n\n[output.a]\nurl = "rtmp://***@h/live?***"\n\n'
        '# /run/a.toml.d/x.toml\n[output.a]\nkey = { credential = "yt" }\nenabled = false\n\n'
        '# merged\n[input]\nurl = "test:"\n\n[output.a]\nurl = "rtmp://***@h/live?***"\n'
        'key = { credential = "yt" }\nenabled = false\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        f'[output.a]\nkey = "{SECRET}"\n',
        f'[output.a]\nkey = {{ value = "{SECRET}" }}\n',
        f'[output.a]\nkey = {{ credential = "{SECRET} word" }}\n',
        f'[output.a]\nkey = ["{SECRET}"]\n',
        f'passphrase = "{SECRET}"\n',
        f'[output.a]\nlimits = {{ memory = "1G", token = "{SECRET}" }}\n',
        f'[output.a]\nx = [{{ secret = "{SECRET}" }}]\n',
        f'[output.a]\nurl = "srt://h:1?passphrase={SECRET}"\n',
        f'[output."rtsp://u:{SECRET}@h"]\nurl = "x"\n',
        f'[output.a.key]\nvalue = "{SECRET}"\n',
    ],
)
def test_cat_shows_no_secret(text: str) -> None:
    assert SECRET not in render_data(masked(tomllib.loads(text)))
    assert MASK in render_data(masked(tomllib.loads(text)))


def test_the_merged_whole_of_a_good_route_is_a_good_route() -> None:
    for case in GOOD:
        file = read(case)
        again = parse_route("a.toml", render_data(masked(file.merged.data)), Settings())
        assert again.route == file.route


def test_a_thousand_errors_of_removed_are_told_as_twenty() -> None:
    """Each is described from the whole text, so a thousand would take long."""
    main = read_document("a.toml", '[input]\nurl = "test:"\n')
    unknown = "[output.a]\nremoved = [\n" + "".join(f'"x{number}",\n' for number in range(1000)) + "]\n"
    beside = "[output.a]\nremoved = true\n" + "".join(f"x{number} = 1\n" for number in range(1000))
    for text in (unknown, beside):
        found = parse_pieces([main, read_document("x", text)], Settings()).diagnostics
        assert sum("delete" in one.message for one in found) == 20
