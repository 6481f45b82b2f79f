"""The dashboard's files: that they keep to the policy they are served under, and what they make of events."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from streamd.route.fields import CREDENTIAL_PATTERN
from streamd.route.name import NAME_PATTERN
from tests.unit.web import place

STATIC = Path(__file__).parents[2] / "streamd/web/static"
if not STATIC.is_dir():  # the installed tree
    STATIC = Path("/usr/lib/python3/dist-packages/streamd/web/static")
SCRIPTS = sorted(STATIC.glob("*.js"))


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in {"script", "style"}:
            self.inline += data.strip()


@pytest.fixture(scope="module")
def page() -> Page:
    found = Page()
    found.feed((STATIC / "index.html").read_text())
    return found


def test_the_page_keeps_to_its_policy(page: Page) -> None:
    assert page.inline == ""
    for tag, attributes in page.tags:
        assert tag not in {"style", "iframe", "object", "embed", "base"}
        for name, value in attributes.items():
            assert name != "style"
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href"}:
                assert value
                assert value.startswith(("/static/", "/bootstrap/", "#")), value
                if value.startswith("/static/"):
                    assert (STATIC / value.removeprefix("/static/")).is_file(), value


def test_the_page_can_be_used_without_seeing_it(page: Page) -> None:
    ids = [attributes["id"] for _tag, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = {attributes["for"] for tag, attributes in page.tags if tag == "label"}
    fields = {attributes["id"] for tag, attributes in page.tags if tag in {"input", "select", "textarea"}}
    assert labelled == fields
    for _tag, attributes in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, ids[0]) in ids
    assert ("html", {"lang": "en"}) in page.tags


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_what_comes_from_elsewhere_is_text(path: Path) -> None:
    text = path.read_text()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser"):
        assert word not in text, word
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg|\$\{)", text), "nothing is fetched from elsewhere"
    for name in re.findall(r'^import .* from "(.*)";$', text, re.MULTILINE):
        assert (STATIC / name).is_file()


def test_every_element_that_the_scripts_ask_for_is_there(page: Page) -> None:
    ids = {attributes["id"] for _tag, attributes in page.tags if "id" in attributes}
    asked = {name for path in SCRIPTS for name in re.findall(r'\bat\("([\w-]+)"\)', path.read_text())}
    assert asked <= ids, asked - ids


def test_the_files_are_served_to_everybody_and_no_others(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            first = await it.ask("GET", "/", None)
            assert first.status_code == 200
            assert first.headers["content-type"] == "text/html; charset=utf-8"
            assert "<title>streamd</title>" in first.text
            again = await it.ask("GET", "/", None, headers={"if-none-match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            for file in STATIC.glob("*.*"):
                answer = await it.ask("GET", f"/static/{file.name}", None)
                assert (answer.status_code, answer.content) == (200, file.read_bytes()), file
            assert answer.headers["x-content-type-options"] == "nosniff"
            for path in ("/static/", "/static/none.js", "/static/%2e%2e/app.py", "/bootstrap/none.css", "/favicon.ico"):
                assert (await it.ask("GET", path, None)).status_code == 404, path

    asyncio.run(check())


def in_node(source: str) -> Any:
    """Run a module, and return what it prints as JSON."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed, so that the dashboard's modules are NOT TESTED")
    done = subprocess.run(
        [node, "--input-type=module", "--eval", source], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def module(name: str, folder: Path) -> str:
    """Return where node finds a module, beside all others; it takes a file for one where a package says so."""
    (folder / "package.json").write_text('{"type": "module"}')
    for path in SCRIPTS:
        (folder / path.name).write_text(path.read_text())
    return (folder / f"{name}.js").as_uri()


def test_words_and_numbers(tmp_path: Path) -> None:
    found = in_node(
        f'import {{ kind, rate, span, spark, diagnosticText }} from "{module("format", tmp_path)}";'
        """
        console.log(JSON.stringify([
          ["running", "waiting", "stopped", "failed", "something new"].map(kind),
          [undefined, 0, 999, 5_240_000, 123_400_000, 2_500_000_000].map(rate),
          [undefined, 0, 65e6, 90_061e6].map(span),
          [[], [1], [0, 2, 1]].map(spark),
          diagnosticText({
            path: "/a.toml", line: 3, column: 5, length: 4, key: "input.url", message: "is wrong", text: "url = 1",
          }),
          diagnosticText({path: "/a.toml", line: 1, column: 1, length: 1, key: "", message: "no", text: ""}),
          diagnosticText({
            path: "/a.toml", line: 1, column: 40, length: 1, key: "", message: "no", text: "u = ***, x", mark: 10,
          }),
        ]));
        """
    )
    assert found == [
        ["good", "wait", "off", "bad", "bad"],
        ["", "0 bit/s", "999 bit/s", "5.2 Mbit/s", "123 Mbit/s", "2.5 Gbit/s"],
        ["", "0 s", "1 min 5 s", "1 d 1 h"],
        ["", "", "M0.0 22.0L50.0 2.0L100.0 12.0"],
        "/a.toml:3:5: input.url: is wrong\n  url = 1\n      ^~~",
        "/a.toml:1:1: no",
        "/a.toml:1:40: no\n  u = ***, x\n           ^",
    ]


def test_what_a_change_does_a_line_of_a_log_and_where_to_watch(tmp_path: Path) -> None:
    found = in_node(
        f'import {{ interrupts, lineText, planText, watchAt }} from "{module("format", tmp_path)}";'
        """
        const steps = (...actions) => actions.map(([action, address]) => ({action, address}));
        const plans = [
          [], steps(["keep", "a/x"]), steps(["start", "a"]), steps(["restart", "a/x"], ["keep", "a/y"]),
          steps(["stop", "a"], ["stop", "a/x"], ["stop", "a/y"], ["restart", "b/x"]),
        ];
        console.log(JSON.stringify([
          plans.map(planText), plans.map(interrupts),
          lineText({time: new Date(2026, 10, 25, 9, 5, 7).getTime() * 1000, text: "refused"}),
          [["", "h"], ["0.0.0.0:8888", "h"], ["[::]:8889", "[::1]"], ["127.0.0.1:8888", "h"],
           ["127.0.0.1:8888", "localhost"], ["192.0.2.1:8888", "h"]].map(([at, host]) => watchAt(at, "a", host)),
        ]));
        """
    )
    assert found == [
        [
            "This touches nothing that runs.",
            "This touches nothing that runs.",
            "This starts 1 input.",
            "This restarts 1 output.",
            "This stops 1 input, stops 2 outputs and restarts 1 output.",
        ],
        [False, False, False, True, True],
        "09:05:07 refused",
        [
            "",
            "http://h:8888/a/",
            "http://[::1]:8889/a/",
            "",
            "http://127.0.0.1:8888/a/",
            "http://192.0.2.1:8888/a/",
        ],
    ]


def test_where_a_frame_shows_a_route(tmp_path: Path) -> None:
    found = in_node(
        f'import {{ previewAt }} from "{module("format", tmp_path)}";'
        """
        const here = (protocol, hostname) => ({protocol, hostname});
        console.log(JSON.stringify([
          previewAt({hls: "0.0.0.0:8888", webrtc: "0.0.0.0:8889"}, "a", here("http:", "h")),
          previewAt({hls: "", webrtc: "[::]:8889"}, "a", here("http:", "h")),
          previewAt({hls: "192.0.2.1:8888", webrtc: "0.0.0.0:8889"}, "a", here("http:", "h")),
          previewAt({hls: "127.0.0.1:8888", webrtc: ""}, "a", here("http:", "127.0.0.1")),
          previewAt({hls: "127.0.0.1:8888", webrtc: ""}, "a", here("http:", "localhost")),
          previewAt({hls: "0.0.0.0:8888", webrtc: ""}, "a", here("https:", "h")),
          previewAt({}, "a", here("http:", "h")),
        ]));
        """
    )
    assert found == [
        "http://h:8888/a/",
        "http://h:8889/a/",
        "http://h:8889/a/",
        "http://127.0.0.1:8888/a/",
        "",
        "",
        "",
    ]


def test_the_page_knows_what_it_was_told(tmp_path: Path) -> None:
    found = in_node(
        f'import {{ Store }} from "{module("store", tmp_path)}";'
        """
        const store = new Store();
        const route = (name, more) => ({address: name, route: name, url: "udp://:5000", state: "running", ...more});
        const output = (address, state, more) => {
          const [name, own] = address.split("/");
          return {address, route: name, output: own, url: "srt://venue", state, cause: "", ...more};
        };
        const things = [route("b"), output("b/x", "running"), route("a"), output("a/y", "failed", {cause: "refused"})];
        const shown = (...search) =>
          store.routes(...search).map(({route, outputs}) => [route.address, outputs.map((each) => each.output)]);
        const told = [
          store.apply({event: "snapshot", id: "e-1", data: {running: true, version: "1", things, diagnostics: [{}]}}),
          store.apply({event: "beat", id: "", data: {}}),
        ];
        const found = [told, store.last, store.counts(), shown(), shown("REFUSED"), shown("", "failing")];
        found.push(shown("b"), shown("none"));
        store.apply({event: "changed", id: "e-2", data: output("a/y", "running")});
        store.apply({event: "removed", id: "e-3", data: {address: "b/x"}});
        store.apply({event: "removed", id: "e-4", data: {address: "b"}});
        for (let i = 1; i < 100; i++) store.apply({event: "statistics", id: "", data: [{address: "a/y", bitrate: i}]});
        store.apply({event: "daemon", id: "e-5", data: {running: false, version: "1"}});
        found.push(shown(), store.counts().failing, store.bitrates.get("a/y").length, store.last, store.running);
        console.log(JSON.stringify(found));
        """
    )
    assert found == [
        [True, False],
        "e-1",
        {"inputs": 2, "outputs": 2, "running": 1, "failing": 1, "errors": 1},
        [["a", ["y"]], ["b", ["x"]]],
        [["a", ["y"]]],
        [["a", ["y"]]],
        [["b", ["x"]]],
        [],
        [["a", ["y"]]],
        0,
        60,
        "e-5",
        False,
    ]


ADDING = """
const store = new Store();
store.apply({event: "snapshot", id: "e-1", data: {running: true, version: "1", diagnostics: [], things: [
  {address: "a", route: "a"}, {address: "a/tube", route: "a", output: "tube"},
]}});
const asked = [];
let refuses = "";
globalThis.fetch = async (path, {method, body}) => {
  asked.push([method, path, JSON.parse(body)]);
  const ok = `${method} ${path}` !== refuses;
  return {ok, status: ok ? 200 : 409, text: async () => ok ? '{"steps": []}' : '{"detail": "no"}'};
};
const of = (promise) => promise.catch((error) => error.message);
const words = (id, url = "rtmp://h/live") => ({id, url, secret: "correct-horse"});
"""


def test_adding_an_output_touches_no_secret_of_another(tmp_path: Path) -> None:
    refused, asked = in_node(
        f'import {{ Store }} from "{module("store", tmp_path)}";'
        f'import {{ addOutput, newToken, planOutput }} from "{module("output", tmp_path)}";'
        f"{ADDING}"
        """
        const refused = [await of(planOutput(store, "a", words("tube")))];
        refused.push(await of(addOutput(store, "a", words("tube"), "0123")));
        await planOutput(store, "a", words("other"));
        refuses = "POST /api/inputs/a/outputs"; // another page was quicker
        refused.push(await of(addOutput(store, "a", words("other"), "0123")));
        refuses = "";
        await addOutput(store, "a", words("other", "srt://h:1"), "0123");
        await planOutput(store, "a", words("mtx", "rtmp://h/"));
        await addOutput(store, "a", {id: "plain", url: "udp://h:1", secret: ""}, newToken());
        console.log(JSON.stringify([refused, asked]));
        """
    )
    assert refused == ['route "a" has an output "tube" already; edit that one, or take another name'] * 2 + ["no"]
    assert asked == [
        ["POST", "/api/inputs/a/outputs?dry-run=true", {"id": "other", "url": "rtmp://h/live"}],
        ["PUT", "/api/credentials/a.other.key.0123", {"secret": "correct-horse"}],
        [
            "POST",
            "/api/inputs/a/outputs",
            {"id": "other", "url": "rtmp://h/live", "key": {"credential": "a.other.key.0123"}},
        ],
        ["PUT", "/api/credentials/a.other.passphrase.0123", {"secret": "correct-horse"}],
        [
            "POST",
            "/api/inputs/a/outputs",
            {"id": "other", "url": "srt://h:1", "passphrase": {"credential": "a.other.passphrase.0123"}},
        ],
        ["POST", "/api/inputs/a/outputs", {"id": "plain", "url": "udp://h:1"}],
    ]


def test_a_credential_of_the_page_has_a_name_that_nobody_has_and_the_store_takes(tmp_path: Path) -> None:
    long = f"{'a' * 63}.{'b' * 63}"
    names = in_node(
        f'import {{ credentialName }} from "{module("format", tmp_path)}";'
        f'import {{ newToken }} from "{module("output", tmp_path)}";'
        f'const of = ["studio-a.youtube", "{long}", "{"a" * 39}-b.c"];'
        """
        console.log(JSON.stringify(of.flatMap((each) =>
          ["key", "passphrase"].flatMap((kind) => [1, 2].map(() => credentialName(each, kind, newToken()))))));
        """
    )
    assert len(set(names)) == 12
    assert re.fullmatch(r"studio-a\.youtube\.key\.[0-9a-f]{12}", names[0])
    for name in names:
        assert CREDENTIAL_PATTERN.fullmatch(name), "the daemon takes it"
        assert all(NAME_PATTERN.fullmatch(part) for part in name.split(".")), "and so does the gateway"
