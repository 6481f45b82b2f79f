"""streamd.route(5) and streamd.toml(5) have every key that the parser reads, with its type, range and default.

The parser has no table of its keys: it asks for them one by one. So it is watched while it reads documents that are
made of the pages' examples, and what it asks for is compared with the pages, in both directions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from streamd.plan.unit import DEFAULT_TASKS
from streamd.route.fields import Table
from streamd.route.model import Route, Settings
from streamd.route.parse import parse_route
from streamd.route.pull import PULL_SCHEMES
from streamd.route.settings import parse_settings

MAN = Path(__file__).parents[2] / "debian/man"
pytestmark = pytest.mark.skipif(not MAN.exists(), reason="this is the installed tree")

ROUTE = "streamd.route.5"
SETTINGS = "streamd.toml.5"
Path_ = tuple[str | int, ...]
GETTERS = ("string", "text", "boolean", "integer", "choice", "duration", "timeout", "size", "percent", "table")
TYPES = {
    frozenset({"string"}): "string",
    frozenset({"text"}): "text",
    frozenset({"boolean"}): "boolean",
    frozenset({"integer"}): "integer",
    frozenset({"choice"}): "word",
    frozenset({"duration"}): "time",
    frozenset({"timeout"}): "time",
    frozenset({"size"}): "size",
    frozenset({"percent"}): "percent",
    frozenset({"table"}): "table",
    frozenset({"credential"}): "credential",
    frozenset({"string", "credential"}): "string or credential",
    frozenset({"hooks"}): "hooks",
}
UNSAID = ("none", "libsrt's", "FFmpeg's", "streamd.toml's", str(DEFAULT_TASKS))
"""Defaults that no value of a route stands for: another decides, of tasks the unit."""
INPUTS: Mapping[str, Mapping[str, str]] = {
    "udp": {"url": '"udp://239.10.0.1:5004"'},
    "srt": {"url": '"srt://192.0.2.1:5001"'},
    **{scheme: {"url": f'"{scheme}://server.example.net/live/a.m3u8"'} for scheme in PULL_SCHEMES},
    "publish": {"url": '"publish:"', "password": '{ credential = "a" }'},
    "file": {"url": '"file:///srv/loop.ts"'},
    "test": {"url": '"test:"'},
}
OUTPUTS: Mapping[str, Mapping[str, str]] = {
    "udp": {"url": '"udp://239.10.0.1:5004"'},
    "srt": {"url": '"srt://192.0.2.1:9000"'},
    "rtmp": {"url": '"rtmp://server.example.net/live"'},
    "rtmps": {"url": '"rtmps://server.example.net/live"'},
    "rtsp": {"url": '"rtsp://server.example.net/live/a"'},
    "rtsps": {"url": '"rtsps://server.example.net/live/a"'},
}
"""What an input or output of each scheme has at least."""


@dataclass(frozen=True)
class Row:
    """A key in a table of a page."""

    key: str
    type: str
    default: str
    example: str


@dataclass(frozen=True)
class Part:
    """A section or subsection with a table of keys."""

    title: str
    rows: tuple[Row, ...]
    texts: Mapping[str, str]
    """Each key with what is said of it."""

    @property
    def keys(self) -> set[str]:
        return {row.key for row in self.rows}

    @property
    def schemes(self) -> list[str]:
        """Return those that a subsection is about."""
        return re.findall(r"([a-z]+):", self.title)


def plain(text: str) -> str:
    """Return roff without its requests for fonts, and without the characters that guard others."""
    text = re.sub(r"^\.(?:BR?I?|IR?|RB|BI|RI|RS|RE) ", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\f[BIRP]", "", text)
    return text.replace("\\(dq", '"').replace("\\-", "-").replace("\\e", "\\")


def parts(page: str) -> Iterator[Part]:
    """Yield the parts of a page that have a table of keys, or two where one would be too wide."""
    text = (MAN / page).read_text()
    for block in re.split(r"^(?=\.S[HS] )", text, flags=re.MULTILINE):
        tables = list(re.finditer(r"^\.TS\n.*?^Key\t.*?\n(.*?)^\.TE\n", block, re.MULTILINE | re.DOTALL))
        if not tables:
            continue
        entries = block[tables[-1].end() :].split("\n.PP\n")[0]
        texts: dict[str, str] = {}
        for entry in entries.split(".TP\n")[1:]:
            tag, _, body = entry.partition("\n")
            texts |= dict.fromkeys(re.findall(r"[a-z_]+", plain(tag).replace('"', "")), plain(body))
        rows = [Row(*line.split("\t")) for table in tables for line in table[1].splitlines()]
        yield Part(title=plain(block.splitlines()[0])[4:], rows=tuple(rows), texts=texts)


def part(page: str, title: str) -> Part:
    return next(each for each in parts(page) if each.title == title)


def table(head: str, keys: Mapping[str, str]) -> str:
    return f"{head}\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


class Documents:
    """Documents with one key more, each read by the parser, whose questions are remembered."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: defaultdict[tuple[str, Path_, str], set[tuple[str, tuple[Any, ...]]]] = defaultdict(set)
        """By page, table and key: the getters that were used for it, with their ranges."""
        self._page = ""
        self._depth = 0
        for name in (*GETTERS, "credential"):
            patch.setattr(Table, name, self._watched(name, getattr(Table, name)))
        has = Table.has

        def asking(table_: Table, key: str) -> bool:
            if table_.path[-1:] == ("hooks",):  # whose values no getter reads
                self.asked[self._page, table_.path, key].add(("hooks", ()))
            return has(table_, key)

        patch.setattr(Table, "has", asking)

    def _watched(self, name: str, original: Any) -> Any:
        def getter(table_: Table, key: str, *arguments: Any, **more: Any) -> Any:
            if not self._depth and key != "credential":
                self.asked[self._page, table_.path, key].add(
                    (name, () if name in ("credential", "string") else arguments)
                )
            self._depth += 1
            try:
                return original(table_, key, *arguments, **more)
            finally:
                self._depth -= 1

        return getter

    def keys(self) -> dict[tuple[str, Path_], set[str]]:
        """Return by page and table the keys that were asked for, without tables, which have sections of their own."""
        found: defaultdict[tuple[str, Path_], set[str]] = defaultdict(set)
        for (page, path, key), getters in self.asked.items():
            if key == "limits" or "table" not in {name for name, _ in getters}:
                found[page, path].add(key)
        return dict(found)

    def route(self, text: str) -> tuple[Route | None, list[str]]:
        self._page = ROUTE
        file = parse_route("a.toml", text, Settings())
        return file.route, [found.headline() for found in file.diagnostics]

    def settings(self, text: str) -> tuple[Settings, list[str]]:
        self._page = SETTINGS
        settings, diagnostics = parse_settings("streamd.toml", text)
        return settings, [found.headline() for found in diagnostics]


