"""What holds for every route file with its drop-ins, however broken, for streamd.toml, and for every change of them.

A case is the bytes of the pieces with a line `#%%` between them: the main file, then the drop-ins.
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

from streamd.plan.allocation import Allocation, allocate
from streamd.plan.desired import HostFacts, desire
from streamd.plan.mediamtx import OLDEST, Publisher, media_document, paths_of, published_to
from streamd.route.change import (
    AddOutput,
    AddRoute,
    Change,
    DisableOutput,
    DisableRoute,
    EnableOutput,
    EnableRoute,
    Refusal,
    RemoveOutput,
    RemoveRoute,
    UpdateOutput,
    UpdateRoute,
)
from streamd.route.crosscheck import crosscheck
from streamd.route.diagnostic import Diagnostic
from streamd.route.document import MAX_LINE, MAX_SIZE, Document, read_document
from streamd.route.edit import decide
from streamd.route.merge import merge_documents
from streamd.route.model import Route, Settings
from streamd.route.parse import RouteFile, parse_pieces
from streamd.route.pieces import DROPIN, Delete, Edit, Found, Mask, Write, is_signed, signed
from streamd.route.render import render_cat, render_data
from streamd.route.settings import parse_settings
from tests.fuzz.mutate import Mutator
from tests.unit.expectations import DATA

ROOT = DATA.parents[2]
SEPARATOR = b"\n#%%\n"
MOST_PIECES = 4
ETC = "/etc/streamd/conf.d/a.toml"
SLOWEST = 0.4
"""CPU seconds that reading may take at most on a slow machine, whatever the text."""
SLOWEST_BYTE = 40e-6
"""CPU seconds more for each byte: what is more is not linear in the size."""

REMEDY = re.compile(
    r"\b(write|must|remove|delete|did you mean|save|split|break it up|stands? (?:below|in|at|behind)|stand in|put|"
    r"at most|expected|there is no credential|only these|such as|begin|is for|rename|choose)\b"
)
"""One of these is in every message: what to write instead, or what is expected there."""
_VARYING = re.compile(r"\"[^\"]*\"|\b[\d.:-]+\w*|[^\s,]*[/_@\\\[\]{}][^\s,]*")

TABLES: tuple[dict[str, Any], ...] = (
    {"url": "udp://192.0.2.9:5009"},
    {"url": "srt://venue.example.net:9000", "latency": "200ms", "passphrase": {"credential": "venue"}},
    {"url": "rtmp://h/live", "key": {"credential": "key"}, "description": "é \t x", "limits": {"cpu": "30%"}},
    {"url": "x", "odd key": [1, "two", {"three": 3.5}], "limits": {}},
    {},
)
UPDATES: tuple[dict[str, Any], ...] = (
    {"description": "another"},
    {"description": None},
    {"url": "udp://192.0.2.9:5010", "latency": None, "mode": None},
    {"limits": {"memory": "150M"}},
    {"limits": None, "enabled": None},
    {"enabled": False},
    {},
)
ROUTE_UPDATES: tuple[dict[str, Any], ...] = (
    {"description": "another"},
    {"description": None, "enabled": None},
    {"input": {"url": "test:"}},
    {"input": {"limits": None, "url": "udp://0.0.0.0:5001"}},
    {"relay": "mediamtx"},
    {"relay": None},
    {"input": {}},
)


class BrokenError(AssertionError):
    """Something does not hold."""


def require(condition: object, what: str) -> None:
    """Make sure of something. Raises: BrokenError."""
    if not condition:
        raise BrokenError(what)


def _seeds() -> list[bytes]:
    """Return the files of the tests and the examples, as cases."""
    found = [path.read_bytes() for folder in ("good", "bad") for path in sorted((DATA / folder).glob("*.toml"))]
    for case in sorted((DATA / "dropins").glob("*/*")):
        pieces = [case / "a.toml", *sorted(case.glob("a.toml.d/*.toml"))]
        found.append(SEPARATOR.join(path.read_bytes() for path in pieces))
    found += [path.read_bytes() for path in sorted((ROOT / "etc").rglob("*.toml"))]
    return found


def _mutated(case: bytes, mutator: Mutator, others: Sequence[bytes], dice: Random) -> bytes:
    """Return another case."""
    pieces = case.split(SEPARATOR)
    if dice.random() < 0.15 and len(pieces) < MOST_PIECES:
        pieces.append(dice.choice(dice.choice(others).split(SEPARATOR)))
    number = dice.randrange(len(pieces))
    material = [dice.choice(dice.choice(others).split(SEPARATOR)) for _ in range(3)]
    pieces[number] = mutator.mutated(pieces[number], material)
    return SEPARATOR.join(pieces)


@dataclass
class Target:
    """Judges cases, and notes what each showed."""

    name: str = "routes"

    def open(self) -> None:
        """Nothing has to be started."""

    def close(self) -> None:
        """Nothing has to be ended."""

    def seeds(self) -> list[bytes]:
        """Return the files of the tests and the examples, as cases."""
        return _seeds()

    def mutated(self, case: bytes, mutator: Mutator, others: Sequence[bytes], dice: Random) -> bytes:
        """Return another case."""
        return _mutated(case, mutator, others, dice)

    def check(self, case: bytes) -> frozenset[Hashable]:
        """Return what the case showed. Raises: whatever no input may raise; BrokenError."""
        features: set[Hashable] = set()
        raws = case.split(SEPARATOR)[:MOST_PIECES]
        most = SLOWEST + SLOWEST_BYTE * len(case)
        took, file, cat = _timed(raws)
        if took > most:  # the machine may have been elsewhere; what is slow is so again
            took = min(took, *(_timed(raws)[0] for _ in range(2)))
            require(took <= most, f"reading and showing {len(case)} bytes took {took:.2f} s, more than {most:.2f} s")
        require(repr(file) == repr(_read(raws)), "read twice, it is not the same")
        for raw, piece in zip(raws, file.pieces, strict=True):
            _check_document(raw, piece)
        (crossed,) = crosscheck([file], incumbents={}, credentials={})
        _check_diagnostics(crossed.diagnostics, file.pieces, features)
        require((file.route is None) == bool(file.diagnostics), "there is a route with errors, or neither of them")
        require(_is_printable(cat), "what `streamctl cat` shows would be obeyed by a terminal")
        _check_rendering(file)
        if file.route is not None:
            _check_plan(file.route, features)
        dice = Random(sha256(case).digest())
        for _ in range(3):
            _check_change(raws, dice, features)
        settings, found = parse_settings("streamd.toml", raws[0])
        require((settings, found) == parse_settings("streamd.toml", raws[0]), "settings differ")
        _check_diagnostics(found, [read_document("streamd.toml", raws[0])], features, "settings")
        return frozenset(features)


def _documents(raws: Sequence[bytes]) -> list[Document]:
    names = [ETC, *(f"{ETC}.d/{number}0-x.toml" for number in range(1, len(raws)))]
    return [read_document(name, raw) for name, raw in zip(names, raws, strict=True)]


def _read(raws: Sequence[bytes]) -> RouteFile:
    return parse_pieces(_documents(raws), Settings())


def _timed(raws: Sequence[bytes]) -> tuple[float, RouteFile, str]:
    """Return the CPU seconds that it takes to read the pieces and to show them, and what comes of it."""
    begin = time.process_time()
    file = _read(raws)
    cat = render_cat(file)
    return time.process_time() - begin, file, cat


def _is_printable(text: str) -> bool:
    return all(char.isprintable() or char in "\n\t" for char in text)


def _spelt(value: object) -> str:
    """Return what tells two values apart, 1 from true and 1.0 as well, whatever the order of keys."""
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{key!r}:{_spelt(below)}" for key, below in value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_spelt, value)) + "]"
    return repr(value)


def _template(message: str) -> str:
    """Return a message without what comes out of the file."""
    return _VARYING.sub("…", message)[:160]


def _table(key: str) -> str:
    """Return in which table of a file a key stands, as far as it is a known one."""
    first = key.partition(".")[0]
    return first if first in ("input", "output", "hooks", "relay", "mediamtx") else ""


def _check_diagnostics(
    found: Sequence[Diagnostic], pieces: Sequence[Document], features: set[Hashable], where: str = "route"
) -> None:
    lines = {piece.path: piece.text.split("\n") for piece in pieces}
    for one in found:
        require(one.path in lines, f"a diagnostic names the file {one.path}")
        text = lines[one.path]
        span = one.span
        require(1 <= span.line <= len(text), f"there is no line {span.line}: {one.headline()}")
        require(1 <= span.column <= len(text[span.line - 1]) + 1, f"there is no column {span.column}: {one.headline()}")
        require(span.length >= 1, f"nothing is marked: {one.headline()}")
        shown = str(one)
        require(_is_printable(shown) and len(shown.split("\n")) <= 3, f"it would be obeyed by a terminal: {shown!r}")
        require(len(shown) < 1500, f"it is {len(shown)} characters long: {shown[:200]}")
        shown.encode()
        require(REMEDY.search(one.message), f"it tells no remedy: {one.headline()}")
        require(not one.message.endswith("."), f"it ends with a full stop: {one.headline()}")
        features.add((where, _template(one.message), _table(one.key)))
    require(len(set(found)) == len(found), "one thing is told twice")
    require(len(found) <= 100 + 20 * len(pieces), f"{len(found)} diagnostics")


def _check_document(raw: bytes, document: Document) -> None:
    """Make sure that a text is TOML to us exactly if it is to Python, and says the same."""
    if len(raw) > MAX_SIZE:
        return
    try:
        text = raw.decode().replace("\r\n", "\n")
        data: dict[str, Any] | None = tomllib.loads(text)
    except (ValueError, RecursionError):
        require(document.diagnostics, "it is no TOML, and no diagnostic says so")
        return
    if document.diagnostics:
        limits = len(max(text.split("\n"), key=len)) > MAX_LINE or _is_beyond_limits(document.diagnostics)
        require(limits, f"it is TOML, and yet: {document.diagnostics[0].headline()}")
    else:
        require(_spelt(document.data) == _spelt(data), "it says something else than what Python reads")


def _is_beyond_limits(found: Sequence[Diagnostic]) -> bool:
    return any("at most" in one.message or "too long" in one.message or "longer" in one.message for one in found)


def _check_rendering(file: RouteFile) -> None:
    """Make sure that the merged whole, written and read, is the same."""
    if not file.merged.is_complete or file.merged.diagnostics:
        return
    text = render_data(file.merged.data)
    document = read_document(ETC, text)
    if any(_is_beyond_limits([one]) for one in document.diagnostics):
        return  # a long array stands in one line
    require(not document.diagnostics, f"what is written is no TOML: {document.diagnostics[:1]}\n{text[:2000]}")
    require(_spelt(document.data) == _spelt(file.merged.data), f"what is written says something else:\n{text[:2000]}")
    again = parse_pieces([document], Settings())
    require(again.route == file.route, "the merged whole is another route once it is written and read")


def _check_plan(route: Route, features: set[Hashable]) -> None:
    """Make sure that any good route becomes units that systemd takes."""
    settings = Settings()
    allocation = allocate(Allocation(), [route], settings, ())
    names = set(re.findall(r"Credential\(name='([^']*)'\)", repr(route)))
    digests = dict.fromkeys(names, "0" * 12)
    facts = HostFacts(digests=digests, interfaces={"eth0": "192.0.2.5", "lo": "127.0.0.1"}, plain=frozenset(names))
    desired = desire([route], allocation=allocation, settings=settings, facts=facts)
    require(desired == desire([route], allocation=allocation, settings=settings, facts=facts), "the plan differs")
    known = 1 + len(route.outputs)
    require(len(desired.units) + len(desired.absent) == known, "a unit is neither to run nor absent")
    features.add(("input", type(route.input.source).__name__, route.relay.value))
    features.update(("absent", one.state.value, _template(one.reason)) for one in desired.absent.values())
    features.update(("target", type(output.target).__name__) for output in route.outputs)
    for unit in desired.units.values():
        require(len(unit.name) < 256, f"a unit's name is {len(unit.name)} characters long")
        for word in unit.command.argv:
            require(word.isprintable() and "$" not in word and ";" not in word, f"systemd spoils the argument {word!r}")
        for line in unit.command.preset:
            require("\n" not in str(line), f"a line of the preset is two: {line!r}")
        for version in (252, 257):
            for name, signature, value in unit.properties(version):
                require(name and signature, f"a property is {name!r} {signature!r}")
                require(signature != "t" or (isinstance(value, int) and 0 <= value < 1 << 64), f"{name} is {value!r}")
                require(signature != "s" or _is_printable(str(value)), f"{name} is {value!r}")
    publishers = {
        name: Publisher(user=source.user, digest="x") for name, source in published_to([route], desired).items()
    }
    paths = paths_of([route], desired, allocation.groups)
    media_document(paths, publishers, settings=settings, version=OLDEST, api_password="x")


# Changes


def _found(raws: Sequence[bytes], dice: Random) -> Found:
    """Return the pieces as files, some of them streamd's own."""
    own = []
    pieces = _documents(raws)
    if dice.random() < 0.5:
        with suppress(UnicodeDecodeError):
            pieces[0] = read_document(ETC, signed(raws[0].decode()))
            own.append(ETC)
    if len(pieces) > 1 and dice.random() < 0.6:
        path = f"{ETC}.d/{DROPIN}"
        with suppress(UnicodeDecodeError):
            text = raws[-1].decode()
            mine = dice.random() < 0.7
            pieces[-1] = read_document(path, signed(text) if mine else text)
            own += [path] if mine else []
    return Found(path=ETC, main=pieces[0], dropins=tuple(pieces[1:]), own=frozenset(own))


