"""A browser that tests drive: Debian's chromium by its chromedriver, whose protocol is JSON over HTTP."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from tests.appliance.host import wait_until

_ELEMENT: Final = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which WebDriver names an element."""
# Its sandbox needs what root in a container does not have.
_OPTIONS: Final = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


class Browser:
    """One window."""

    def __init__(self, port: int) -> None:
        """Take where chromedriver listens."""
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        options = {"args": list(_OPTIONS), "binary": "/usr/bin/chromium"}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        self._session = self._ask("POST", "/session", {"capabilities": wanted})["sessionId"]

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._http.request(method, path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        if answer.status_code != 200:
            raise AssertionError(f"{path}: {value['error']}: {value['message']}")
        return value

    def _do(self, path: str, body: dict[str, Any] | None = None, *, method: str = "POST") -> Any:
        return self._ask(method, f"/session/{self._session}/{path}", body or {})

    def close(self) -> None:
        self._ask("DELETE", f"/session/{self._session}")
        self._http.close()

    def open(self, url: str) -> None:
        self._do("url", {"url": url})

    def shape(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Give the window a size, and the page the wish for light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.command("Emulation.setDeviceMetricsOverride", size)
        wishes = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            # Without it the page glides, and what is to be clicked on is elsewhere by then.
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.command("Emulation.setEmulatedMedia", {"features": wishes})

    def command(self, name: str, parameters: dict[str, Any]) -> Any:
        """Do what Chromium knows and WebDriver does not."""
        return self._do("goog/cdp/execute", {"cmd": name, "params": parameters})

    def script(self, text: str, *arguments: Any) -> Any:
        return self._do("execute/sync", {"script": text, "args": list(arguments)})

    def script_that_waits(self, text: str, *arguments: Any) -> Any:
        """Run a script that ends by calling its last argument."""
        return self._do("execute/async", {"script": text, "args": list(arguments)})

    def find(self, selector: str) -> str:
        """Return the one element, waited for until it can be seen."""

        def probe() -> str:
            found = self._do("elements", {"using": "css selector", "value": selector})
            seen = [each[_ELEMENT] for each in found if self._is_shown(each[_ELEMENT])]
            return str(seen[0]) if len(seen) == 1 else ""

        return wait_until(probe, 20, f"one {selector} is to be seen")

    def _is_shown(self, element: str) -> bool:
        return bool(self._do(f"element/{element}/displayed", method="GET"))

    def click(self, selector: str) -> None:
        self._do(f"element/{self.find(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        """Replace what stands in a field."""
        element = self.find(selector)
        self._do(f"element/{element}/clear")
        self._do(f"element/{element}/value", {"text": text})

    def text(self, selector: str = "body") -> str:
        """Return what a person can read."""
        return str(self._do(f"element/{self.find(selector)}/text", method="GET"))

    def wait_text(self, selector: str, words: str, seconds: float = 30) -> None:
        wait_until(lambda: words in self.text(selector), seconds, f"{selector} says {words!r}: {self.text(selector)}")

    def press(self, selector: str, verb: str) -> None:
        """Press the button of a thing, as "a/x" "stop"."""
        self.click(f'button[data-address="{selector}"][data-verb="{verb}"]')

    def fill(self, **fields: str) -> None:
        """Fill in the dialog and send it."""
        for name, text in fields.items():
            self.type(f"#field-{name}", text)
        self.click("#dialog-do")

    def wait_closed(self) -> None:
        wait_until(lambda: not self.script("return document.getElementById('dialog').open"), 20, "the dialog is closed")

    @contextmanager
    def inside(self, selector: str) -> Iterator[None]:
        """Look into a frame, as long as it takes."""
        self._do("frame", {"id": {_ELEMENT: self.find(selector)}})
        try:
            yield
        finally:
            self._do("frame/parent")

    def screenshot(self, path: Path) -> None:
        """Write what is to be seen, as WebP: a small file."""
        found = self.command("Page.captureScreenshot", {"format": "webp", "quality": 60})
        path.write_bytes(base64.b64decode(found["data"]))

    def errors(self) -> list[str]:
        """Return what the page complained about since this was asked last."""
        found = self._do("se/log", {"type": "browser"})
        return [json.dumps(each) for each in found if each["level"] == "SEVERE"]


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a browser with a profile of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def is_ready() -> bool:
        try:
            return bool(httpx.get(f"http://127.0.0.1:{port}/status", timeout=5).json()["value"]["ready"])
        except httpx.HTTPError:
            return False

    try:
        wait_until(is_ready, 30, "chromedriver listens")
        found = Browser(port)
        try:
            yield found
        finally:
            found.close()
    finally:
        driver.terminate()
        driver.wait(10)
