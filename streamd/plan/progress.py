"""What a process reports of its progress, and what a row of reports says: how much moves, how fast, since when.

FFmpeg's `bitrate` and `speed` are averages over its whole life, so they are worked out here from differences.
srt-live-transmit reports by the packet and not by the second, and not at all while it has nobody to send to.

Each output reports once a second, so that there may be thousands of these in that time: they are named tuples, which
take less time to be made than frozen dataclasses.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from streamd.plan.link import Link, parse_link

WINDOW: Final = 5_000_000
"""µs that the bitrate is averaged over."""
LONG_WINDOW: Final = 30_000_000
"""µs that the speed is averaged over: a remuxed stream comes in bursts."""


class Report(NamedTuple):
    """One report of FFmpeg's -progress, or of srt-live-transmit's statistics; None is "N/A" or missing."""

    total: int | None = None
    """Bytes written since the process began; unknown where the muxer has no byte stream, as with RTSP."""
    media: int | None = None
    """µs of media written; of bytes that FFmpeg does not look at always 0."""
    frames: int | None = None
    """Packets of video written, where there is video."""
    fps: float | None = None
    dropped: int | None = None
    duplicated: int | None = None
    is_last: bool = False
    """FFmpeg is about to end."""
    link: Link | None = None
    """What srt-live-transmit tells of its connection."""


def parse_report(datagram: bytes) -> Report | None:
    """Return what a datagram of -progress, or of srt-live-transmit's statistics, says, None where it is neither."""
    if datagram.startswith(b"{"):
        link = parse_link(datagram)
        return None if link is None else Report(total=link.media, link=link)
    usual = _USUAL.match(datagram)
    values = _in_any_order(datagram) if usual is None else usual.groups()
    if values is None:
        return None
    frames, fps, total, media, duplicated, dropped, progress = values
    return Report(
        frames=int(frames) if frames else None,
        total=int(total) if total else None,
        media=int(media) if media else None,
        fps=float(fps) if fps else None,
        dropped=int(dropped) if dropped else None,
        duplicated=int(duplicated) if duplicated else None,
        is_last=progress == b"end",
    )


_COUNT: Final = rb"[0-9]{1,19}(?=\n)"
_NUMBER: Final = rb"[0-9]{1,9}(?:\.[0-9]{1,9})?(?=\n)"
_USUAL: Final = re.compile(
    rb"(?:frame=(?:(%(count)s)|[^\n]*)\n)?%(lines)s(?:fps=(?:(%(number)s)|[^\n]*)\n%(lines)s)?"
    rb"total_size=(?:(%(count)s)|[^\n]*)\nout_time_us=(?:(%(count)s)|[^\n]*)\n%(lines)s"
    rb"dup_frames=(?:(%(count)s)|[^\n]*)\ndrop_frames=(?:(%(count)s)|[^\n]*)\n%(lines)s"
    rb"progress=(continue|end)\n"
    % {b"lines": rb"(?:(?!f(?:rame|ps)=)\w+=[^\n]*\n){0,8}?", b"count": _COUNT, b"number": _NUMBER}
)
"""A report as FFmpeg 5.1 and 7.1 write it: read in one go, since hundreds a second come by here."""
_VALUES: Final = {
    b"frame": re.compile(_COUNT),
    b"fps": re.compile(_NUMBER),
    **dict.fromkeys((b"total_size", b"out_time_us", b"dup_frames", b"drop_frames"), re.compile(_COUNT)),
    b"progress": re.compile(rb"\w+(?=\n)"),
}


def _in_any_order(datagram: bytes) -> list[bytes | None] | None:
    """Return the values of a report whose lines stand otherwise than usual; None of what is no report."""
    lines = dict(line.split(b"=", 1) for line in datagram.splitlines(keepends=True) if b"=" in line)
    found = [pattern.match(lines.get(key, b"")) for key, pattern in _VALUES.items()]
    return None if found[-1] is None else [match and match[0] for match in found]


class _Sample(NamedTuple):
    at: int
    total: int
    media: int
    wire: int = 0
    """Bytes sent by SRT, headers and what was sent again included."""