def _change(outputs: Sequence[str], dice: Random) -> Change:
    name = dice.choice([*outputs, "new"]) if dice.random() < 0.9 else "x y"
    kind = dice.randrange(10)
    if kind == 0:
        return AddOutput("a", name if dice.random() < 0.3 else "new", dice.choice(TABLES))
    if kind in (1, 2):
        return UpdateOutput("a", name, dice.choice(UPDATES))
    if kind in (3, 4):
        return RemoveOutput("a", name)
    if kind == 5:
        return EnableOutput("a", name)
    if kind == 6:
        return DisableOutput("a", name)
    if kind == 7:
        return UpdateRoute("a", dice.choice(ROUTE_UPDATES))
    if kind == 8:
        return dice.choice((EnableRoute("a"), DisableRoute("a")))
    return dice.choice((RemoveRoute("a"), AddRoute("a", {"input": {"url": "test:"}, "output": {"x": TABLES[1]}})))


def _outputs(data: Mapping[str, Any]) -> dict[str, Any]:
    outputs = data.get("output")
    return outputs if isinstance(outputs, dict) else {}


def _meant(value: object) -> str:
    """Return what an output's or a route's table means, for comparison: enabled = true says nothing."""
    if isinstance(value, dict):
        value = {key: below for key, below in value.items() if key != "enabled" or below is not True}
    return _spelt(value)


