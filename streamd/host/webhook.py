"""Calls webhooks: what runs in streamd-webhook@.service, apart from the daemon, which does not speak to the network.

It reads its calls from a credential and ends when each was made, or given up after some tries.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from streamd import __version__
from streamd.plan.address import Address

_LOG: Final = logging.getLogger(__name__)
CREDENTIAL: Final = "calls"
"""The name of the credential that holds the calls."""
WAITS: Final = (2.0, 8.0)
"""Seconds between the tries."""
ANSWER_SECONDS: Final = 10.0
"""For one try, from the look-up of the name to the answer."""
_ALL_SECONDS: Final = 100.0
"""For all calls; the unit's time-out is longer."""
_AT_ONCE: Final = 10


@dataclass(frozen=True, slots=True)
class Call:
    """One webhook to call."""

    url: str
    """A secret."""
    shown: str
    """What may be told of it."""
    body: Mapping[str, Any]

    @property
    def what(self) -> str:
        """Return what it is about."""
        return f"the {self.body['event']} of {self.body['address']}"


Tell = Callable[[Call, str], None]
"""Takes a call and why it failed; nothing when it was made."""


class _FinalError(Exception):
    """Trying again would not help."""


class _TryAgainError(Exception):
    """It may work later."""


async def call_all(
    calls: Sequence[Call], tell: Tell, *, waits: Sequence[float] = WAITS, seconds: float = _ALL_SECONDS
) -> None:
    """Call webhooks, some at once, and tell how each went."""
    slots = asyncio.Semaphore(_AT_ONCE)
    headers = {"User-Agent": f"streamd/{__version__}"}
    timeout = httpx.Timeout(ANSWER_SECONDS)
    async with httpx.AsyncClient(headers=headers, timeout=timeout, follow_redirects=False) as client:

        async def reach(call: Call) -> None:
            try:
                async with slots:
                    problem = await _call(client, call, waits)
            except Exception as error:  # noqa: BLE001 (one call must not take the others with it)
                problem = _harmless(error, call.url)
            tell(call, problem)

        tasks = [asyncio.create_task(reach(call)) for call in calls]
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*tasks)
        except TimeoutError:
            for task, call in zip(tasks, calls, strict=True):
                if task.cancelled() or not task.done():
                    tell(call, f"no time was left after {seconds:.0f} s")


async def _call(client: httpx.AsyncClient, call: Call, waits: Sequence[float]) -> str:
    """Call one webhook, again where that may help; return why it was not told, or nothing."""
    problem = ""
    for wait in (0.0, *waits):
        await asyncio.sleep(wait)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await _post(client, call)
        except TimeoutError:
            problem = f"no answer within {ANSWER_SECONDS:.0f} s"
        except _TryAgainError as error:
            problem = str(error)
        except _FinalError as error:
            return str(error)
        else:
            return ""
    return f"{problem}; given up after {len(waits) + 1} tries"


async def _post(client: httpx.AsyncClient, call: Call) -> None:
    """Post once. The answer's body is never read. Raises: _TryAgainError, _FinalError."""
    try:
        async with client.stream("POST", call.url, json=call.body) as answer:
            status = answer.status_code
    except httpx.TimeoutException:
        raise _TryAgainError(f"no answer within {ANSWER_SECONDS:.0f} s") from None
    except httpx.TransportError as error:
        raise _TryAgainError(_harmless(error, call.url)) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _FinalError(_harmless(error, call.url)) from None
    if 200 <= status < 300:
        return
    if status >= 500 or status in (408, 425, 429):
        raise _TryAgainError(f"it answered {status}")
    raise _FinalError(f"it answered {status}" + (", and redirects are not followed" if 300 <= status < 400 else ""))


def _harmless(error: Exception, url: str) -> str:
    """Return what an error says, unless it repeats a part of the URL that may be secret: all but the host."""
    text = str(error)
    user, _, rest = url.partition("://")[2].rpartition("@") if "@" in url else ("", "", url.partition("://")[2])
    pieces = re.split(r"[/?&=:]", f"{user}/{rest.partition('/')[2]}")
    return type(error).__name__ if not text or any(len(piece) > 2 and piece in text for piece in pieces) else text


def read_calls(directory: Path) -> list[Call]:
    """Return the calls in a credential directory. Raises: OSError, ValueError."""
    found = json.loads((directory / CREDENTIAL).read_bytes())
    return [Call(url=one["url"], shown=one["shown"], body=one["body"]) for one in found]


def _log(call: Call, problem: str) -> None:
    from streamd.host import journal  # noqa: PLC0415 (what is above needs no systemd)

    address = Address(call.body["route"], call.body["output"])
    message_id = journal.HOOK_FAILED if problem else journal.HOOK_CALLED
    extra = journal.fields(message_id, address, STREAMD_HOOK=call.shown, STREAMD_EVENT=call.body["event"])
    if problem:
        _LOG.error("webhook %s was not told of %s: %s", call.shown, call.what, problem, extra=extra)
    else:
        _LOG.info("webhook %s was told of %s", call.shown, call.what, extra=extra)


def main() -> int:
    """Make all calls; the exit status is 0 however they went, since the journal tells."""
    from streamd.host import journal  # noqa: PLC0415

    journal.set_up()
    silence()
    try:
        calls = read_calls(Path(os.environ.get("CREDENTIALS_DIRECTORY", "")))
    except OSError as error:
        _LOG.error("cannot read the calls, which streamd hands over as a credential: %s", error.strerror)
        return 1
    asyncio.run(call_all(calls, _log))
    return 0


def silence() -> None:
    """Keep the libraries from logging every request with its URL."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