@pytest.fixture
def documents(monkeypatch: pytest.MonkeyPatch) -> Documents:
    return Documents(monkeypatch)


class Place:
    """Where the keys of a part stand: makes documents with them."""

    def __init__(self, part: Part, path: tuple[str, ...], read: Any, template: Any, base: Mapping[str, str]) -> None:
        self.page = SETTINGS if read.__name__ == "settings" else ROUTE
        self.part = part
        self.path = path
        self._read = read
        self._template = template
        self.base = base

    def read(self, **keys: str) -> tuple[Any, list[str]]:
        """Return what a document comes to, and what is wrong with it."""
        return self._read(self._template({key: value for key, value in (self.base | keys).items() if value}))

    def read_url(self, url: str) -> tuple[Any, list[str]]:
        """Return the same of a document that has nothing but an address."""
        return self._read(self._template({"url": url}))


def _top(keys: Mapping[str, str]) -> str:
    return table("", keys) + '[input]\nurl = "test:"\n'


def _input(keys: Mapping[str, str]) -> str:
    return table("[input]", keys)


def _output(keys: Mapping[str, str]) -> str:
    return '[input]\nurl = "test:"\n' + table("[output.x]", keys)


def _limits(keys: Mapping[str, str]) -> str:
    listed = ", ".join(f"{key} = {value}" for key, value in keys.items())
    return _output({"url": '"udp://192.0.2.1:1"', "limits": f"{{ {listed} }}"})


