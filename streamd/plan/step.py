"""A step of a plan: what is to be done with one unit, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from streamd.plan.address import Address
from streamd.plan.status import StepView
from streamd.plan.unit import DesiredUnit


class Action(StrEnum):
    """What to do with one unit."""

    STOP = "stop"
    RESTART = "restart"
    START = "start"
    ADJUST = "adjust"
    """Change what systemd can change while it runs."""
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Step:
    """One unit's part of the plan."""

    action: Action
    address: Address
    reason: str
    unit: DesiredUnit | None = None
    """As it should be; None for a stop, and for a unit that is left alone."""
    is_put_off: bool = False
    """It waits for its turn, which comes as soon as another unit sends."""

    @property
    def view(self) -> StepView:
        """Return what `streamctl diff` shows."""
        return StepView(action=self.action.value, address=str(self.address), unit=self.address.unit, reason=self.reason)
