"""Calling webhooks: tried again where that may help, never for ever, and never with a secret in the log."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import httpx
import pytest

from streamd.host import webhook
from streamd.host.webhook import Call, call_all, read_calls

SECRET = "T0/B0/s3cret"
BODY = {"event": "failure", "address": "a/x", "route": "a", "output": "x"}
CALL = Call(url=f"https://alerts.example.net/{SECRET}", shown="https://alerts.example.net", body=BODY)


class Server:
    """Answers instead of the network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        client = httpx.AsyncClient

        def make(**options: object) -> httpx.AsyncClient:
            assert options["follow_redirects"] is False
            assert "verify" not in options, "certificates are verified"
            return client(transport=httpx.MockTransport(self.answer), **options)  # type: ignore[arg-type]

        monkeypatch.setattr(httpx, "AsyncClient", make)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer == 0:
            await asyncio.Event().wait()
        return httpx.Response(answer, headers={"Location": "https://elsewhere.example.net/"})


def run(waits: tuple[float, ...] = (0.0, 0.0), seconds: float = 20, calls: int = 1) -> list[str]:
    """Make the calls; return what was told of each."""
    told: list[tuple[Call, str]] = []
    asyncio.run(
        call_all([CALL] * calls, lambda call, problem: told.append((call, problem)), waits=waits, seconds=seconds)
    )
    assert [call for call, _ in told] == [CALL] * calls, "each was told of once"
    problems = [problem for _, problem in told]
    assert SECRET not in "".join(problems)
    return problems


def test_a_webhook_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    webhook.silence()
    server = Server(monkeypatch, 204)
    assert run() == [""]
    (request,) = server.requests
    assert (request.method, str(request.url), json.loads(request.content)) == ("POST", CALL.url, BODY)
    assert request.headers["Content-Type"] == "application/json"
    assert SECRET not in caplog.text


@pytest.mark.parametrize("trouble", [500, 503, 429, httpx.ConnectError("refused"), httpx.ReadTimeout("slow")])
def test_it_is_tried_again_and_then_given_up(trouble: int | Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, trouble)
    (problem,) = run()
    assert problem.endswith("; given up after 3 tries")
    assert len(server.requests) == 3


def test_a_later_try_may_work(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, httpx.ConnectError("refused"), 502, 200)
    assert run() == [""]
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410])
def test_what_will_not_work_is_not_tried_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, status)
    (problem,) = run()
    assert f"it answered {status}" in problem
    assert len(server.requests) == 1, "and a redirect is not followed"


def test_a_server_that_never_answers_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "ANSWER_SECONDS", 0.01)
    server = Server(monkeypatch, 0)
    assert run() == ["no answer within 0 s; given up after 3 tries"]
    assert len(server.requests) == 3


def test_all_calls_together_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, 0)
    assert run(seconds=0.05, calls=20) == ["no time was left after 0 s"] * 20


@pytest.mark.parametrize("text", [f"cannot POST {CALL.url}", "no such path: s3cret", ""])
def test_an_error_that_repeats_the_url_is_not_repeated(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, httpx.UnsupportedProtocol(text))
    assert run(
        (),
    ) == ["UnsupportedProtocol; given up after 1 tries"]


def test_an_error_that_nobody_foresaw_takes_no_other_call_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, RuntimeError("no home"), 204)
    assert sorted(run(calls=3)) == ["", "", "no home"]
    assert len(server.requests) == 3


def test_calls_come_from_the_credential(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text(json.dumps([{"url": CALL.url, "shown": CALL.shown, "body": BODY}]))
    assert read_calls(tmp_path) == [CALL]
