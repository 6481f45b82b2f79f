"""Changes of routes on disk. After any sequence of them the files say what a simple model says."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamd.host import editor as editor_module
from streamd.host.confd import read_configuration
from streamd.host.editor import Applied, Editor, Supposed
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
)
from streamd.route.pieces import DROPIN, is_signed

CONF = "etc/streamd/conf.d"
TEST = {"input": {"url": "test:"}}
PERSON = '# mine\n[input]\nurl = "test:"\n\n[output.x]\nurl = "srt://192.0.2.1:9000"  # the venue\n'
SRT = {"url": "srt://192.0.2.2:9000"}


def supposed(root: Path, change: Change) -> Supposed | Refusal:
    """Return what would come of a change, and see that nothing has."""
    before = snapshot(root)
    result = Editor(str(root)).suppose(change)
    assert snapshot(root) == before
    return result


def put(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def done(root: Path, change: Change) -> Applied:
    beforehand = supposed(root, change)
    assert isinstance(beforehand, Supposed), beforehand
    result = Editor(str(root)).apply(change)
    assert isinstance(result, Applied), result
    return result


def refused(root: Path, change: Change) -> Refusal:
    before = snapshot(root)
    result = Editor(str(root)).apply(change)
    assert isinstance(result, Refusal), result
    assert snapshot(root) == before
    assert supposed(root, change) == result or result.kind in {Kind.BUSY, Kind.FAILED}, "it would have been told"
    return result


def snapshot(root: Path) -> dict[str, bytes]:
    """Return all files and links."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = os.readlink(path).encode()
        elif path.is_file():
            found[str(path.relative_to(root))] = path.read_bytes()
    return found


def test_a_route_from_nothing_to_nothing(tmp_path: Path) -> None:
    done(tmp_path, AddRoute("a", TEST))
    done(tmp_path, AddOutput("a", "x", SRT))
    (file,) = read_configuration(str(tmp_path)).files
    assert file.route is not None
    assert [output.url for output in file.route.outputs] == [SRT["url"]]
    assert stat.S_IMODE((tmp_path / CONF / "a.toml").stat().st_mode) == 0o644
    assert not done(tmp_path, EnableOutput("a", "x")).actions
    done(tmp_path, RemoveRoute("a"))
    assert snapshot(tmp_path) == {}


def test_a_persons_file_gets_a_drop_in_that_goes_again(tmp_path: Path) -> None:
    main = put(tmp_path, f"{CONF}/a.toml", PERSON)
    done(tmp_path, DisableOutput("a", "x"))
    (file,) = read_configuration(str(tmp_path)).files
    assert file.route is not None
    assert not file.route.outputs[0].enabled
    assert [Path(piece.path).name for piece in file.pieces] == ["a.toml", DROPIN]
    done(tmp_path, EnableOutput("a", "x"))
    assert sorted((tmp_path / CONF).iterdir()) == [main]
    assert main.read_text() == PERSON


def test_a_packaged_route_is_masked(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/streamd/conf.d/a.toml", PERSON)
    done(tmp_path, DisableOutput("a", "x"))
    done(tmp_path, RemoveRoute("a"))
    assert read_configuration(str(tmp_path)).files == ()
    assert os.readlink(tmp_path / CONF / "a.toml") == os.devnull
    assert not (tmp_path / CONF / "a.toml.d").exists()
    assert refused(tmp_path, AddRoute("a", TEST)).kind is Kind.BY_HAND


def test_an_own_file_over_a_packaged_one_is_masked_too(tmp_path: Path) -> None:
    done(tmp_path, AddRoute("a", TEST))
    put(tmp_path, "usr/lib/streamd/conf.d/a.toml", PERSON)
    done(tmp_path, RemoveRoute("a"))
    assert read_configuration(str(tmp_path)).files == ()


def test_everybody_may_read_what_is_written_whatever_the_umask(tmp_path: Path) -> None:
    put(tmp_path, f"{CONF}/a.toml", PERSON)
    old = os.umask(0o077)
    try:
        done(tmp_path, DisableOutput("a", "x"))
    finally:
        os.umask(old)
    folder = tmp_path / CONF / "a.toml.d"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / DROPIN)] == [0o755, 0o644]


