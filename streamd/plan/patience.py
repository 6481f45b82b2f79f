"""How long something that failed is left alone: longer each time, until it succeeds. Pure."""

from __future__ import annotations


class Patience:
    """Times are in seconds of any one clock."""

    def __init__(self, first: float, longest: float) -> None:
        """Take the first pause and the longest one; between them it doubles."""
        self._first = first
        self._longest = longest
        self._pause: float | None = None
        self._until = 0.0

    @property
    def has_failed(self) -> bool:
        """Tell whether it failed the last time."""
        return self._pause is not None

    def waits(self, now: float) -> bool:
        """Tell whether it is not to be tried yet."""
        return self.has_failed and now < self._until

    def fail(self, now: float) -> None:
        """Take note that it failed once more."""
        self._pause = self._first if self._pause is None else min(2 * self._pause, self._longest)
        self._until = now + self._pause

    def succeed(self) -> None:
        """Forget what was."""
        self._pause = None
