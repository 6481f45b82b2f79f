"""The files of a route as streamd finds them, what it does to them, and the mark by which it knows its own."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from streamd.route.document import Document

DROPIN: Final = "50-streamctl.toml"
"""The drop-in that streamd writes."""
_MARK: Final = "# Written by streamd. Edit it and it is yours. sha256:"


@dataclass(frozen=True, slots=True)
class Write:
    """Replace or make a file."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a file."""

    path: str


@dataclass(frozen=True, slots=True)
class Mask:
    """Put a link to /dev/null there, instead of what may be there."""

    path: str


Action = Write | Delete | Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The files of a route as they are. `own`, `hiding` and `links` are of the two in /etc that streamd may write."""

    path: str
    """Of the main file in /etc, whether it is there or not."""
    main: Document | None
    """The main file that counts, in whatever directory."""
    dropins: tuple[Document, ...] = ()
    """Those that count, as they are applied, also where there is no main file."""
    own: frozenset[str] = frozenset()
    """Those that streamd wrote and nobody touched."""
    hiding: frozenset[str] = frozenset()
    """Those that hide a file of the same name in another directory, or would if they were there."""
    links: frozenset[str] = frozenset()
    """Those that are links, to /dev/null or elsewhere."""
    vendor: bool = False
    """Whether the main file stands in /usr/lib."""

    @property
    def dropin_path(self) -> str:
        """Return the path of streamd's own drop-in, whether it is there or not."""
        return f"{self.path}.d/{DROPIN}"

    @property
    def pieces(self) -> tuple[Document, ...]:
        """Return the main file and its drop-ins; nothing without a main file."""
        return (self.main, *self.dropins) if self.main else ()


@dataclass(frozen=True, slots=True)
class Edit:
    """A change that can be made."""

    actions: tuple[Action, ...]
    """In the order in which to carry them out; none where all is already as it should be."""
    pieces: tuple[Document, ...]
    """The route's pieces afterwards; none where it is gone. They were not checked by the parser yet."""


def signed(text: str) -> str:
    """Return a file's text with a first line by which streamd knows it as its own as long as nobody touches it."""
    return f"{_MARK}{sha256(text.encode()).hexdigest()}\n{text}"


def is_signed(raw: bytes) -> bool:
    """Return whether streamd wrote these bytes, all of them."""
    first, _, rest = raw.partition(b"\n")
    return first == f"{_MARK}{sha256(rest).hexdigest()}".encode()
