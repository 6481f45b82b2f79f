"""A helper process that answers commands, one line of JSON for each."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
SelfType = TypeVar("SelfType", bound="Child")

PACKAGE = __package__ or ""
ROOT = Path(__file__).resolve().parents[len(PACKAGE.split("."))]
"""The folder from which this package can be imported."""


def wait_until(probe: Callable[[], T], seconds: float, what: str) -> T:
    """Return the first true value of `probe`; for conditions of other processes that send no event.

    Raises:
        TimeoutError: it tells `what` was awaited.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def end(process: subprocess.Popen[Any], seconds: float = 5) -> None:
    """End a process, by SIGTERM and then by SIGKILL, and wait for its end."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def inside(namespace: str) -> tuple[str, ...]:
    """Return what runs the command behind it in a network namespace; nothing where that is empty."""
    # nsenter executes the command in its own place, so that the process id is the command's.
    return ("nsenter", f"--net=/run/netns/{namespace}") if namespace else ()


class Child:
    """Runs a module of this package, with a command's line into it and a line of JSON out of it."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._argv = [sys.executable, "-m", f"{PACKAGE}.{module}", *arguments]
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """Return the process id, 0 when it does not run."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the process, and return when it is ready."""
        self._process = subprocess.Popen(
            self._argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        try:
            self._read(30)
        except BaseException:
            self.stop()
            raise

    def ask(self, command: str, seconds: float = 10) -> Any:
        """Return what the process answers to a command."""
        if self._process is None or self._process.stdin is None:
            raise RuntimeError(f"{self._argv[2]} does not run")
        try:
            self._process.stdin.write(f"{command}\n")
        except BrokenPipeError:
            raise RuntimeError(f"{self._argv[2]} ended with status {self._process.wait()}") from None
        return self._read(seconds)

    def _read(self, seconds: float) -> Any:
        if self._process is None or self._process.stdout is None:
            raise RuntimeError(f"{self._argv[2]} does not run")
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                raise TimeoutError(f"{self._argv[2]} gave no answer within {seconds:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._argv[2]} ended with status {self._process.wait()}")
        return json.loads(line)

    def stop(self) -> None:
        """End the process, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            end(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def __enter__(self: SelfType) -> SelfType:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