class Meter(NamedTuple):
    """What the reports of one process add up to. Times are µs of the monotonic clock."""

    report: Report
    """The latest."""
    reported_at: int
    moved_at: int = 0
    """When bytes or media time last grew; 0 where they never did."""
    moving_since: int = 0
    """Since when they have been growing without a break; 0 where they never did."""
    samples: tuple[_Sample, ...] = ()
    pause: int = 0
    """µs that may be between two reports of what moves, where that is more than usual."""

    @property
    def is_blind(self) -> bool:
        """Tell whether FFmpeg cannot say what it sends: there is neither a count of bytes nor a media time."""
        return self.report.total is None and not self.report.media

    def bitrate(self, now: int) -> int | None:
        """Return bit/s over the last seconds, 0 when nothing moves, None when that is unknown."""
        if self.report.total is None:
            return None
        if now - self.reported_at > max(WINDOW, self.pause):
            return 0
        first, last = self._lately(now)
        return None if first is last else (last.total - first.total) * 8_000_000 // (last.at - first.at)

    def send_rate(self, now: int) -> int | None:
        """Return bit/s sent by SRT over the last seconds, headers and what was sent again included; None: unknown."""
        if self.report.link is None or now - self.reported_at > max(WINDOW, self.pause):
            return None
        first, last = self._lately(now)
        return None if first is last else max(0, last.wire - first.wire) * 8_000_000 // (last.at - first.at)

    def _lately(self, now: int) -> tuple[_Sample, _Sample]:
        """Return the samples between which a rate is measured; both are the same where there is but one."""
        last = first = self.samples[-1]
        for sample in reversed(self.samples):  # asked for a thousand of these at once: the old ones are not looked at
            age = now - sample.at
            if age > WINDOW + _PERIOD and (first is not last or age > 2 * self.pause):
                break
            first = sample
        return first, last

    def speed(self, now: int) -> float | None:
        """Return media time over real time over half a minute; None before that, and where media has no time.

        Nor where that time stands while something moves: one of the streams has ended, and the others go on.
        """
        if not self.report.media or len(self.samples) < 2 or now - self.reported_at > WINDOW:
            return None
        first, last = self.samples[0], self.samples[-1]
        if last.at - first.at < LONG_WINDOW - 2 * _PERIOD:
            return None
        if self.moved_at == last.at and any(
            sample.media == last.media for sample in self.samples if last.at - sample.at > 2 * _PERIOD
        ):
            return None
        return (last.media - first.media) / (last.at - first.at)


_PERIOD: Final = 1_000_000
"""µs between two reports."""
BREAK: Final = 3_500_000
"""µs without movement after which it has stopped: three reports, and one that is late."""
LONG_BREAK: Final = 10_000_000
"""The same for what reports by the packet: a hundred packets in that time are some 100 kbit/s."""


def advance(meter: Meter | None, report: Report, at: int) -> Meter:
    """Return the meter after one more report, which came at `at`.

    Counters that went back are those of a new process: the meter begins anew.
    """
    total, media = report.total or 0, report.media or 0
    sample = _Sample(at, total, media, report.link.wire if report.link else 0)
    pause = LONG_BREAK if report.link else 0
    if meter is None or total < (meter.report.total or 0) or media + BREAK < (meter.report.media or 0):
        moved = at if total or media else 0
        return Meter(report=report, reported_at=at, moved_at=moved, moving_since=moved, samples=(sample,), pause=pause)
    # FFmpeg 7.1 tells the media time of whichever stream is the least far, and it stands where one stream has ended.
    more_frames = report.total is None and (report.frames or 0) > (meter.report.frames or 0)
    if total == (meter.report.total or 0) and media <= (meter.report.media or 0) and not more_frames:
        return meter._replace(report=report, reported_at=at, samples=_kept(meter.samples, sample))
    broke = not meter.moved_at or at - meter.moved_at > max(BREAK, pause)
    return Meter(
        report=report,
        reported_at=at,
        moved_at=at,
        moving_since=at if broke else meter.moving_since,
        # A break is no slowness: what is measured begins anew.
        samples=(sample,) if broke else _kept(meter.samples, sample),
        pause=pause,
    )


def _kept(samples: tuple[_Sample, ...], sample: _Sample) -> tuple[_Sample, ...]:
    """Return the latest samples: half a minute of them, with one each second, or with fewer."""
    kept = samples[-_MOST_SAMPLES + 1 :]
    while kept and sample.at - kept[0].at > _LONGEST:
        kept = kept[1:]
    return (*kept, sample)


_MOST_SAMPLES: Final = 32
_LONGEST: Final = LONG_WINDOW + 6 * _PERIOD
"""µs that samples are kept: one more of them than the window needs, also where there is one in five seconds."""
