"""journalctl -x explains what streamd tells."""

from __future__ import annotations

from tests.appliance.host import run, wait_state, wait_until, write_route


def explained(*matches: str) -> str:
    """Return messages of the daemon with their explanations, without the marks before the lines of these."""
    out = run("journalctl", "--no-pager", "-x", "-u", "streamd.service", *matches).stdout
    return "\n".join(line.lstrip("░- ").rstrip() for line in out.splitlines())


def test_a_failure_is_explained_with_what_to_do() -> None:
    # Nobody listens there.
    write_route("explained", '[input]\nurl = "test:"\n[output.x]\nurl = "rtmp://127.0.0.1:1/live"\n')
    found = wait_state("explained/x", "backoff")
    text = wait_until(
        lambda: found["cause"] in (text := explained("STREAMD_ADDRESS=explained/x")) and text, 10, "the line is there"
    )
    assert "Subject: explained/x failed and is tried again" in text
    assert f"Why: {found['cause']}\nAdvice: {found['advice']}\n" in text
    assert "streamctl logs explained/x" in text
    assert "@STREAMD" not in text


def test_a_broken_file_is_explained() -> None:
    path = write_route("explained", "nonsense")
    text = wait_until(
        lambda: "Subject" in (text := explained(f"STREAMD_PATH={path}")) and text, 10, "the error and its explanation"
    )
    assert f"Subject: {path} has an error" in text
    assert f"streamctl check {path}" in text


def test_what_the_package_brings_is_known_to_the_journal_without_further_ado() -> None:
    listed = run("journalctl", "--list-catalog").stdout
    assert "streamd: @STREAMD_ADDRESS@ has failed" in listed
