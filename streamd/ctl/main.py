"""streamctl: parses the command line, runs the verb, and turns whatever happens into an exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from streamd.ctl.arguments import make_parser, words
from streamd.ctl.exits import (
    BROKEN_PIPE,
    DENIED,
    FAILURE,
    INTERRUPTED,
    NO_DAEMON,
    NO_SUCH_THING,
    NOT_RUNNING,
    OK,
    USAGE,
    Failure,
)
from streamd.ctl.printing import complain, style
from streamd.ctl.remote import run_there
from streamd.ctl.show import diagnostics, render_diagnostic
from streamd.ctl.verbs import RUN

__all__ = [
    "BROKEN_PIPE",
    "DENIED",
    "FAILURE",
    "INTERRUPTED",
    "NOT_RUNNING",
    "NO_DAEMON",
    "NO_SUCH_THING",
    "OK",
    "USAGE",
    "main",
]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    options = make_parser().parse_args(argv)
    try:
        if options.host is not None:
            run_there(options.host, words(options))
        status = RUN[options.verb](options)
        sys.stdout.flush()
    except Failure as failure:
        for found in diagnostics(failure.diagnostics):
            sys.stderr.write(f"{render_diagnostic(found, style(sys.stderr))}\n\n")
        complain(str(failure))
        return failure.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return FAILURE
    except Exception as error:  # noqa: BLE001 (nobody at a terminal is helped by a traceback)
        complain(f"this should not have happened: {type(error).__name__}: {error}")
        return FAILURE
    return status


if __name__ == "__main__":
    sys.exit(main())
