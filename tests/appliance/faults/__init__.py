"""Faults of the network, of peers, of encoders and of the machine, each made and ended with the real thing.

`FAULTS` is what the tests go through and what the bench times: for each fault, which state and cause a person would
call right, and by when. One output (or input) runs, then has the fault, then runs again by itself. Each has a route
and ports of its own, so that `happen` may be called for many at once.
"""

from __future__ import annotations

from tests.appliance.faults.board import Board
from tests.appliance.faults.fault import Fault, Outcome, happen
from tests.appliance.faults.kinds import FAULTS

__all__ = ["FAULTS", "Board", "Fault", "Outcome", "happen"]