def _hooks(keys: Mapping[str, str]) -> str:
    return '[input]\nurl = "test:"\n' + table("[hooks]", keys)


def places(documents: Documents) -> list[Place]:
    """Return every place of both pages; a part about several schemes is one place for each."""
    found = [
        Place(part(ROUTE, "TOP OF THE FILE"), (), documents.route, _top, {}),
        Place(part(ROUTE, "LIMITS"), ("output", "x", "limits"), documents.route, _limits, {}),
        Place(part(ROUTE, "HOOKS"), ("hooks",), documents.route, _hooks, {}),
    ]
    direction = ""
    for each in parts(ROUTE):
        direction = each.title if each.title.isupper() else direction
        bases, path, template = (
            (INPUTS, ("input",), _input) if direction == "INPUT" else (OUTPUTS, ("output", "x"), _output)
        )
        if direction in ("INPUT", "OUTPUTS"):
            schemes = each.schemes or bases
            found += [Place(each, path, documents.route, template, bases[scheme]) for scheme in schemes]
    for each in parts(SETTINGS):
        name = re.search(r"\[(\w+)\]", each.title)
        where = () if name is None else (name[1].lower(),)
        head = f"[{where[0]}]" if where else ""
        found.append(Place(each, where, documents.settings, lambda keys, head=head: table(head, keys), {}))
    return found


def read_all(documents: Documents) -> list[Place]:
    """Have the parser read the examples of all rows."""
    found = places(documents)
    for place in found:
        place.read()
        for row in place.part.rows:
            place.read(**{row.key: row.example})
            place.read(**{row.key: '{ credential = "a" }'})
    for keys in (*INPUTS.values(), *OUTPUTS.values()):
        documents.route(_input(keys))
        documents.route(_output(keys))
    return found


def test_every_key_is_documented_and_no_other(documents: Documents) -> None:
    pages: defaultdict[tuple[str, Path_], set[str]] = defaultdict(set)
    for place in read_all(documents):
        pages[place.page, place.path] |= place.part.keys
    # Limits are the same table wherever they stand.
    for where in ((ROUTE, ("input", "limits")), (SETTINGS, ("output", "limits"))):
        pages[where] = pages[ROUTE, ("output", "x", "limits")]
    assert documents.keys() == pages


def test_every_key_has_a_row_and_a_text() -> None:
    for page in (ROUTE, SETTINGS):
        for each in parts(page):
            assert sorted(each.texts) == sorted(row.key for row in each.rows), each.title
            assert all(each.texts.values()), each.title


def test_every_scheme_is_documented(documents: Documents) -> None:
    documented: dict[str, list[str]] = {"INPUT": [], "OUTPUTS": []}
    direction = ""
    for kind, title in re.findall(r"^\.S([HS]) (.*)$", (MAN / ROUTE).read_text(), re.MULTILINE):
        direction = title if kind == "H" else direction
        if kind == "S":
            documented[direction] += re.findall(r"([a-z]+):", title)
    assert sorted(documented["INPUT"]) == sorted(INPUTS)
    assert sorted(documented["OUTPUTS"]) == sorted(OUTPUTS)
    for table_of, template in ((INPUTS, _input), (OUTPUTS, _output)):
        (message,) = documents.route(template({"url": '"gopher://a"'}))[1]
        assert set(re.findall(r"\b([a-z]+):(?=/|,| |$)", message.partition("must begin")[2])) <= set(table_of)
        for scheme, keys in table_of.items():
            assert documents.route(template(keys))[1] == [], scheme


