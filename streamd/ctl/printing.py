"""Where text goes: standard output as a person or a program reads it, and complaints."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from streamd.ctl.style import Style, plain

_LEAST_WIDTH: Final = 40


def print_result(options: argparse.Namespace, document: object, render: Callable[[Style], str]) -> None:
    """Print a document as JSON, or the text that is rendered from it."""
    if options.json:
        json.dump(document, sys.stdout, indent=2, ensure_ascii=not has_unicode())
        sys.stdout.write("\n")
    else:
        sys.stdout.write(render(style()))


def print_line(document: object) -> None:
    """Print a document as JSON in one line, at once."""
    sys.stdout.write(json.dumps(document, ensure_ascii=not has_unicode()) + "\n")
    sys.stdout.flush()


def style(stream: TextIO | None = None) -> Style:
    """Return what standard output, or another stream, can show."""
    stream = stream or sys.stdout
    terminal = stream.isatty()
    dumb = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    width = max(_LEAST_WIDTH, shutil.get_terminal_size().columns) if terminal else None
    return Style(colour=terminal and not dumb, unicode=has_unicode(stream), width=width)


def has_unicode(stream: TextIO | None = None) -> bool:
    """Return whether standard output, or another stream, takes any character."""
    return ((stream or sys.stdout).encoding or "").lower().replace("-", "") == "utf8"


def now() -> int:
    """Return the time in µs since 1970."""
    return time.time_ns() // 1000


def complain(text: str) -> None:
    """Print a sentence to standard error."""
    sys.stderr.write(f"streamctl: {plain(text)}\n")