def _check_change(raws: Sequence[bytes], dice: Random, features: set[Hashable]) -> None:
    """Make sure that a change does what was asked for and nothing else, or is refused with a reason."""
    found = _found(raws, dice)
    before = merge_documents(found.pieces)
    names = list(_outputs(before.data))
    change = _change(names[:50], dice)
    what = type(change).__name__
    edit = decide(change, found)
    if isinstance(edit, Refusal):
        require(edit.message, f"{what} is refused without a reason")
        features.add((what, edit.kind.value, _template(edit.message)))
        return
    features.add((what, tuple(type(action).__name__ for action in edit.actions), len(found.own)))
    for action in edit.actions:
        require(action.path in (found.path, found.dropin_path), f"{what} touches {action.path}")
        require(not isinstance(action, Write) or is_signed(action.text.encode()), f"{what} writes without a signature")
        # Its own drop-in it rewrites even where a person edited it: the keys stay, which is what is looked at below.
        is_foreign = action.path == ETC and ETC not in found.own and not isinstance(action, Mask)
        require(not is_foreign, f"{what} touches {action.path}, which is not streamd's")
    if isinstance(change, RemoveRoute):
        return
    _check_outcome(change, before.data, merge_documents(edit.pieces).data, what)
    _check_again(change, found, edit, what)