def test_a_mode_that_a_person_set_stays(tmp_path: Path) -> None:
    done(tmp_path, AddRoute("a", TEST))
    (tmp_path / CONF / "a.toml").chmod(0o600)
    done(tmp_path, AddOutput("a", "x", SRT))
    assert stat.S_IMODE((tmp_path / CONF / "a.toml").stat().st_mode) == 0o600


def test_a_link_to_a_file_of_ours_is_a_persons(tmp_path: Path) -> None:
    done(tmp_path, AddRoute("a", TEST))
    elsewhere = (tmp_path / CONF / "a.toml").rename(tmp_path / "a.toml")
    (tmp_path / CONF / "a.toml").symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    done(tmp_path, AddOutput("a", "x", SRT))
    assert (tmp_path / CONF / "a.toml").is_symlink()
    assert elsewhere.read_bytes() == before
    assert (tmp_path / CONF / "a.toml.d" / DROPIN).exists()


# What is not valid is not written.


def test_a_change_that_breaks_the_route_is_refused_with_the_diagnostics(tmp_path: Path) -> None:
    put(tmp_path, f"{CONF}/a.toml", PERSON)
    refusal = refused(tmp_path, UpdateOutput("a", "x", {"latancy": "1s"}))
    assert refusal.kind is Kind.INVALID
    assert refusal.message == ('route a would not be valid: output.x.latancy: unknown key, did you mean "latency"?')
    assert [Path(found.path).name for found in refusal.diagnostics] == [DROPIN]
    assert refusal.diagnostics[0].line_text == 'latancy = "1s"'


def test_the_last_key_of_an_input_is_not_taken_away(tmp_path: Path) -> None:
    done(tmp_path, AddRoute("b", TEST))
    found = refused(tmp_path, UpdateRoute("b", {"description": "one", "input": {"url": None}}))
    assert found.kind is Kind.INVALID
    assert found.diagnostics


def test_a_secret_in_a_change_is_refused_and_never_repeated(tmp_path: Path) -> None:
    done(tmp_path, AddRoute("a", TEST))
    refusal = refused(tmp_path, AddOutput("a", "x", {"url": "rtmp://h/live", "key": "hunter2"}))
    assert "hunter2" not in f"{refusal.message} {' '.join(map(str, refusal.diagnostics))}"


def test_a_port_that_another_route_has_is_refused_whatever_the_names(tmp_path: Path) -> None:
    done(tmp_path, AddRoute("m", {"input": {"url": "udp://0.0.0.0:5000"}}))
    for name in ("a", "z"):
        refusal = refused(tmp_path, AddRoute(name, {"input": {"url": "udp://0.0.0.0:5000"}}))
        assert refusal.kind is Kind.INVALID
        assert "already bound" in refusal.message


def test_a_credential_must_be_there_first(tmp_path: Path) -> None:
    done(tmp_path, AddRoute("a", TEST))
    output = AddOutput("a", "x", {"url": "rtmp://h/live", "key": {"credential": "yt"}})
    assert "there is no credential" in refused(tmp_path, output).message
    put(tmp_path, "etc/streamd/credentials/yt", "secret\n").chmod(0o600)
    done(tmp_path, output)
    # One that is missing already is in nobody's way.
    (tmp_path / "etc/streamd/credentials/yt").unlink()
    done(tmp_path, AddOutput("a", "y", SRT))


def test_errors_of_other_files_are_in_nobodys_way(tmp_path: Path) -> None:
    put(tmp_path, f"{CONF}/b.toml", "garbage")
    done(tmp_path, AddRoute("a", TEST))
    done(tmp_path, AddOutput("a", "x", SRT))


def test_a_broken_file_is_not_edited(tmp_path: Path) -> None:
    put(tmp_path, f"{CONF}/a.toml", PERSON + "garbage\n")
    refusal = refused(tmp_path, DisableOutput("a", "x"))
    assert (refusal.kind, len(refusal.diagnostics)) == (Kind.INVALID, 1)


def test_a_name_is_never_a_path(tmp_path: Path) -> None:
    put(tmp_path, "etc/streamd/x.toml", "[input]\n")
    for name in ("../x", "/etc/passwd", "", ".", "a/b"):
        assert refused(tmp_path, RemoveRoute(name)).kind is Kind.INVALID


