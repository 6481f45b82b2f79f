"""What is typed becomes keys of a table, and no secret is taken from the command line."""

from __future__ import annotations

import pytest

from streamd.ctl.changing import keys
from streamd.ctl.exits import Failure


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


def test_a_credential_may_be_named() -> None:
    assert keys(['key={credential="youtube"}']) == {"key": {"credential": "youtube"}}


@pytest.mark.parametrize("word", ["latency", "=4"])
def test_a_word_that_is_none_is_told(word: str) -> None:
    with pytest.raises(Failure, match="KEY=VALUE"):
        keys([word])


@pytest.mark.parametrize("key", ["key", "passphrase"])
def test_a_secret_is_not_taken_from_the_command_line(key: str) -> None:
    with pytest.raises(Failure, match=f"--{key}-file") as caught:
        keys([f"{key}=hunter2hunter2"])
    assert "hunter2" not in str(caught.value)


def test_nor_is_the_password_of_an_encoder() -> None:
    with pytest.raises(Failure, match=r'write password=\{credential="NAME"\}') as caught:
        keys(["password=hunter2hunter2"])
    assert "hunter2" not in str(caught.value)
    assert keys(['password={credential="pub"}']) == {"password": {"credential": "pub"}}
