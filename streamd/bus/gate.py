"""The one gate that every call which changes something must pass: root, and whom polkit authorises."""

from __future__ import annotations

import itertools
import logging
from collections import Counter, OrderedDict
from typing import Final

from streamd.bus.call import CallError
from streamd.bus.connection import BusError, BusTimeoutError, Connection, MessageFlag, Variant
from streamd.bus.names import DBUS, DBUS_ERROR, DBUS_PATH

_LOG: Final = logging.getLogger(__name__)
_POLKIT: Final = "org.freedesktop.PolicyKit1"
_AUTHORITY_PATH: Final = "/org/freedesktop/PolicyKit1/Authority"
_AUTHORITY: Final = "org.freedesktop.PolicyKit1.Authority"
_ABSENT: Final = frozenset(
    f"{DBUS_ERROR}.{name}" for name in ("ServiceUnknown", "NameHasNoOwner", "FileNotFound", "Spawn.ServiceNotFound")
)
_ALLOW_INTERACTION: Final = 1
_QUICK: Final = 20.0
"""Seconds that polkit has when it need not ask anybody. Debian 12's may take 15 for a right answer: it can miss that
its rules have been run, until it takes them for runaways (polkit 122, mended in 123 by 5615ed043fa8)."""
_PATIENT: Final = 60.0
"""Seconds that a person has to type a password."""
_KNOWN_CALLERS: Final = 256
_CHECKS_EACH: Final = 8
"""Checks that one user may have under way; a hanging polkit must not lock the others out."""
_CHECKS_ALL: Final = 48


class Gate:
    """Asks polkit, which may take its time or hang: that delays the caller alone."""

    def __init__(self, connection: Connection, *, quick: float = _QUICK, patient: float = _PATIENT) -> None:
        """Take the bus on which callers and polkit are, and the seconds that polkit has for each kind of question."""
        self._connection = connection
        self._quick = quick
        self._patient = patient
        self._users: OrderedDict[str, int] = OrderedDict()
        self._under_way: Counter[int] = Counter()
        self._ids = (f"streamd-{number}" for number in itertools.count(1))

    async def check(self, sender: str, action: str, *, interactive: bool) -> None:
        """Return if the caller may do it.

        Args:
            sender: the caller's unique name.
            action: the polkit action.
            interactive: whether the caller lets polkit ask somebody for a password.

        Raises:
            CallError: the caller may not, or it cannot be told.
        """
        user = await self._user(sender)
        if user == 0:
            return
        if self._under_way[user] >= _CHECKS_EACH or self._under_way.total() >= _CHECKS_ALL:
            raise CallError.standard("LimitsExceeded", "too many calls wait for authorisation; try again later")
        self._under_way[user] += 1
        try:
            await self._ask(sender, action, interactive=interactive)
        finally:
            self._under_way[user] -= 1
            self._under_way += Counter()  # drops the zeros

    async def _user(self, sender: str) -> int:
        # The bus never gives a unique name to a second connection, so what is known stays true.
        user = self._users.get(sender)
        if user is not None:
            self._users.move_to_end(sender)
            return user
        try:
            (user,) = await self._connection.call(DBUS, DBUS_PATH, DBUS, "GetConnectionUnixUser", "s", [sender])
        except BusError as error:
            _LOG.info("refused a call of %s: %s", sender, error)
            raise _denied("the bus does not tell who is calling") from error
        if not isinstance(user, int):
            raise _denied("the bus does not tell who is calling")
        self._users[sender] = user
        while len(self._users) > _KNOWN_CALLERS:
            self._users.popitem(last=False)
        return user

    async def _ask(self, sender: str, action: str, *, interactive: bool) -> None:
        subject = ["system-bus-name", {"name": Variant("s", sender)}]
        cancellation = next(self._ids)
        try:
            (answer,) = await self._connection.call(
                _POLKIT,
                _AUTHORITY_PATH,
                _AUTHORITY,
                "CheckAuthorization",
                "(sa{sv})sa{ss}us",
                [subject, action, {}, _ALLOW_INTERACTION if interactive else 0, cancellation],
                within=self._patient if interactive else self._quick,
                flags=MessageFlag.NONE,
            )
        except BusTimeoutError as error:
            self._cancel(cancellation)
            raise _denied("polkit did not answer in time") from error
        except BusError as error:
            if error.name in _ABSENT:
                raise _denied("only root may do this while polkit is not running") from error
            _LOG.warning("polkit refused to tell whether %s is allowed %s: %s", sender, action, error)
            raise _denied("polkit cannot tell whether you may do this") from error
        except ValueError:
            answer = None
        match answer:
            case [True, bool(), dict()]:
                return
            case [False, bool() as challenge, dict()]:
                pass
            case _:
                _LOG.warning("polkit gave an answer that cannot be understood")
                raise _denied("polkit cannot tell whether you may do this")
        if challenge and not interactive:
            text = f"this needs authorisation ({action}); try again interactively, or as root"
            raise CallError.standard("InteractiveAuthorizationRequired", text)
        raise _denied(f"you are not authorised ({action})")

    def _cancel(self, cancellation: str) -> None:
        self._connection.send_call(
            _POLKIT, _AUTHORITY_PATH, _AUTHORITY, "CancelCheckAuthorization", "s", [cancellation]
        )


def _denied(text: str) -> CallError:
    return CallError.standard("AccessDenied", text)