# Others who write


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    done(tmp_path, AddRoute("a", TEST))
    put(tmp_path, f"{CONF}/b.toml", PERSON)
    problems: list[object] = []

    def work(writer: int) -> None:
        editor = Editor(str(tmp_path))
        for number in range(6):
            for route in ("a", "b"):
                result = editor.apply(AddOutput(route, f"w{writer}-{number}", SRT))
                if not isinstance(result, Applied):
                    problems.append(result)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    a, b = read_configuration(str(tmp_path)).files
    assert a.route is not None
    assert b.route is not None
    assert (len(a.route.outputs), len(b.route.outputs)) == (18, 19)


def test_a_writer_that_never_ends_is_not_waited_for_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, f"{CONF}/a.toml", PERSON)
    monkeypatch.setattr(editor_module, "_PATIENCE", 0.05)
    descriptor = os.open(tmp_path / CONF, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert refused(tmp_path, DisableOutput("a", "x")).kind is Kind.BUSY
    os.close(descriptor)
    done(tmp_path, DisableOutput("a", "x"))


def test_a_person_who_saves_meanwhile_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change is decided again upon what is there now: the file is theirs from then on."""
    done(tmp_path, AddRoute("a", TEST))
    decide = editor_module.decide
    texts = iter([PERSON])

    def slow(*args: Any) -> Any:
        result = decide(*args)
        for text in texts:
            put(tmp_path, f"{CONF}/a.toml", text)
        return result

    monkeypatch.setattr(editor_module, "decide", slow)
    assert isinstance(Editor(str(tmp_path)).apply(AddOutput("a", "y", SRT)), Applied)
    assert (tmp_path / CONF / "a.toml").read_text() == PERSON
    (file,) = read_configuration(str(tmp_path)).files
    assert file.route is not None
    assert [output.name for output in file.route.outputs] == ["x", "y"]


@pytest.mark.parametrize("call", ["rename", "fsync"])
def test_a_write_that_fails_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    done(tmp_path, AddRoute("a", TEST))

    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr(*((Path, "rename") if call == "rename" else (os, "fsync")), fail)
    refusal = refused(tmp_path, AddOutput("a", "x", SRT))
    assert refusal.kind is Kind.FAILED
    assert "No space left on device" in refusal.message


# Any sequence

ROUTES = st.sampled_from(["a", "b"])
OUTPUTS = st.sampled_from(["x", "y", "z"])
GOOD_TABLES = st.fixed_dictionaries(
    {"url": st.sampled_from(["srt://192.0.2.1:9000", "srt://192.0.2.2:9001"])},
    optional={
        "latency": st.sampled_from(["200ms", "1s"]),
        "description": st.sampled_from(["one", 'two "2"', "] é'"]),
        "enabled": st.booleans(),
        "limits": st.sampled_from([{"cpu": "30%"}, {"cpu": "40%", "memory": "1G"}, {}]),
    },
)
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "latency": st.sampled_from(["200ms", "1s", None, "soon"]),
        "description": st.sampled_from(["one", None]),
        "enabled": st.sampled_from([True, False, None]),
        "limits": st.sampled_from([{"cpu": "30%"}, {"memory": "1G"}, None]),
        "url": st.sampled_from(["srt://192.0.2.3:9000", None]),
    },
)
ROUTE_KEYS = st.fixed_dictionaries(
    {},
    optional={
        "description": st.sampled_from(["one", None]),
        "enabled": st.sampled_from([True, False, None]),
        "relay": st.sampled_from(["direct", "pigeon", None]),
        "input": st.fixed_dictionaries(
            {},
            optional={
                "limits": st.sampled_from([{"cpu": "30%"}, None]),
                "url": st.sampled_from(["test:", None]),
            },
        ),
    },
)
PERSONS = st.sampled_from(
    [
        PERSON,
        '[input]\nurl = "test:"\n',
        '[input]\nurl = "test:"\n[output]\ny = { url = "srt://192.0.2.9:9000", enabled = false }\n',
        '[input]\nurl = "test:"\n[output.z]\nurl = "srt://192.0.2.9:9000"\nlimits.cpu = "10%"\n',
    ]
)
PERSONS_DROPINS = st.sampled_from(
    [
        '[output.x]\nurl = "srt://192.0.2.8:9000"\n',
        "[output.y]\nremoved = true\n",
        '[output.z]\nurl = "srt://192.0.2.8:9001"\nenabled = false\n',
        '[output.x]\nurl = "srt://192.0.2.8:9000"\nremoved = ["latency"]\n',
        'description = "d"\n',
        "enabled = false\n[input]\nlimits.tasks = 9\n",
    ]
)


def normal(data: dict[str, Any]) -> dict[str, Any]:
    """Return a route's data without what makes no difference."""
    outputs = {
        name: {key: value for key, value in output.items() if not (key == "enabled" and value is True)}
        for name, output in data.get("output", {}).items()
    }
    return {
        **{key: value for key, value in data.items() if key != "output" and (key, value) != ("enabled", True)},
        **({"output": outputs} if outputs else {}),
    }


class Editing(RuleBasedStateMachine):
    """Several ways of changing routes, with persons who write files in between."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="streamd-editing-"))
        self.model: dict[str, dict[str, Any]] = {}
        self.persons: dict[Path, bytes] = {}
        self.editor = Editor(str(self.root))

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    # Streamd

    def change(self, change: Change, allowed: set[Kind]) -> bool:
        before = snapshot(self.root)
        result = self.editor.apply(change)
        if isinstance(result, Applied):
            return True
        assert snapshot(self.root) == before
        assert result.kind in allowed, result
        if result.kind is Kind.BY_HAND:
            assert any(str(path) in result.message for path in self.persons), (result, self.persons)
        assert (result.kind is Kind.INVALID) == bool(result.diagnostics)
        return False

    @rule(route=ROUTES, outputs=st.dictionaries(OUTPUTS, GOOD_TABLES, max_size=2))
    def add_route(self, route: str, outputs: dict[str, Any]) -> None:
        table = {**TEST, "output": outputs}
        allowed = {Kind.EXISTS} if route in self.model else {Kind.BY_HAND}
        if self.change(AddRoute(route, table), allowed):
            assert route not in self.model
            self.model[route] = normal(table)

    @rule(route=ROUTES, output=OUTPUTS)
    def change_what_is_not_there(self, route: str, output: str) -> None:
        if (route, output) not in self.addresses():
            for change in (UpdateOutput(route, output, {}), RemoveOutput(route, output), EnableOutput(route, output)):
                assert not self.change(change, {Kind.NOT_FOUND})

    @rule(route=ROUTES)
    def remove_route(self, route: str) -> None:
        allowed = {Kind.BY_HAND} if route in self.model else {Kind.NOT_FOUND}
        if self.change(RemoveRoute(route), allowed):
            del self.model[route]

    @rule(route=ROUTES, output=OUTPUTS, table=GOOD_TABLES)
    def add_output(self, route: str, output: str, table: dict[str, Any]) -> None:
        there = self.outputs(route)
        allowed = {Kind.NOT_FOUND if there is None else Kind.EXISTS if output in there else Kind.BY_HAND}
        if self.change(AddOutput(route, output, table), allowed):
            self.set(route, output, table)

    @precondition(lambda self: self.addresses())
    @rule(data=st.data(), table=KEYS)
    def update_output(self, data: st.DataObject, table: dict[str, Any]) -> None:
        route, output = data.draw(st.sampled_from(self.addresses()))
        if self.change(UpdateOutput(route, output, table), {Kind.BY_HAND, Kind.INVALID}):
            assert table.get("latency") != "soon"
            merged = {**self.model[route]["output"][output], **table}
            self.set(route, output, {key: value for key, value in merged.items() if value is not None})

    @precondition(lambda self: self.addresses())
    @rule(data=st.data())
    def remove_output(self, data: st.DataObject) -> None:
        route, output = data.draw(st.sampled_from(self.addresses()))
        if self.change(RemoveOutput(route, output), {Kind.BY_HAND}):
            outputs = {name: table for name, table in self.model[route]["output"].items() if name != output}
            self.model[route] = normal({**self.model[route], "output": outputs})

    @precondition(lambda self: self.addresses())
    @rule(data=st.data(), enabled=st.booleans())
    def switch_output(self, data: st.DataObject, enabled: bool) -> None:
        route, output = data.draw(st.sampled_from(self.addresses()))
        change = EnableOutput(route, output) if enabled else DisableOutput(route, output)
        if self.change(change, {Kind.BY_HAND}):
            self.set(route, output, {**self.model[route]["output"][output], "enabled": enabled})

    @precondition(lambda self: self.model)
    @rule(data=st.data(), table=ROUTE_KEYS)
    def update_route(self, data: st.DataObject, table: dict[str, Any]) -> None:
        route = data.draw(st.sampled_from(sorted(self.model)))
        if self.change(UpdateRoute(route, table), {Kind.BY_HAND, Kind.INVALID}):
            assert table.get("relay") != "pigeon"
            inner = {**self.model[route]["input"], **table.get("input", {})}
            merged = {**self.model[route], **table, "input": {key: it for key, it in inner.items() if it is not None}}
            self.model[route] = normal({key: value for key, value in merged.items() if value is not None})

    @precondition(lambda self: self.model)
    @rule(data=st.data(), enabled=st.booleans())
    def switch_route(self, data: st.DataObject, enabled: bool) -> None:
        route = data.draw(st.sampled_from(sorted(self.model)))
        if self.change(EnableRoute(route) if enabled else DisableRoute(route), {Kind.BY_HAND}):
            self.model[route] = normal({**self.model[route], "enabled": enabled})

    def outputs(self, route: str) -> dict[str, Any] | None:
        return self.model[route].get("output", {}) if route in self.model else None

    def addresses(self) -> list[tuple[str, str]]:
        return [(route, output) for route in sorted(self.model) for output in sorted(self.outputs(route) or ())]

    def set(self, route: str, output: str, table: dict[str, Any]) -> None:
        outputs = {**self.model[route].get("output", {}), output: table}
        self.model[route] = normal({**self.model[route], "output": outputs})

    # Persons

    @initialize(text=PERSONS, outputs=st.dictionaries(OUTPUTS, GOOD_TABLES, max_size=2))
    def a_person_has_one_route_and_streamd_the_other(self, text: str, outputs: dict[str, Any]) -> None:
        self.write("a.toml", text)
        self.add_route("b", outputs)

    @rule(route=ROUTES, text=PERSONS)
    def a_person_writes_a_route(self, route: str, text: str) -> None:
        if route not in self.model:
            self.write(f"{route}.toml", text)

    @rule(route=ROUTES, name=st.sampled_from(["10-x.toml", "90-x.toml"]), text=PERSONS_DROPINS)
    def a_person_writes_a_drop_in(self, route: str, name: str, text: str) -> None:
        self.write(f"{route}.toml.d/{name}", text)

    @rule(route=ROUTES, name=st.sampled_from([".toml", f".toml.d/{DROPIN}"]), text=st.sampled_from(["# mine\n", "\n"]))
    def a_person_touches_what_streamd_wrote(self, route: str, name: str, text: str) -> None:
        path = self.root / CONF / f"{route}{name}"
        if path.exists() and is_signed(path.read_bytes()):
            self.write(f"{route}{name}", path.read_text() + text)

    @precondition(lambda self: self.persons)
    @rule(data=st.data())
    def a_person_removes_a_file(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.persons)))
        path.unlink()
        del self.persons[path]
        self.read_model(path)

    def write(self, name: str, text: str) -> None:
        path = put(self.root, f"{CONF}/{name}", text)
        self.persons[path] = path.read_bytes()
        self.read_model(path)

    def read_model(self, path: Path) -> None:
        """Take what a person made of the files as it is; undo it where the route would be broken."""
        files = {file.name: file for file in read_configuration(str(self.root)).files}
        broken = [name for name, file in files.items() if file.route is None]
        if broken and path in self.persons:
            path.unlink()
            del self.persons[path]
            self.read_model(path)
            return
        for name in broken:  # what was removed was needed by what is left
            for other in (self.root / CONF / f"{name}.toml", *(self.root / CONF / f"{name}.toml.d").glob("*")):
                other.unlink(missing_ok=True)
                self.persons.pop(other, None)
        self.model = {name: normal(file.merged.data) for name, file in files.items() if file.route}

    # What always holds

    @invariant()
    def the_files_say_what_the_model_says(self) -> None:
        found = read_configuration(str(self.root))
        assert {file.name: normal(file.merged.data) for file in found.files} == self.model
        assert all(file.route for file in found.files)

    @invariant()
    def no_persons_file_ever_changes(self) -> None:
        for path, content in list(self.persons.items()):
            if path.name == DROPIN and (not path.exists() or is_signed(path.read_bytes())):
                del self.persons[path]  # streamd may take this one up again; that no key is lost, the model tells
            else:
                assert path.read_bytes() == content


TestEditing = Editing.TestCase
TestEditing.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
