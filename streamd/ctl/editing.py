"""`edit`: a person's editor on a copy of the file, and a check before it takes effect, as visudo does it."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streamd.ctl import show
from streamd.ctl.asking import client
from streamd.ctl.exits import DENIED, FAILURE, NO_SUCH_THING, OK, Failure
from streamd.ctl.printing import complain, print_result, style
from streamd.ctl.style import Style, count, plain
from streamd.route.diagnostic import Diagnostic

if TYPE_CHECKING:
    from streamd.host.draft import Desk, Draft

_VARIABLES: Final = ("SUDO_EDITOR", "VISUAL", "EDITOR")
_DEFAULTS: Final = ("editor", "nano", "vi")
"""The first is what Debian's alternatives lead to."""


class Choice(StrEnum):
    """What to do with what is not valid."""

    AGAIN = "e"
    EXIT = "x"
    SAVE = "Q"


def editor_argv(environment: Mapping[str, str], which: Callable[[str], str | None]) -> list[str]:
    """Return the editor that somebody wants, with its arguments; no shell reads them. Pure but for `which`.

    Raises:
        Failure: there is none, or quotes do not end.
    """
    for name in _VARIABLES:
        if environment.get(name, "").strip():
            try:
                return shlex.split(environment[name])
            except ValueError as error:
                raise Failure(f"the variable {name} cannot be read: {error}", FAILURE) from error
    found = next((path for path in map(which, _DEFAULTS) if path), None)
    if found is None:
        raise Failure("there is no editor; name one in the variable EDITOR, or install nano", FAILURE)
    return [found]


def run_edit(options: argparse.Namespace, root: str = "/") -> int:
    """Edit a route's file, a drop-in of it, or streamd.toml, all below `root`. Raises: Failure."""
    from streamd.host.draft import Desk, DraftError, ForbiddenError, UnknownRouteError  # noqa: PLC0415 (only this verb writes files)

    desk = Desk(root)
    try:
        if options.route is None:
            draft = desk.open_settings()
        else:
            draft = desk.open_dropin(options.route) if options.drop_in else desk.open_route(options.route)
        desk.require_writable(draft)
    except DraftError as error:
        statuses = {UnknownRouteError: NO_SUCH_THING, ForbiddenError: DENIED}
        raise Failure(str(error), statuses.get(type(error), FAILURE)) from error
    return _Session(desk, draft, options).run()


