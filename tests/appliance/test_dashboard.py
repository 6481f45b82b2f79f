"""The dashboard in a real browser: what somebody does who has never seen it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.browser import Browser, browser
from tests.appliance.gateway import SERVICE, URL, add_key, revoke_key
from tests.appliance.host import incarnations, run, wait_active, wait_state, wait_until, write_route

pytestmark = pytest.mark.once

BINARY = Path("/usr/local/bin/mediamtx")
SETTINGS = Path("/etc/streamd/streamd.toml")
CREDENTIALS = Path("/etc/streamd/credentials")
MEDIAMTX = "streamd-mediamtx.service"
AXE = Path("/opt/streamd/axe.min.js")
PICTURES = Path(os.environ.get("STREAMD_PICTURES", "/var/tmp/pictures"))
SHAPES = {"light": (1280, 900, False, False), "dark": (1280, 900, True, False), "phone": (390, 844, False, True)}
ROUTE = '[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'
MORE = """\
[output.refused]
url = "rtmp://127.0.0.1:1936/live"
[output.off]
url = "udp://127.0.0.1:6002"
enabled = false
"""


@pytest.fixture
def page() -> Iterator[Browser]:
    with browser() as found:
        found.shape(*SHAPES["light"][:2])
        yield found


@pytest.fixture
def key() -> Iterator[str]:
    yield add_key("person", "admin")
    revoke_key("person")


def log_in(page: Browser, key: str) -> None:
    page.open(URL)
    page.type("#key", key)
    page.click("#log-in button")
    page.wait_text("#who", "person (admin)")


def is_open(page: Browser) -> bool:
    """Return whether the dialog is open."""
    return bool(page.script("return document.getElementById('dialog').open"))


def count(page: Browser, name: str) -> int:
    """Return a number of those on top."""
    text = "return [...document.querySelectorAll('#counts div')].map((each) => each.textContent)"
    (found,) = [each for each in page.script(text) if each.startswith(name)]
    return int(found.removeprefix(name))


def picture(page: Browser, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(PICTURES / f"{name}.webp")


def judge(page: Browser, where: str) -> None:
    """Let axe-core judge the page as it is."""
    if not AXE.exists():
        pytest.skip("axe-core is not there, so that the dashboard's accessibility is NOT TESTED")
    page.script(AXE.read_text())
    found = page.script_that_waits(
        "const done = arguments[0]; axe.run().then(done, (error) => done({error: String(error)}))"
    )
    assert "error" not in found, found
    assert len(found["passes"]) > 10
    told = [
        f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']][:3]}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]
    assert told == [], f"{where}: {json.dumps(told, indent=1)}"


def test_a_new_user_sends_a_stream_sees_it_fail_and_mends_it_within_two_minutes(page: Browser, key: str) -> None:
    began = time.monotonic()
    page.open(URL)
    page.type("#key", "streamd_of-my-own")
    page.click("#log-in button")
    page.wait_text("#log-in-problem", "there is no such key")
    log_in(page, key)
    page.wait_text("#nothing", "There are no routes.")

    page.click("#add-input")
    page.fill(id="studio", url="test:", description="Studio A")
    page.wait_closed()
    for name, url in (("venue", "udp://127.0.0.1:6001"), ("archive", "udp://127.0.0.1:6002")):
        page.press("studio", "add")
        page.fill(id=name, url=url)
        page.wait_closed()
    for name in ("venue", "archive"):
        page.wait_text(f'tr[data-key="studio/{name}"]', "running")
    wait_until(lambda: count(page, "running") == 2, 20, "both are counted")
    wait_state("studio/venue", "running")
    page.wait_text('tr[data-key="studio/venue"]', "bit/s")
    before = incarnations(("studio", "studio/archive"))

    # A destination that refuses: the page says beforehand what that interrupts, and afterwards why it fails.
    page.press("studio/venue", "edit")
    page.fill(url="rtmp://127.0.0.1:1936/live")
    page.wait_text("#dialog-plan", "This restarts 1 output.")
    page.wait_text("#dialog-do", "Save all the same")
    page.click("#dialog-do")
    page.wait_closed()
    page.wait_text('tr[data-key="studio/venue"]', "backoff")
    page.wait_text('tr[data-key="studio/venue"] .cause', "nobody listens")
    wait_until(lambda: count(page, "failing") == 1, 20, "it is counted")
    page.press("studio/venue", "log")
    page.wait_text("#dialog-lines", "Connection refused")
    page.click("#dialog-cancel")
    page.wait_closed()

    page.press("studio/venue", "edit")
    page.fill(url="udp://127.0.0.1:6003")
    # Between two tries nothing is interrupted, and nobody is asked.
    wait_until(lambda: not is_open(page) or "all the same" in page.text("#dialog-do"), 20, "it is done or asked about")
    if is_open(page):
        page.click("#dialog-do")
    page.wait_closed()
    page.wait_text('tr[data-key="studio/venue"]', "running")
    took = time.monotonic() - began
    assert took < 120, f"it took {took:.0f} s"
    assert incarnations(("studio", "studio/archive")) == before, "nothing else was touched"

    write_wrong(page)
    remove(page)


def write_wrong(page: Browser) -> None:
    """See that what is written wrong is refused with its reason, and that nothing is lost of what was typed."""
    page.press("studio", "add")
    page.fill(id="wrong", url="udp://nowhere")
    page.wait_text("#dialog-problem", "udp://")
    assert page.script("return document.getElementById('field-url').value") == "udp://nowhere"
    # Nor does one of a name that is taken get at the secret of whose name that is.
    secrets = {path: path.read_bytes() for path in CREDENTIALS.iterdir()}
    page.fill(id="venue", url="rtmp://127.0.0.1:1936/live", secret="correct-horse")
    page.wait_text("#dialog-problem", 'route "studio" has an output "venue" already')
    assert {path: path.read_bytes() for path in CREDENTIALS.iterdir()} == secrets
    page.click("#dialog-cancel")


def remove(page: Browser) -> None:
    """Take all away again, and leave."""
    page.press("studio", "remove")
    page.wait_text("#dialog-plan", "This stops 1 input and stops 2 outputs.")
    page.click("#dialog-do")
    page.wait_closed()
    page.wait_text("#nothing", "There are no routes.")
    # The wrong key was answered with 401, the wrong destination with 422: no script failed, and nothing was forbidden.
    assert [each for each in page.errors() if "401" not in each and "422" not in each] == []
    page.click("#log-out")
    page.find("#log-in")


def test_it_looks_well_and_axe_finds_nothing_serious(page: Browser, key: str) -> None:
    page.open(URL)
    page.find("#key")
    judge(page, "logging in")
    write_route("studio-a", ROUTE.replace("[input]", 'description = "Studio A programme"\n[input]'))
    write_route("studio-b", ROUTE.replace("6001", "6003") + MORE)
    write_route("broken", "[input\n")
    wait_state("studio-b/refused", "backoff")
    wait_state("studio-a/x", "running")
    log_in(page, key)
    page.wait_text('tr[data-key="studio-b/refused"]', "backoff")
    page.wait_text('tr[data-key="studio-a/x"]', "bit/s")
    page.wait_text("#diagnostics", "broken.toml:1:")
    wait_until(
        lambda: page.script("return document.querySelectorAll('.spark path')[0].getAttribute('d').length") > 60,
        30,
        "a sparkline is drawn",
    )
    for name, (width, height, dark, phone) in SHAPES.items():
        page.shape(width, height, dark=dark, phone=phone)
        page.open(URL)
        page.wait_text('tr[data-key="studio-a/x"]', "bit/s")
        picture(page, name)
        judge(page, name)
        width_of = "return [document.documentElement.scrollWidth, innerWidth]"
        inner, outer = page.script(width_of)
        assert inner <= outer, f"{name}: it can be scrolled sideways"
        page.press("studio-a/x", "edit")
        page.find("#field-url")
        picture(page, f"{name}-dialog")
        judge(page, f"{name}, with a dialog")
        page.click("#dialog-cancel")
        page.press("studio-b/refused", "log")
        page.wait_text("#dialog-lines", "refused")
        picture(page, f"{name}-log")
        judge(page, f"{name}, with a log")
        page.click("#dialog-cancel")


@pytest.fixture
def _network() -> Iterator[None]:
    """Have an address besides those of the loopback interface, over which no browser does WebRTC."""
    run("ip", "link", "add", "lan", "type", "veth", "peer", "name", "far")
    run("ip", "address", "add", "192.0.2.10/24", "dev", "lan")
    for end in ("lan", "far"):
        run("ip", "link", "set", end, "up")
    yield
    run("ip", "link", "delete", "lan")


@pytest.fixture(params=(("hls", 8888), ("webrtc", 8889)), ids=lambda param: param[0])
def _shown(request: pytest.FixtureRequest, _network: None) -> Iterator[None]:
    """Let MediaMTX serve one of the protocols that a browser understands, and no other."""
    text = SETTINGS.read_text()
    protocol, port = request.param
    SETTINGS.write_text(f'[mediamtx]\n{protocol} = "127.0.0.1:{port}"\n')
    run("streamctl", "reload")
    run("systemctl", "start", MEDIAMTX)
    wait_until(lambda: f":{port} " in run("ss", "-Hlnt").stdout, 20, f"{protocol} is on")
    yield
    SETTINGS.write_text(text)
    run("streamctl", "reload", check=False)


@pytest.mark.skipif(not BINARY.exists(), reason="no mediamtx was on the host's PATH: nothing was seen in a frame")
@pytest.mark.usefixtures("_shown")
def test_a_route_is_seen_in_a_frame_where_mediamtx_shows_it(page: Browser, key: str) -> None:
    write_route("a", ROUTE)
    wait_state("a/x", "running")
    wait_until(
        lambda: any(path["ready"] for path in json.loads(run("streamctl", "viewers", "--json").stdout)["paths"]),
        30,
        "MediaMTX has the stream",
    )
    log_in(page, key)
    page.errors()
    page.press("a", "preview")
    moves = "const video = document.querySelector('video'); return video && video.readyState > 2 && video.currentTime"
    with page.inside("#preview"):
        seen = wait_until(lambda: page.script(moves), 40, "a picture is there")
        wait_until(lambda: page.script(moves) > seen, 20, "it moves")
    picture(page, "preview")
    page.click("#dialog-do")
    page.wait_closed()
    # The page hears of it after it is closed.
    frames = "return document.querySelectorAll('iframe').length"
    wait_until(lambda: not page.script(frames), 20, "nobody watches any more")
    assert page.errors() == []


def wait_for_numbers(page: Browser) -> None:
    """Wait until the page was drawn anew because the numbers of a/x changed."""
    time_of = "return document.querySelector('tr[data-key=\"a/x\"] td:nth-child(5)').textContent"
    shown = page.script(time_of)
    wait_until(lambda: page.script(time_of) != shown, 20, "its time goes on")


def test_an_error_in_a_file_can_be_read_and_copied(page: Browser, key: str) -> None:
    write_route("a", ROUTE)
    write_route("broken", "[input\n")
    wait_state("a/x", "running")
    log_in(page, key)
    page.wait_text("#diagnostics", "broken.toml:1:")
    page.find('button[data-address="a/x"][data-verb="stop"]')
    page.script("document.querySelector('button[data-address=\"a/x\"]').focus()")
    page.script(
        "const text = document.querySelector('#diagnostics pre'); text.focus();"
        "getSelection().setBaseAndExtent(text.firstChild, 0, text.firstChild, 7)"
    )
    wait_for_numbers(page)
    assert page.script("return [document.activeElement.tagName, getSelection().toString()]") == ["PRE", "/etc/st"]
    page.script("document.activeElement.blur()")
    wait_for_numbers(page)
    assert page.script("return document.activeElement.tagName") == "BODY", "it is not thrown back to a button"


def test_everything_can_be_done_with_the_keyboard(page: Browser, key: str) -> None:
    write_route("a", ROUTE)
    wait_state("a/x", "running")
    log_in(page, key)
    page.find('tr[data-key="a/x"]')
    focus = "return document.activeElement.getAttribute('aria-label') || document.activeElement.id"
    seen = []
    for _ in range(40):
        page.command(
            "Input.dispatchKeyEvent", {"type": "keyDown", "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
        )
        page.command(
            "Input.dispatchKeyEvent", {"type": "keyUp", "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
        )
        seen.append(page.script(focus))
        if seen[-1] == "Stop a/x":
            break
    assert {"search", "filter", "Stop a/x"} <= set(seen), seen
    # The numbers beside it change all the while, and the focus stays.
    wait_for_numbers(page)
    assert page.script(focus) == "Stop a/x"
    page.command(
        "Input.dispatchKeyEvent",
        {"type": "keyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    )
    page.wait_text("#dialog-title", "Stop a/x?")
    page.click("#dialog-do")
    page.wait_closed()
    page.wait_text('tr[data-key="a/x"]', "stopped")
    wait_until(lambda: page.script("return document.activeElement.tagName") == "BUTTON", 10, "the focus comes back")


HOLD = """
const real = window.fetch;
window.fetch = async (path, options) => {
  if (!path.endsWith(window.holds)) return real(path, options);
  await new Promise((go) => { window.letGo = go; });
  const answer = await real(path, options);
  const text = await answer.text();
  setTimeout(() => { window.answered = text; }, 0); // behind what the page makes of it
  return new Response(text, { status: answer.status });
};
"""


def test_an_answer_that_comes_late_is_for_its_own_dialog(page: Browser, key: str) -> None:
    write_route("a", ROUTE)
    wait_state("a/x", "running")
    log_in(page, key)
    page.find('tr[data-key="a/x"]')
    page.script(HOLD)
    hold = "window.holds = arguments[0]; window.letGo = null; window.answered = null"
    held, answered = "return Boolean(window.letGo)", "return window.answered !== null"
    page.script(hold, "/x/restart")
    page.press("a/x", "restart")
    page.click("#dialog-do")
    wait_until(lambda: page.script(held), 10, "the restart is under way")
    page.click("#dialog-cancel")
    page.press("a/x", "edit")
    page.wait_text("#dialog-title", "Edit a/x")
    assert page.script("return document.getElementById('dialog-do').disabled") is False
    page.script("window.letGo()")
    wait_until(lambda: page.script(answered), 30, "the restart is done")
    assert is_open(page)
    page.click("#dialog-cancel")

    page.script(hold, "/x/log?lines=100")
    page.press("a/x", "log")
    wait_until(lambda: page.script(held), 10, "the log is asked for")
    page.click("#dialog-cancel")
    page.press("a", "log")
    page.wait_text("#dialog-lines", "streamd-ingest@a.service")
    page.script("window.letGo()")
    wait_until(lambda: page.script(answered), 30, "the other log is there")
    assert "streamd-ingest@a.service" in page.text("#dialog-lines")

    # What fails after its dialog was closed is told all the same, but not in that of something else.
    page.click("#dialog-cancel")
    page.script(hold, "/x/stop")
    page.press("a/x", "stop")
    page.click("#dialog-do")
    wait_until(lambda: page.script(held), 10, "the stop is under way")
    page.click("#dialog-cancel")
    page.press("a", "log")
    run("systemctl", "stop", "streamd.service")
    try:
        page.script("window.letGo()")
        wait_until(lambda: page.script(answered), 30, "it is refused")
        assert page.text("#dialog-title") == "Log of a"
        page.click("#dialog-cancel")
        page.wait_text("#dialog-title", "Stop a/x?")
        page.wait_text("#dialog-problem", "streamd is not running")
    finally:
        run("systemctl", "start", "streamd.service")


def test_it_says_when_it_has_lost_its_connection(page: Browser, key: str) -> None:
    write_route("a", ROUTE)
    wait_active(("a", "a/x"))
    log_in(page, key)
    page.find('tr[data-key="a/x"]')
    run("systemctl", "stop", "streamd.service")
    page.wait_text("#connection", "streamd is not running")
    run("systemctl", "start", "streamd.service")
    wait_until(lambda: page.script("return document.getElementById('connection').hidden"), 30, "all is well again")
    run("systemctl", "stop", "streamd-web.socket", SERVICE)
    page.wait_text("#connection", "The connection is lost since")
    page.click("#log-out")
    page.wait_text("#dialog-title", "You are still logged in")
    page.click("#dialog-do")
    page.wait_closed()
    run("systemctl", "start", "streamd-web.socket")
    wait_until(lambda: page.script("return document.getElementById('connection').hidden"), 30, "it finds it again")
    revoke_key("person")
    page.find("#log-in")
    add_key("person", "admin")