@pytest.mark.parametrize(("title", "bases", "template"), [("INPUT", INPUTS, _input), ("OUTPUTS", OUTPUTS, _output)])
def test_keys_stand_with_the_schemes_that_take_them(
    documents: Documents, title: str, bases: Mapping[str, Mapping[str, str]], template: Any
) -> None:
    path = ("input",) if title == "INPUT" else ("output", "x")
    found = [place for place in places(documents) if place.path == path]
    general = part(ROUTE, title).keys
    rows = {row for place in found for row in place.part.rows}
    for scheme in bases:
        own = next((place.part for place in found if scheme in place.part.schemes), None)
        family = own.schemes if own else [scheme]
        taken = {
            row.key
            for one in family
            for row in rows
            if row.key in general or not documents.route(template(bases[one] | {row.key: row.example}))[1]
        }
        assert taken == general | (own.keys if own else set()), scheme


def test_types_and_ranges(documents: Documents) -> None:
    for place in read_all(documents):
        for row in place.part.rows:
            getters = documents.asked[place.page, place.path, row.key]
            assert row.type == TYPES[frozenset(name for name, _ in getters)], (place.part.title, row.key)
            for name, arguments in getters:
                for words in ranges(name, arguments):
                    assert words in place.part.texts[row.key].replace("\n", " "), (place.part.title, row.key)


def ranges(name: str, arguments: tuple[Any, ...]) -> list[str]:
    """Return what a text must say of what a getter takes."""
    if name in ("duration", "timeout"):
        low, high = (f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms}ms" for ms in arguments)
        return [f"{low} to {high}", *(['"off"'] if name == "timeout" else [])]
    if name == "integer":
        return [f"{arguments[0]} to {arguments[1]}"]
    if name == "percent":
        return [f"1% to {arguments[0]}%"]
    if name == "size":
        return [f"{arguments[0] >> 20}M to {arguments[1] >> 40}T"]
    if name == "choice":
        return [f'"{word}"' for word in arguments[0]]
    return ["200 characters"] if name == "text" else []


def test_an_example_is_good_and_a_default_changes_nothing(documents: Documents) -> None:
    taken = set()
    for place in places(documents):
        base, faults = place.read()
        assert faults == []
        for row in place.part.rows:
            where = (place.page, place.path, place.part.title, row.key)
            if row.key == "url":
                taken.add(where)
                assert (place.read_url(row.example)[1], row.default) == ([], "required"), where
                continue
            with_example, faults = place.read(**{row.key: row.example})
            if faults and len(place.part.schemes) > 1:
                continue  # a key of another scheme of the same family
            taken.add(where)
            assert faults == [], where
            if row.default == "required":
                assert place.read(**{row.key: ""})[1], where
                continue
            assert with_example != base, where
            before = [value for _name, value in differences(base, with_example)]
            if row.default == "the route's name":
                assert before == ["a"], where
            elif row.default in UNSAID:
                assert all(value in (None, "", ()) for value in before), (where, before)
            else:
                assert place.read(**{row.key: row.default}) == (base, []), where
    assert taken == {
        (place.page, place.path, place.part.title, row.key) for place in places(documents) for row in place.part.rows
    }


def differences(one: Any, other: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of the first of two dataclasses that are others in the second."""
    if is_dataclass(one) and type(one) is type(other):
        for each in fields(one):
            yield from differences(getattr(one, each.name), getattr(other, each.name), each.name)
    elif isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        for a, b in zip(one, other, strict=True):
            yield from differences(a, b, name)
    elif one != other and name != "url":
        yield name, one


def test_the_example_settings_are_good() -> None:
    text = (MAN / SETTINGS).read_text().split(".SH EXAMPLE\n.EX\n")[1].split("\n.EE")[0]
    assert parse_settings("streamd.toml", plain(text))[1] == ()


def test_the_first_example_of_a_route_is_good() -> None:
    text = (MAN / ROUTE).read_text().split(".EX\n")[1].split("\n.EE")[0]
    assert parse_route("a.toml", plain(text), Settings()).diagnostics == ()
