"""Which claims on an address and a port exclude each other."""

from __future__ import annotations

import pytest

from streamd.route.claims import Claim, overlap


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("0.0.0.0", "0.0.0.0", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("0.0.0.0", "192.0.2.1", True),
        ("0.0.0.0", "::", True),
        ("0.0.0.0", "::1", False),
        ("::", "192.0.2.1", True),
        ("::", "::1", True),
        ("::1", "192.0.2.1", False),
        ("239.1.1.1", "239.1.1.2", False),
        ("239.1.1.1", "239.1.1.1", True),
        ("239.1.1.1", "0.0.0.0", True),
        ("239.1.1.1", "192.0.2.1", False),
        ("ff05::1", "::", True),
        ("ff05::1", "0.0.0.0", False),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    assert overlap(Claim(one, 5000), Claim(other, 5000)) is expected
    assert overlap(Claim(other, 5000), Claim(one, 5000)) is expected
    assert not overlap(Claim(one, 5000), Claim(other, 5001))


def test_claims_read_as_addresses() -> None:
    assert [str(Claim("0.0.0.0", 1)), str(Claim("::1", 2))] == ["0.0.0.0:1", "[::1]:2"]