class _Session:
    """One person who edits one draft."""

    def __init__(self, desk: Desk, draft: Draft, options: argparse.Namespace) -> None:
        self._desk = desk
        self._draft = draft
        self._options = options
        self._argv = editor_argv(os.environ, shutil.which)
        # A folder of its own that only this person may look into: editors put copies beside what they edit.
        self._folder = Path(tempfile.mkdtemp(prefix="streamctl-edit-"))
        self._copy = self._folder / draft.path.name
        self._text = draft.start
        self._is_written = False

    def run(self) -> int:
        """Edit, check, save. Raises: Failure."""
        try:
            descriptor = os.open(self._copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._draft.start)
            status = self._edit_and_save()
        except Failure as error:
            raise Failure(f"{error}{self._kept()}", error.status) from error
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise Failure(f"{what}{self._kept()}", FAILURE) from error
        except KeyboardInterrupt:
            if kept := self._kept():
                sys.stderr.write(f"\nstreamctl: interrupted{kept}\n")
            raise
        shutil.rmtree(self._folder, ignore_errors=True)
        return status

    def _kept(self) -> str:
        """Return where to find what was typed; take the copy away where nothing was."""
        try:
            text = self._copy.read_bytes()
        except OSError:
            text = self._draft.start
        if text == self._draft.start:
            shutil.rmtree(self._folder, ignore_errors=True)
            return ""
        return f"; nothing was saved, what you wrote is in {self._copy}"

    def _edit_and_save(self) -> int:
        while True:
            self._edit()
            if self._text in {self._draft.original, self._draft.start} or self._desk.says_nothing(
                self._draft, self._text
            ):
                return self._finish(f"{self._draft.path}: nothing was changed", saved=False)
            found = self._desk.judge(self._draft, self._text)
            if not found:
                return asyncio.run(self._save(()))
            match self._ask(found):
                case Choice.AGAIN:
                    continue
                case Choice.EXIT:
                    return self._finish(f"{self._draft.path}: nothing was saved", saved=False, found=found)
                case Choice.SAVE:
                    return asyncio.run(self._save(found))

    def _edit(self) -> None:
        # What is printed for programs stays apart from what the editor draws.
        output = None if sys.stdout.isatty() else sys.stderr
        with _undisturbed():
            try:
                done = subprocess.run([*self._argv, str(self._copy)], stdout=output, check=False)
            except OSError as error:
                raise Failure(f"cannot run the editor {plain(self._argv[0])}: {error.strerror}", FAILURE) from error
        if done.returncode:
            how = f"status {done.returncode}" if done.returncode > 0 else signal.strsignal(-done.returncode)
            raise Failure(f"the editor {plain(self._argv[0])} failed: {how}", FAILURE)
        self._text = self._copy.read_bytes()

    def _ask(self, found: Sequence[Diagnostic]) -> Choice:
        """Show what is wrong and ask what to do about it. Raises: Failure where nobody can be asked."""
        shown = style(sys.stderr)
        for diagnostic in found:
            sys.stderr.write(f"{show.render_diagnostic(diagnostic, shown)}\n\n")
        total = count(len(found), "error")
        if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
            raise Failure(f"{self._draft.path} would have {total}", FAILURE)
        sys.stderr.write(f"{total}.\n")
        while True:
            sys.stderr.write("What now? (e)dit again, e(x)it without saving, (Q) save anyway [DANGER]: ")
            sys.stderr.flush()
            answer = sys.stdin.readline()
            if not answer:  # the end of the input
                sys.stderr.write("\n")
                return Choice.EXIT
            if answer.strip() in tuple(Choice):
                return Choice(answer.strip())
            sys.stderr.write("Options are: e, x and a capital Q.\n")

    async def _save(self, found: Sequence[Diagnostic]) -> int:
        """Write the file and tell what follows. Raises: Failure."""
        from streamd.bus.client import ClientError, NotRunningError  # noqa: PLC0415 (see asking)

        steps: Sequence[Mapping[str, Any]] = ()
        told = f"{self._draft.path}: saved"
        try:
            # Asked before, since streamd watches its files and may have carried it out at once.
            async with client() as daemon:
                steps = await daemon.plan_file(str(self._draft.path), _sendable(self._text))
            self._write()
        except NotRunningError:
            self._write()
            told += "; it takes effect when streamd runs, start it with: systemctl start streamd"
        except ClientError as error:
            self._write()
            told += f"; what follows is not known: {error}"
        return self._finish(told, saved=True, found=found, steps=steps)

    def _write(self) -> None:
        """Write the file, if that is not done. Raises: Failure."""
        from streamd.host.draft import ChangedError  # noqa: PLC0415 (only this verb writes files)

        if self._is_written:
            return
        try:
            self._desk.save(self._draft, self._text)
        except ChangedError as error:
            raise Failure(str(error), FAILURE) from error
        self._is_written = True
        for sentence in self._desk.overruled(self._draft, self._text):
            complain(sentence)

    def _finish(
        self, told: str, *, saved: bool, found: Sequence[Diagnostic] = (), steps: Sequence[Mapping[str, Any]] = ()
    ) -> int:
        from streamd.bus.document import diagnostics_document  # noqa: PLC0415 (see asking)

        def render(shown: Style) -> str:
            changing = any(step["action"] != "keep" for step in steps)
            return f"{plain(told)}\n" + (f"{show.render_steps(steps, shown)}" if changing else "")

        document = {
            "path": str(self._draft.path),
            "saved": saved,
            "diagnostics": diagnostics_document(found),
            "steps": list(steps),
        }
        print_result(self._options, document, render)
        return FAILURE if found else OK


def _sendable(text: bytes) -> str:
    """Return text that the bus carries, with what is no text in a form that TOML does not allow either."""
    return text.decode(errors="replace").translate({0: "\x01", 0xFFFD: "\x01"})


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave what the keyboard sends to the editor, which gets it too."""

    def ignore(_number: int, _frame: object) -> None:
        # A handler and not SIG_IGN, which the editor would inherit.
        pass

    numbers = (signal.SIGINT, signal.SIGQUIT)
    before = [signal.signal(number, ignore) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
