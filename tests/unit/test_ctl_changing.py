"""What is typed becomes keys of a table, and no secret is taken from the command line."""

from __future__ import annotations

import getpass

import pytest

from streamd.ctl import show
from streamd.ctl.arguments import make_parser
from streamd.ctl.changing import keys, of_route, secrets_of
from streamd.ctl.exits import FAILURE, Failure
from streamd.ctl.style import Style


def test_values_are_read_as_toml_where_they_are_no_strings() -> None:
    words = ["latency=200ms", "ttl=4", "enabled=false", 'limits={memory="150M"}', "url=udp://h:1?x=2", "mode="]
    assert keys(words) == {
        "latency": "200ms",
        "ttl": 4,
        "enabled": False,
        "limits": {"memory": "150M"},
        "url": "udp://h:1?x=2",
        "mode": None,
    }


def test_a_string_may_stand_in_quotes() -> None:
    assert keys(['streamid="1001"', "description='a \"b\"'", 'url="', 'a=x"y"']) == {
        "streamid": "1001",
        "description": 'a "b"',
        "url": '"',
        "a": 'x"y"',
    }


@pytest.mark.parametrize("text", ["4\nttl = 5", "true\r\n", '"a"\n', "\n4"])
def test_a_text_with_a_line_end_is_no_toml(text: str) -> None:
    assert keys([f"description={text}"]) == {"description": text}


def test_a_credential_may_be_named() -> None:
    assert keys(['key={credential="youtube"}']) == {"key": {"credential": "youtube"}}


@pytest.mark.parametrize("word", ["latency", "=4"])
def test_a_word_that_is_none_is_told(word: str) -> None:
    with pytest.raises(Failure, match="KEY=VALUE"):
        keys([word])


def test_keys_of_a_route() -> None:
    words = ["description=A", "enabled=false", "input.url=test:", "input.latency="]
    assert of_route(keys(words)) == {"description": "A", "enabled": False, "input": {"url": "test:", "latency": None}}
    with pytest.raises(Failure, match="ROUTE/OUTPUT"):
        of_route(keys(["output.x.ttl=4"]))


@pytest.mark.parametrize(
    ("verb", "more", "lines"),
    [
        ("add", {}, ["a/x: running, udp://h:1"]),
        ("set", {}, ["a/x: running"]),
        ("set", {"state": "disabled"}, ["a/x: disabled"]),
        (
            "add",
            {"state": "backoff", "cause": "refused", "advice": "Look there."},
            ["a/x: backoff: refused, udp://h:1", "Look there.", "See how it goes on with: streamctl status a/x"],
        ),
        (
            "add",
            {"address": "a", "outputs": [], "url": "udp://0.0.0.0:5003", "state": "running"},
            ["a: running, udp://0.0.0.0:5003", "Give it outputs with: streamctl add a/NAME URL"],
        ),
    ],
)
def test_what_came_of_a_change(verb: str, more: dict[str, object], lines: list[str]) -> None:
    thing = {"address": "a/x", "state": "running", "cause": "", "url": "udp://h:1", "advice": ""}
    assert show.render_outcome(verb, {**thing, **more}, Style()) == lines


@pytest.mark.parametrize("key", ["key", "passphrase", "input.passphrase"])
def test_a_secret_is_not_taken_from_the_command_line(key: str) -> None:
    with pytest.raises(Failure, match=f"--{key.removeprefix('input.')}-file") as caught:
        keys([f"{key}=hunter2hunter2"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("word", ["password=hunter2hunter2", 'password="hunter2hunter2"'])
def test_nor_is_the_password_of_an_encoder(word: str) -> None:
    with pytest.raises(Failure, match=r'write password=\{credential="NAME"\}') as caught:
        keys([word])
    assert "hunter2" not in str(caught.value)
    assert keys(['password={credential="pub"}']) == {"password": {"credential": "pub"}}


def test_nothing_is_asked_for_where_it_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine reached by ssh without a terminal."""

    def no_terminal(prompt: str) -> str:
        return getpass.fallback_getpass(prompt)  # type: ignore[attr-defined, no-any-return]

    monkeypatch.setattr(getpass, "getpass", no_terminal)
    options = make_parser().parse_args(["set", "a/x", "--ask-key"])
    with pytest.raises(Failure, match="there is no terminal to ask on, use --key-file"):
        secrets_of(options)


def test_a_secret_that_nobody_types_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_of_file(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr(getpass, "getpass", end_of_file)
    options = make_parser().parse_args(["set", "a/x", "--ask-passphrase"])
    with pytest.raises(Failure, match="no passphrase was typed, nothing is changed") as caught:
        secrets_of(options)
    assert caught.value.status == FAILURE
