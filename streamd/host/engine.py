"""Whether the programs are there that outputs may choose."""

from __future__ import annotations

import os

from streamd.plan.srt import SRT_LIVE_TRANSMIT


def srt_live_transmit_problem() -> str:
    """Return why srt-live-transmit cannot be used, and what to do; empty where it can."""
    if os.access(SRT_LIVE_TRANSMIT, os.X_OK):
        return ""
    return "srt-live-transmit is not installed; to install it, as root: apt install srt-tools"
