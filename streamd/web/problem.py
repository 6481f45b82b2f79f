"""Problems as RFC 9457 has them: what went wrong, as a document that a program and a person can read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from streamd.bus.client import ClientError, DeniedError, NoSuchThingError, NotRunningError
from streamd.bus.document import Document

MEDIA_TYPE: Final = "application/problem+json"
_PREFIX: Final = "urn:streamd:problem:"

_KINDS: Final[Mapping[str, tuple[int, str]]] = {
    "AlreadyExists": (409, "exists"),
    "WrittenByHand": (409, "written-by-hand"),
    "Disabled": (409, "disabled"),
    "InvalidConfiguration": (422, "invalid-configuration"),
    "InvalidArgs": (422, "invalid-configuration"),
    "LimitsExceeded": (503, "busy"),
    "Busy": (503, "busy"),
    "Timeout": (504, "timeout"),
    "Failed": (502, "failed"),
}
"""Status and kind by the last part of the D-Bus error's name."""

TITLES: Final[Mapping[str, str]] = {
    "malformed": "The request cannot be understood",
    "no-key": "A key is needed",
    "wrong-key": "There is no such key",
    "too-many-tries": "Too many wrong keys came from this address",
    "forbidden": "The key is not good for this",
    "other-page": "Another page made the request",
    "not-found": "There is no such thing",
    "method": "The method is not allowed here",
    "exists": "There is one already",
    "written-by-hand": "A file that a person wrote stands in the way",
    "disabled": "It is disabled",
    "too-large": "The request is too large",
    "slow": "The request did not arrive in time",
    "media-type": "The body is not JSON",
    "invalid-configuration": "The configuration refuses it",
    "internal": "The gateway failed",
    "failed": "streamd could not do it",
    "busy": "Too much is under way",
    "not-running": "streamd is not running",
    "timeout": "streamd does not answer",
}
"""All kinds of problems, each with what is common to all of that kind."""


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it that)
    """A request that cannot be met."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        diagnostics: Sequence[Document] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the HTTP status, a kind out of TITLES, a sentence, and what is wrong with which file."""
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.diagnostics = tuple(diagnostics)
        self.headers = dict(headers or {})

    def document(self) -> dict[str, Any]:
        """Return the body of the answer."""
        found: dict[str, Any] = {
            "type": f"{_PREFIX}{self.kind}",
            "title": TITLES[self.kind],
            "status": self.status,
            "detail": str(self),
        }
        return found | ({"diagnostics": list(self.diagnostics)} if self.diagnostics else {})


def problem_of(error: ClientError) -> Problem:
    """Return the problem that an error of the client is."""
    headers = {}
    if isinstance(error, NotRunningError):
        status, kind = 503, "not-running"
    elif isinstance(error, NoSuchThingError):
        status, kind = 404, "not-found"
    elif isinstance(error, DeniedError):
        # The key was good for it, so that it is the gateway that polkit does not let.
        status, kind = 502, "failed"
    else:
        status, kind = _KINDS.get(error.name, (502, "failed"))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "5"
    # With diagnostics, the text repeats them below its first line.
    text = str(error).partition("\n")[0] if error.diagnostics else str(error)
    return Problem(status, kind, text, diagnostics=error.diagnostics, headers=headers)
