"""What is heard of one process: its reports, which are read when somebody asks what they say.

Nearly all of them say that some more was sent than a second ago. That can be told from the datagram itself for a
fraction of what it costs to read it; of hundreds of processes, that is most of what the daemon does at rest.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from streamd.plan.progress import BREAK, Meter, advance, parse_report

_TOTAL: Final = b"total_size="
_GOES_ON: Final = b"\nprogress=continue\n"
_MOST_DIGITS: Final = 19
_UNREAD: Final = 8
"""Reports that are kept unread: more than a bitrate is averaged over."""


class Track:
    """The reports of one process. Times are µs of the monotonic clock."""

    __slots__ = ("_meter", "_total", "_unread", "moved_at")

    def __init__(self) -> None:
        """Have heard nothing."""
        self._meter: Meter | None = None
        self._unread: deque[tuple[int, bytes]] = deque(maxlen=_UNREAD)
        self._total = b""
        """The digits of the latest total, where it moved with it."""
        self.moved_at = 0
        """As of the meter."""

    def hear(self, datagram: bytes, at: int) -> None:
        """Take a report that came at `at`; what is none is ignored, and so is the last one of a process that ends."""
        start = datagram.find(_TOTAL) + len(_TOTAL)
        total = datagram[start : datagram.find(b"\n", start)] if start >= len(_TOTAL) else b""
        last = self._total
        if (
            last
            and at - self.moved_at <= BREAK
            and (len(total), total) > (len(last), last)
            and total.isdigit()
            and len(total) <= _MOST_DIGITS
            and datagram.endswith(_GOES_ON)
        ):
            self._unread.append((at, datagram))
            self._total, self.moved_at = total, at
            return
        report = parse_report(datagram)
        if report is None or report.is_last:
            return
        self._meter = advance(self.meter, report, at)
        self.moved_at = self._meter.moved_at
        self._total = total if report.total and self.moved_at == at and not report.link else b""

    @property
    def meter(self) -> Meter | None:
        """Return what all reports add up to, None where there was none yet."""
        found = self._meter
        if found is not None and self._unread:
            # Those before, which were dropped unread, said that it moved.
            found = found._replace(moved_at=self._unread[0][0])
            for at, datagram in self._unread:
                report = parse_report(datagram)
                found = found if report is None else advance(found, report, at)
            self._unread.clear()
            self._meter = found
        return found

    @property
    def has_speed(self) -> bool:
        """Return whether its media has a time, by which it may be too fast or too slow."""
        return self._meter is not None and bool(self._meter.report.media)

    def skip(self) -> None:
        """Leave all unread reports but the latest unread for ever: for what lasts, one of some is enough."""
        while len(self._unread) > 1:
            self._unread.popleft()

    def is_moving(self, now: int) -> bool:
        """Tell whether something moved within the last seconds."""
        return bool(self.moved_at) and now - self.moved_at <= BREAK
