"""Inputs that are fetched from a server: what they are watched for, and what their failures mean."""

from __future__ import annotations

import pytest

from streamd.plan.cause import Cause, Ending, classify, is_slow
from streamd.plan.observed import ObservedUnit
from streamd.plan.overview import judge, source_kind
from streamd.plan.patient import PULL_TIMEOUT, patients
from streamd.plan.status import State
from streamd.route.model import PullSource, Settings
from tests.unit.make import route

MISSING = (
    "[rtsp @ 0x55d0c0de0000] [error] method DESCRIBE failed: 404 Not Found",
    "[error] rtsp://192.0.2.1/a: Server returned 404 Not Found",
)


def test_a_stream_that_is_not_there_yet_is_no_rejection_that_waits_for_minutes() -> None:
    found = classify(Ending(result="exit-code", code=1, status=8, lines=MISSING, kind="rtsp", is_input=True))
    assert (found.cause, found.sentence) == (Cause.ABSENT, "the server has no such stream")
    assert not is_slow(found.cause)
    output = classify(Ending(result="exit-code", code=1, status=8, lines=MISSING, kind="rtsp"))
    assert output.cause is Cause.REJECTED


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("rtsp://a/b", "rtsp"),
        ("rtsps://a/b", "rtsp"),
        ("rtmp://a/b", "rtmp"),
        ("rtmps://a/b", "rtmp"),
        ("http://a/b.m3u8", "hls"),
        ("https://a/b.m3u8", "hls"),
    ],
)
def test_it_is_watched_for_silence(url: str, kind: str) -> None:
    source = PullSource(url=url)
    assert source_kind(source) == kind
    (ingest,) = patients([route("a", source=source)], {"a": "127.64.0.1"}, Settings())
    assert (ingest.kind, ingest.stall_timeout) == (kind, PULL_TIMEOUT)
    (encoder,) = patients([route("a")], {"a": "127.64.0.1"}, Settings())
    assert encoder.stall_timeout == 0


@pytest.mark.parametrize(
    ("lines", "code"),
    [(MISSING, 8), (("[error] rtsp://127.0.0.1:8554/a: End of file",), 0), ((), 0), ((), 1)],
    ids=["nobody yet", "it left", "it left without a word", "its lines come late"],
)
def test_without_an_encoder_what_is_published_to_waits(lines: tuple[str, ...], code: int) -> None:
    ending = Ending(result="success", code=1, status=code, lines=lines, kind="publish", is_input=True)
    found = classify(ending)
    assert (found.cause, found.sentence) == (Cause.NO_PUBLISHER, "no encoder has called yet")
    assert not is_slow(found.cause)
    waiting = ObservedUnit(name="streamd-ingest@a.service", active="activating", sub="auto-restart")
    assert judge(waiting, None, "", failure=found) == (State.WAITING, "no encoder has called yet")