def _check_outcome(change: Change, before: Mapping[str, Any], after: Mapping[str, Any], what: str) -> None:
    name = change.name if hasattr(change, "route") else ""
    was, now = _outputs(before), _outputs(after)
    for other in was.keys() | now.keys():
        if other != name:
            require(_meant(was.get(other)) == _meant(now.get(other)), f"{what} of {name!r} changes output {other!r}")
    if isinstance(change, RemoveOutput):
        require(name not in now, f"{name!r} is still there")
    if isinstance(change, AddOutput):
        require(_meant(now.get(name)) == _meant(change.table), f"{what}: {name!r} is {now.get(name)!r}")
    if isinstance(change, DisableOutput):
        require(now[name]["enabled"] is False, f"{name!r} is not disabled")
    if isinstance(change, EnableOutput):
        require(now[name].get("enabled", True) is True, f"{name!r} is not enabled")
    if isinstance(change, UpdateOutput):
        for key, value in change.table.items():
            shown = now[name].get(key)
            require(_spelt(shown) == _spelt(value) or key == "enabled", f"{key} of {name!r} is {shown!r}")
        for key in was[name] if isinstance(was.get(name), dict) else ():
            kept = key in change.table or key == "enabled" or _spelt(was[name][key]) == _spelt(now[name].get(key))
            require(kept, f"{what} of {sorted(change.table)} changes {key} too")


def _check_again(change: Change, found: Found, edit: Edit, what: str) -> None:
    """Make sure that a change which was made has nothing left to do."""
    if isinstance(change, AddOutput | RemoveOutput | AddRoute):
        return
    gone = {action.path for action in edit.actions if isinstance(action, Delete)}
    made = {action.path for action in edit.actions if isinstance(action, Write)}
    after = Found(
        path=found.path,
        main=edit.pieces[0],
        dropins=tuple(edit.pieces[1:]),
        own=(found.own | made) - gone,
    )
    again = decide(change, after)
    require(isinstance(again, Edit), f"{what} twice is {again}")
    require(not again.actions, f"{what} twice is made twice: {again.actions!r}"[:1500])
