"""The metrics where Prometheus gets them: `streamctl metrics`, and a server on a socket that systemd hands over."""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from streamd.bus.metrics import CONTENT_TYPE, Family, exposition, families, metrics_document
from streamd.ctl.asking import client
from streamd.ctl.exits import FAILURE, NO_DAEMON, OK, Failure
from streamd.ctl.printing import complain, print_result

IDLE_SECONDS: Final = 300.0
"""After that long without a request the server ends; systemd starts it again at the next."""
_REQUEST_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 15.0
_LONGEST_REQUEST: Final = 8192
_MOST_CONNECTIONS: Final = 16


async def collect() -> tuple[Family, ...]:
    """Ask the daemon, and return its metrics; where it does not run, the one that says so. Raises: ClientError."""
    from streamd.bus.client import NotRunningError  # noqa: PLC0415

    try:
        async with client() as daemon:
            status = await daemon.status()
            return families(status, await daemon.statistics())
    except NotRunningError:
        return families(None)


def run_metrics(options: argparse.Namespace) -> int:
    """Print the metrics, or write them to a file. Raises: Failure."""
    from streamd.bus.client import ClientError  # noqa: PLC0415
    from streamd.host.store import write_atomically  # noqa: PLC0415

    try:
        metrics = asyncio.run(collect())
    except ClientError as error:
        raise Failure(str(error), FAILURE) from error
    if options.textfile is None:
        print_result(options, metrics_document(metrics), lambda _style: exposition(metrics))
    else:
        path = Path(options.textfile)
        try:
            if not path.parent.is_dir():
                raise Failure(f"there is no directory {path.parent}", FAILURE)
            write_atomically(path, exposition(metrics).encode(), 0o644)
        except OSError as error:
            raise Failure(f"cannot write {path}: {error.strerror}", FAILURE) from error
    if len(metrics) == 1:
        complain("streamd is not running; start it with: systemctl start streamd")
        return NO_DAEMON
    return OK


class Exporter:
    """Answers GET /metrics, and nothing else, to a bounded number of clients that have a bounded time."""

    def __init__(self, gather: Callable[[], Awaitable[str]], *, idle: float = IDLE_SECONDS) -> None:
        """Take what makes the text; it raises an exception with a sentence where that cannot be had."""
        self._gather = gather
        self._idle = idle
        self._open = 0
        self._stirred = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    async def serve(self, listener: socket.socket) -> None:
        """Answer until nobody has asked for a while."""
        server = await asyncio.start_server(self._connected, sock=listener, limit=_LONGEST_REQUEST)
        async with server:
            while await self._was_asked() or self._open:
                pass

    async def _was_asked(self) -> bool:
        """Tell whether somebody asks before it is time to end."""
        self._stirred.clear()
        try:
            async with asyncio.timeout(self._idle):
                return await self._stirred.wait()
        except TimeoutError:
            return False

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        self._stirred.set()
        try:
            if self._open <= _MOST_CONNECTIONS:
                async with asyncio.timeout(_REQUEST_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await self._answer(head, writer)
        except asyncio.LimitOverrunError:
            writer.write(_response("431 Request Header Fields Too Large", "the request is too long"))
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            pass  # it is gone, or too slow; nobody is left to be told
        finally:
            await self._close(writer)
            self._open -= 1
            self._stirred.set()

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        method, path = _asked(head)
        if path != "/metrics":
            response = _response("404 Not Found", "there is nothing but /metrics")
        elif method not in ("GET", "HEAD"):
            response = _response("405 Method Not Allowed", "use GET", "Allow: GET, HEAD\r\n")
        else:
            async with self._one_at_a_time:
                try:
                    response = _response("200 OK", await self._gather())
                except Exception as error:  # noqa: BLE001 (told to whoever asked)
                    response = _response("503 Service Unavailable", str(error))
        writer.write(response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else response)
        await writer.drain()

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError):
            writer.transport.abort()


def _asked(head: bytes) -> tuple[str, str]:
    """Return the method and the path of a request; empty where it is none."""
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return "", ""
    return words[0], words[1].partition("?")[0]


def _response(status: str, text: str, more: str = "") -> bytes:
    body = text.encode() if text.endswith("\n") else f"{text}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
    return (
        f"{head}{more}Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n".encode()
        + body
    )


async def _text() -> str:
    return exposition(await collect())


def main() -> int:
    """Serve on the socket that systemd hands over."""
    from systemd import daemon  # noqa: PLC0415

    descriptors = daemon.listen_fds()
    if len(descriptors) != 1:
        sys.stderr.write("this is started by streamd-metrics.socket; see: systemctl start streamd-metrics.socket\n")
        return FAILURE
    with socket.socket(fileno=descriptors[0]) as listener:
        listener.setblocking(False)
        asyncio.run(Exporter(_text).serve(listener))
    return OK


if __name__ == "__main__":
    sys.exit(main())
