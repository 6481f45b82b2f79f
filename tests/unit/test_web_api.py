"""REST, with a daemon that only remembers."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamd.web", reason="streamd-web is not installed, so that it is NOT TESTED")

from streamd.bus.client import ClientError, DeniedError, NoSuchThingError, NotRunningError
from streamd.route.parse import ROUTE_KEYS
from streamd.route.source import INPUT_KEYS
from streamd.route.target import OUTPUT_KEYS
from streamd.web import keys
from streamd.web.body import parse_object
from streamd.web.problem import TITLES
from tests.unit.test_ctl_show import DIAGNOSTIC
from tests.unit.web import Place, place


def test_everything_can_be_read(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            answer = await it.ask("GET", "/api/inputs", "observer")
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["cache-control"] == "no-store"
            first, second = answer.json()["inputs"]
            assert [first["id"], second["id"]] == ["studio-a", "b"]
            assert [output["id"] for output in first["outputs"]] == ["youtube", "venue"]
            assert first["statistics"] == {"bitrate": 5_000_000}
            assert first["outputs"][1]["statistics"] == {"bytes": 7}
            assert first["outputs"][1]["cause"] == "connection refused"

            assert (await it.ask("GET", "/api/inputs/studio-a")).json() == first
            assert (await it.ask("GET", "/api/inputs/studio-a/outputs")).json() == {"outputs": first["outputs"]}
            one = await it.ask("GET", "/api/inputs/studio-a/outputs/venue")
            assert one.json() == first["outputs"][1]
            assert (await it.ask("GET", "/api/plan")).json()["steps"][0]["action"] == "keep"
            assert (await it.ask("GET", "/api/system/mediamtx/status")).json()["mediamtx"] == "1.20.1"
            found = (await it.ask("GET", "/api/system/status")).json()
            assert found["counts"] == {"inputs": 2, "outputs": 2, "states": {"running": 1, "backoff": 1}}
            assert found["diagnostics"] == [DIAGNOSTIC]
            assert found["memory"]["total"] > found["memory"]["available"] > 0
            assert 0 <= found["cpu"]["used"] <= 100
            assert found["disk"]["total"] > 0
            metrics = await it.ask("GET", "/metrics", "observer")
            assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert 'streamd_output_sent_bytes_total{route="studio-a",output="venue"} 7\n' in metrics.text
            assert (await it.ask("GET", "/api/health", None)).json() == {"status": "ok", "daemon": True}

    asyncio.run(check())


def test_what_a_change_would_do_is_told_without_making_it(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            new, output = {"id": "c", "input": {"url": "test:"}}, {"id": "y", "url": "udp://192.0.2.1:2"}
            for method, path, body in (
                ("POST", "/api/inputs", new),
                ("POST", "/api/inputs/studio-a/outputs", output),
                ("PATCH", "/api/inputs/studio-a", {"description": None}),
                ("PATCH", "/api/inputs/studio-a/outputs/venue", {"ttl": 4}),
                ("DELETE", "/api/inputs/studio-a/outputs/venue", None),
                ("DELETE", "/api/inputs/studio-a", None),
            ):
                answer = await it.ask(method, f"{path}?dry-run=true", json=body)
                assert answer.status_code == 200, answer.text
                assert answer.json()["steps"][0]["action"] == "restart"
                assert (await it.ask(method, f"{path}?dry-run=true", "operator", json=body)).status_code == 403
            assert it.daemon.asked == [
                ("plan_change", "add", "c", {"input": {"url": "test:"}}),
                ("plan_change", "add", "studio-a/y", {"url": "udp://192.0.2.1:2"}),
                ("plan_change", "update", "studio-a", {"description": None}),
                ("plan_change", "update", "studio-a/venue", {"ttl": 4}),
                ("plan_change", "remove", "studio-a/venue", {}),
                ("plan_change", "remove", "studio-a", {}),
            ]
            assert (await it.ask("DELETE", "/api/inputs/no?dry-run=true")).status_code == 404
            assert (await it.ask("DELETE", "/api/inputs/studio-a?dry-run=perhaps")).status_code == 422
            misspelt = await it.ask("DELETE", "/api/inputs/studio-a?dryrun=true")
            assert (misspelt.status_code, misspelt.json()["type"]) == (422, "urn:streamd:problem:malformed")
            assert misspelt.json()["detail"] == "there is no parameter 'dryrun' behind the ?; this has dry-run"

    asyncio.run(check())


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            answer = await it.ask("GET", "/api/inputs/studio-a/outputs/venue/log?lines=5", "observer")
            assert answer.json() == {"lines": [{"time": 1, "priority": 3, "text": "refused"}]}
            assert (await it.ask("GET", "/api/inputs/studio-a/log", "observer")).status_code == 200
            assert it.daemon.asked == [("log", "studio-a/venue", 5), ("log", "studio-a", 20)]
            assert (await it.ask("GET", "/api/inputs/studio-a/log?lines=0")).status_code == 422
            assert (await it.ask("GET", "/api/inputs/none/log")).status_code == 404
            assert (await it.ask("GET", "/api/inputs/studio-a/log", None)).status_code == 401

    asyncio.run(check())


def test_many_readers_cost_the_daemon_one_look(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            answers = await asyncio.gather(*(it.ask("GET", "/api/inputs") for _ in range(50)))
            assert {answer.status_code for answer in answers} == {200}
            assert (it.daemon.looks, it.daemon.counts) == (1, 1)

    asyncio.run(check())


def test_start_stop_and_restart(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            answer = await it.ask("POST", "/api/inputs/studio-a/outputs/venue/stop", "operator")
            assert (answer.status_code, answer.json()["state"]) == (200, "stopped"), "it is shown as it is afterwards"
            assert (await it.ask("POST", "/api/inputs/b/restart?wait=false", "operator")).json()["state"] == "running"
            assert (await it.ask("POST", "/api/inputs/b/start", "operator")).status_code == 200
            assert it.daemon.asked == [
                ("act", "stop", "studio-a/venue", True),
                ("act", "restart", "b", False),
                ("act", "start", "b", True),
            ]

    asyncio.run(check())


def test_add_change_and_remove(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def check() -> None:
        async with place(tmp_path) as it:
            await it.ask("GET", "/api/inputs")
            new = {
                "id": "c",
                "description": "C",
                "input": {"url": "test:"},
                "output": {"x": {"url": "udp://192.0.2.1:1"}},
            }
            answer = await it.ask("POST", "/api/inputs", json=new)
            assert (answer.status_code, answer.headers["location"]) == (201, "/api/inputs/c")
            assert answer.json()["id"] == "c"
            answer = await it.ask(
                "POST", "/api/inputs/c/outputs", json={"id": "y", "url": "udp://192.0.2.1:2", "ttl": 4}
            )
            assert (answer.status_code, answer.headers["location"]) == (201, "/api/inputs/c/outputs/y")
            patch = {"description": "new", "input": {"latency": None, "url": "test:"}}
            answer = await it.ask("PATCH", "/api/inputs/c", json=patch)
            assert (answer.status_code, answer.json()["description"]) == (200, "new")
            more = {"content-type": "application/merge-patch+json; charset=utf-8"}
            answer = await it.ask("PATCH", "/api/inputs/c/outputs/y", content=b'{"ttl": null}', headers=more)
            assert answer.status_code == 200
            answer = await it.ask("DELETE", "/api/inputs/c/outputs/y")
            assert (answer.status_code, answer.content) == (204, b"")
            assert (await it.ask("GET", "/api/inputs/c/outputs/y")).status_code == 404
            assert (await it.ask("DELETE", "/api/inputs/c")).status_code == 204
            assert (await it.ask("PUT", "/api/credentials/c.y", json={"secret": "correct-horse"})).status_code == 204
            assert it.daemon.asked == [
                ("add_route", "c", {key: value for key, value in new.items() if key != "id"}),
                ("add_output", "c/y", {"url": "udp://192.0.2.1:2", "ttl": 4}),
                ("update", "c", patch),
                ("update", "c/y", {"ttl": None}),
                ("change", "rm", "c/y"),
                ("change", "rm", "c"),
                ("set_credential", "c.y", 13),
            ]

    asyncio.run(check())
    assert "the-admin (admin, from 192.0.2.1) added c/y" in caplog.text
    assert "the-admin (admin, from 192.0.2.1) set the credential c.y" in caplog.text
    assert "correct-horse" not in caplog.text


ERRORS = [
    (NotRunningError("it does not run"), 503, "not-running"),
    (NoSuchThingError("there is none", "NotFound"), 404, "not-found"),
    (DeniedError("no", "AccessDenied"), 502, "failed"),
    (ClientError("there is one", "AlreadyExists"), 409, "exists"),
    (ClientError("remove it by hand", "WrittenByHand"), 409, "written-by-hand"),
    (ClientError("it is disabled", "Disabled"), 409, "disabled"),
    (ClientError("try again", "Busy"), 503, "busy"),
    (ClientError("no answer", "Timeout"), 504, "timeout"),
    (ClientError("who knows", "Failed"), 502, "failed"),
    (ClientError("who knows", "SomethingNew"), 502, "failed"),
]


def test_what_the_daemon_refuses_is_a_problem(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            for error, status, kind in ERRORS:
                await refused(it, error, status, kind)

    async def refused(it: Place, error: ClientError, status: int, kind: str) -> None:
        it.daemon.error = error
        answer = await it.ask("POST", "/api/inputs/b/start")
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json() == {
            "type": f"urn:streamd:problem:{kind}",
            "title": TITLES[kind],
            "status": status,
            "detail": str(error),
        }
        assert ("retry-after" in answer.headers) is (status == 503)

    asyncio.run(check())


def test_a_refused_configuration_carries_its_diagnostics(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            text = "route b would not be valid\n/etc/streamd/conf.d/b.toml:3:7: is wrong"
            it.daemon.error = ClientError(text, "InvalidConfiguration", [DIAGNOSTIC])
            answer = await it.ask("PATCH", "/api/inputs/b", json={"input": {"url": "x"}})
            assert answer.status_code == 422
            assert answer.json()["detail"] == "route b would not be valid"
            assert answer.json()["diagnostics"] == [DIAGNOSTIC]

    asyncio.run(check())


MALFORMED = [
    (b"", 400, "no JSON"),
    (b"[]", 400, "no JSON object"),
    (b'{"id": "c"', 400, "no JSON"),
    (b'{"id": "\xff"}', 400, "no JSON"),
    (b'{"id": "c", "id": "d"}', 400, "twice"),
    (b'{"id": "c", "x": NaN}', 400, "NaN is no number"),
    (b"[" * 60000, 400, "nested too deep"),
    (b'{"id": "c", "x": ' + b"[" * 20 + b"]" * 20 + b"}", 422, "x: it is nested too deep"),
    (b'{"id": "c", "x": 1.5}', 422, "x: a number with a fraction"),
    (b'{"id": "c", "x": {"y": null}}', 422, "x.y: null is no value here"),
    (b'{"id": "c", "x": 9223372036854775808}', 422, "x: the number is too large"),
    (b'{"id": "c", "x": 1' + b"0" * 5000 + b"}", 400, "no JSON"),
    (b'{"id": "c", "x": "\\ud800"}', 422, "character that no file can hold"),
    (b'{"id": "c", "x": "\\u0000"}', 422, "character that no file can hold"),
    (b'{"id": "c", "\\u0000": 1}', 422, "character that no file can hold"),
    (b'{"\\ud800": null}', 422, "character that no file can hold"),
    (b'{"\\ud800": 1.5}', 422, "character that no file can hold"),
    (b'{"x": {"\\ud800": 1.5}}', 422, "character that no file can hold"),
    (b'{"x": 1}', 422, "id: the name of an input is"),
    (b'{"id": 1}', 422, "id: the name of an input is"),
    (b'{"id": "../c"}', 422, "id: the name of an input is"),
]


def test_malformed_bodies_reach_nobody(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            for body, status, detail in MALFORMED:
                answer = await it.ask("POST", "/api/inputs", content=body, headers={"content-type": "application/json"})
                assert (answer.status_code, detail in answer.json()["detail"]) == (status, True), (body, answer.text)
            assert not it.daemon.asked

    asyncio.run(check())


def test_a_key_that_is_no_text_is_not_taken_away_either(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            for body in (b'{"\\ud800": 1.5}', b'{"\\ud800": null}', b'{"input": {"\\ud800": null}}'):
                answer = await it.ask(
                    "PATCH", "/api/inputs/b", content=body, headers={"content-type": "application/json"}
                )
                assert answer.status_code == 422, (body, answer.text)
            assert not it.daemon.asked

    asyncio.run(check())


def test_other_requests_that_are_wrong(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            wrong: list[tuple[str, str, dict[str, Any], int, str]] = [
                ("POST", "/api/inputs", {"content": b"{}"}, 415, "media-type"),
                ("POST", "/api/inputs", {"data": {"id": "c"}}, 415, "media-type"),
                ("PATCH", "/api/inputs/b", {"json": {}}, 422, "invalid-configuration"),
                ("PATCH", "/api/inputs/b", {"json": {"limits": {"cpu": None}}}, 422, "invalid-configuration"),
                ("POST", "/api/inputs/b/start?wait=x", {}, 422, "malformed"),
                ("POST", "/api/inputs/B!/start", {}, 404, "not-found"),
                ("POST", "/api/inputs/a%2Fb/start", {}, 404, "not-found"),
                ("GET", "/api/inputs/..%2f..%2fetc", {}, 404, "not-found"),
                ("GET", "/api/inputs/nobody", {}, 404, "not-found"),
                ("GET", "/api/inputs/b/outputs/nobody", {}, 404, "not-found"),
                ("GET", "/api/inputs/", {}, 404, "not-found"),
                ("GET", "/api/nothing", {}, 404, "not-found"),
                ("PUT", "/api/inputs", {}, 405, "method"),
                ("PUT", "/api/credentials/A", {"json": {"secret": "x"}}, 404, "not-found"),
                ("PUT", "/api/credentials/a..b", {"json": {"secret": "x"}}, 404, "not-found"),
                ("PUT", "/api/credentials/a", {"json": {"secret": "x\ny"}}, 422, "invalid-configuration"),
                ("PUT", "/api/credentials/a", {"json": {"secret": ""}}, 422, "malformed"),
                ("PUT", "/api/credentials/a", {"json": {"secrets": "x"}}, 422, "malformed"),
            ]
            for method, path, more, status, kind in wrong:
                answer = await it.ask(method, path, **more)
                assert (answer.status_code, answer.json()["type"]) == (status, f"urn:streamd:problem:{kind}"), path
                assert answer.headers["content-type"] == "application/problem+json"
            assert not it.daemon.asked

    asyncio.run(check())


def test_without_the_daemon_the_gateway_says_so(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            assert (await it.ask("GET", "/api/inputs")).status_code == 200
            it.daemon.leave()
            await shown(it, running=False)
            answer = await it.ask("GET", "/api/inputs")
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:streamd:problem:not-running")
            assert (await it.ask("POST", "/api/inputs/b/start")).status_code == 503
            assert (await it.ask("GET", "/api/health", None)).json() == {"status": "degraded", "daemon": False}
            assert (await it.ask("GET", "/metrics")).text.endswith("\nstreamd_up 0\n")
            it.daemon.running = True
            await shown(it, running=True)
            assert (await it.ask("GET", "/api/inputs")).status_code == 200

    asyncio.run(check())


async def shown(it: Place, *, running: bool) -> None:
    """Wait until the gateway knows whether the daemon runs."""
    async with asyncio.timeout(10):
        follower = it.gateway.hub.follow("", lambda: True)
        async for _told in follower:
            if it.gateway.hub.view.running is running:
                break
        await follower.aclose()


def test_a_failure_of_ours_tells_nothing_of_itself(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            it.daemon.error = ZeroDivisionError("secret detail")  # type: ignore[assignment]
            answer = await it.ask("GET", "/api/plan")
            assert answer.status_code == 500
            assert "secret detail" not in answer.text
            assert answer.json()["type"] == "urn:streamd:problem:internal"

    asyncio.run(check())


def test_the_description_is_complete(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            answer = await it.ask("GET", "/api/openapi.json", "observer")
            assert answer.status_code == 200
            document = answer.json()
            json.dumps(document)
            names = set(document["components"]["schemas"])
            text = json.dumps(document)
            for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
                assert reference in names, reference
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    where = f"{method} {path}"
                    assert operation["summary"], where
                    assert operation["operationId"], where
                    assert "HTTPValidationError" not in json.dumps(operation), where
                    good = [status for status in operation["responses"] if status < "300"]
                    # Where a change can be tried without making it, what it would do is another answer.
                    tried = "dry-run" in json.dumps(operation.get("parameters", ()))
                    assert len(good) == 2 if tried and method != "patch" else len(good) == 1, (where, good)
                    for status in good:
                        bodies = operation["responses"][status].get("content", {}).get("application/json")
                        assert bodies is None or bodies["example"], where
                    if method in {"post", "patch", "put"} and path.rpartition("/")[2] not in {
                        "start",
                        "stop",
                        "restart",
                    }:
                        assert operation["requestBody"]["content"]["application/json"]["example"], where
            assert set(document["paths"]) >= {
                "/api/inputs",
                "/api/inputs/{input_id}",
                "/api/inputs/{input_id}/outputs",
                "/api/inputs/{input_id}/outputs/{output_id}",
                "/api/inputs/{input_id}/start",
                "/api/inputs/{input_id}/outputs/{output_id}/restart",
                "/api/health",
                "/api/system/status",
                "/api/system/mediamtx/status",
                "/metrics",
            }
            assert document["paths"]["/api/health"]["get"]["security"] == []

    asyncio.run(check())


def test_the_description_has_all_keys_of_files_and_no_others() -> None:
    assert set(keys.INPUT) == set(INPUT_KEYS)
    assert set(keys.OUTPUT) == set(OUTPUT_KEYS)
    assert set(keys.ROUTE) == set(ROUTE_KEYS) - {"input", "output", "hooks"}


def test_a_whole_number_is_one_however_it_is_written() -> None:
    found = parse_object(b'{"a": 4.0, "b": 2e2, "c": 4.5, "d": 1e400}')
    assert [type(value) for value in found.values()] == [int, int, float, float]
    assert (found["a"], found["b"]) == (4, 200)


def test_a_wrong_method_is_told_which_are_right(tmp_path: Path) -> None:
    async def check() -> None:
        async with place(tmp_path) as it:
            answer = await it.ask("PUT", "/api/inputs/b")
            assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, PATCH")
            assert (await it.ask("GET", "/api/health", None, headers={"x-api-key": "wrong"})).status_code == 200

    asyncio.run(check())
