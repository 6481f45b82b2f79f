"""The gateway asked for whatever its own description allows or forbids."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.appliance.gateway import URL, add_key, revoke_key
from tests.appliance.host import journal, write_route

TESTER = Path("/opt/streamd/schemathesis")
ROUTE = '[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'
CONFIGURATION = """
headers = { X-API-Key = "${STREAMD_TEST_KEY}" }

[checks.positive_data_acceptance]
# The description says what each key may have. What is good of it together with the url, with what is in the credential
# store and with what other routes have is the configuration's to say: 422, with diagnostics.
expected-statuses = ["2xx", "401", "403", "404", "409", "422"]
"""


@pytest.mark.once
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    if not TESTER.exists():
        pytest.skip("schemathesis is not there, so that the description of the interface is NOT TESTED")
    write_route("a", ROUTE)
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)]
    command += ["run", f"{URL}/api/openapi.json", "--max-examples=20", "--no-color"]
    # Whoever tries wrong keys is made to wait, which other tests see to; the followed events never end.
    command += ["--exclude-checks=ignored_auth", "--exclude-path=/api/session", "--exclude-path=/api/events"]
    key = add_key("schemathesis", "admin")
    try:
        environment = {**os.environ, "PYTHONPATH": str(TESTER), "STREAMD_TEST_KEY": key}
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
        )
    finally:
        revoke_key("schemathesis")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in journal("-u", "streamd-web.service", "-u", "streamd.service")
