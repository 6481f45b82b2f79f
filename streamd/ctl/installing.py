"""The verb that installs MediaMTX. It needs no daemon; the package's own scripts never do this."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from streamd.ctl.exits import DENIED, FAILURE, OK, USAGE, Failure
from streamd.ctl.printing import print_result


def run_install(options: argparse.Namespace) -> int:
    """Install a release of MediaMTX for this machine."""
    from streamd.host import release  # noqa: PLC0415 (only this verb needs it)
    from streamd.host.mediamtx import SERVICE  # noqa: PLC0415
    from streamd.plan.mediamtx import parse_version, version_text  # noqa: PLC0415

    if os.geteuid() != 0:
        raise Failure(f"only root may install {release.TARGET}", DENIED)
    if options.file is not None and options.version is not None:
        raise Failure("--version is for what is fetched, a file has the version that it has", USAGE)
    version = release.PINNED if options.version is None else parse_version(options.version)
    if version is None:
        raise Failure(f'"{options.version}" is no version, write it as {version_text(release.PINNED)}', USAGE)
    try:
        if options.file is not None:
            archive = Path(options.file)
            done = release.install(archive, release.checked_file(archive, options.sha256 or ""))
        else:
            with tempfile.TemporaryDirectory(prefix="streamctl.") as folder:
                sys.stderr.write(f"fetching MediaMTX {version_text(version)} …\n")
                archive = release.download(version, sha256=options.sha256 or "", folder=Path(folder))
                done = release.install(archive, release.digest_of(archive))
        running = release.restart(changed=done.changed)
    except release.ReleaseError as error:
        raise Failure(str(error), FAILURE) from None
    text = version_text(done.version)
    document = {
        "version": text,
        "path": str(done.path),
        "sha256": done.sha256,
        "changed": done.changed,
        "running": running,
    }
    what = f"MediaMTX {text} {'is installed' if done.changed else 'was installed already'}"
    line = f"{what}, and {SERVICE} {'runs it' if running else 'does not run'}\n"
    print_result(options, document, lambda _style: line)
    return OK
