"""Lines for the journal go aside, so that a journal which hangs holds nobody up."""

from __future__ import annotations

import logging
import threading
from logging.handlers import QueueListener

import pytest

pytest.importorskip("systemd")

from streamd.host import journal


class Taker(logging.Handler):
    """A journal that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.taken.append(record)


@pytest.fixture
def aside(monkeypatch: pytest.MonkeyPatch) -> journal.Aside:
    monkeypatch.setattr(journal, "_MOST_LINES", 5)
    return journal.Aside()


def taken(aside: journal.Aside) -> list[logging.LogRecord]:
    """Return what a journal gets that is there again."""
    taker = Taker()
    listener = QueueListener(aside.queue, taker)
    listener.start()
    listener.stop()
    return taker.taken


def test_lines_that_the_journal_does_not_take_are_counted_and_hold_nobody_up(aside: journal.Aside) -> None:
    logger = logging.Logger("streamd")
    logger.addHandler(aside)
    for number in range(8):
        logger.warning("line %d", number)
    assert [record.getMessage() for record in taken(aside)] == [f"line {number}" for number in range(5)]
    logger.warning("it is back")
    found = [record.getMessage() for record in taken(aside)]
    assert found == ["3 lines were lost, for the journal did not take them", "it is back"]


def test_who_ends_waits_for_the_journal_and_not_for_ever(aside: journal.Aside) -> None:
    hangs, taker = threading.Event(), Taker()
    taker.addFilter(lambda _record: hangs.wait(60))
    listener = QueueListener(aside.queue, taker)
    listener.start()
    logger = logging.Logger("streamd")
    logger.addHandler(aside)
    logger.warning("last words")
    aside.drain(0.01)
    assert not taker.taken
    hangs.set()
    aside.drain(60)
    assert [record.getMessage() for record in taker.taken] == ["last words"]
    listener.stop()


def test_a_line_keeps_its_fields_and_its_traceback(aside: journal.Aside) -> None:
    logger = logging.Logger("streamd")
    logger.addHandler(aside)
    try:
        int("why")
    except ValueError:
        logger.exception("it failed", extra={"fields": {"STREAMD_ROUTE": "a"}})
    (record,) = taken(aside)
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("it failed\nTraceback")
    assert record.getMessage().endswith("'why'")
    assert record.fields == {"STREAMD_ROUTE": "a"}  # type: ignore[attr-defined]


def test_what_is_no_text_or_is_not_taken_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file's name may be any bytes, and the journal may be stopped for a while."""
    sent: list[dict[str, str]] = []

    def send(text: str, **more: str) -> None:
        if "refused" in text:
            raise ConnectionRefusedError
        sent.append({"MESSAGE": text.encode().decode(), **{key: str(value) for key, value in more.items()}})

    monkeypatch.setattr(journal.journal, "send", send)
    logger = logging.Logger("streamd")
    logger.addHandler(journal._JournalHandler("streamd"))
    logger.warning("refused")
    logger.warning("caf\udce9.toml", extra={"fields": {"STREAMD_PATH": "caf\udce9.toml"}})
    assert [(line["MESSAGE"], line["STREAMD_PATH"]) for line in sent] == [("caf?.toml", "caf?.toml")]
    assert "ConnectionRefusedError" in capsys.readouterr().err
