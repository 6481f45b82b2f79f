"""One method call as its handler sees it, and the errors that it can be answered with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streamd.bus.connection import Variant
from streamd.bus.names import DBUS_ERROR
from streamd.bus.wire import Marshalled
from streamd.route.diagnostic import nearest

_SHOWN: Final = 100
"""Characters of a caller's own text that an error repeats."""
_LARGEST_FILE: Final = 1 << 16
"""Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A method call whose arguments match the method's signature and whose caller is authorised."""

    sender: str
    """The caller's unique name."""
    path: str
    interface: str
    member: str
    arguments: list[Any]


Body = list[Any] | Marshalled
"""What a reply carries: its values, or their bytes."""
Handler = Callable[[Call], Body] | Callable[[Call], Awaitable[Body]]
"""Returns the body of the reply. A plain function must be quick; a coroutine function gets a task of its own."""


class CallError(Exception):
    """An error reply: a D-Bus error name, and one sentence for a person."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name

    @classmethod
    def standard(cls, name: str, text: str) -> CallError:
        """Return an error with one of D-Bus' own names, such as `InvalidArgs`."""
        return cls(f"{DBUS_ERROR}.{name}", text)


def quoted(text: str) -> str:
    """Return a caller's text for use in a sentence, shortened and in quotes."""
    return f'"{text}"' if len(text) <= _SHOWN else f'"{text[: _SHOWN - 1]}…"'


def require_short(text: str) -> None:
    """Refuse the text of a file that is longer than any has a reason to be. Raises: CallError."""
    if len(text.encode()) > _LARGEST_FILE:
        raise CallError.standard("LimitsExceeded", f"the text has more than {_LARGEST_FILE // 1024} KiB")


def take_options(options: Mapping[str, Variant], known: Mapping[str, str]) -> dict[str, Any]:
    """Return the options' values.

    Args:
        options: as received, a{sv}.
        known: the signature of each option that the method has.

    Raises:
        CallError: an option is unknown or of another type; its name is in the sentence.
    """
    for name, value in options.items():
        if name not in known:
            hint = nearest(name[:_SHOWN], known)
            raise CallError.standard("InvalidArgs", f"there is no option {quoted(name)}{hint}")
        if value.signature != known[name]:
            text = f"the option {quoted(name)} must be of type {known[name]}, not {quoted(value.signature)}"
            raise CallError.standard("InvalidArgs", text)
    return {name: value.value for name, value in options.items()}
