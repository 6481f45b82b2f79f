"""The command line of an output whose engine is srt-live-transmit, of Debian's srt-tools.

It writes its statistics to a file or to its standard output, after so many packets each time. A file would grow for
ever; a pipe that nobody reads would stop the media. So a helper makes the standard output a UDP socket that leads to
the progress channel, and then becomes srt-live-transmit: no process is left of it, and nothing of the unit depends on
the daemon. The helper also adds the secrets to the address, which srt-live-transmit takes in no other way; so they
stand in the arguments of the process, though not in those of the unit.

Outputs by UDP have FFmpeg alone. srt-live-transmit counts nothing of what it sends by UDP and goes on where sending
fails (`UdpTarget::Write` of its transmitmedia.cpp, 1.5.1 to 1.5.4), so that nobody could tell that such an output is
dead; and to a multicast group it sends as a member, which has the network bring the host's own stream back to it.
"""

from __future__ import annotations

from typing import Final

from streamd.plan.ffmpeg import CONNECT_TIMEOUT, DATAGRAM, SOCKET_BUFFER, Command, Endpoint, make_url
from streamd.plan.preset import Form, PresetLine
from streamd.route.model import Credential, Engine, SrtMode, SrtTarget

HELPER: Final = "/usr/libexec/streamd/srt-engine"
SRT_LIVE_TRANSMIT: Final = "/usr/bin/srt-live-transmit"
PACKETS_A_REPORT: Final = 100
"""At 5 Mbit/s some five reports a second; each costs it as much as two packets."""


def srt_command(target: SrtTarget, *, relay: Endpoint, progress: Endpoint) -> Command:
    """Return the command that brings a route's stream from the direct relay to an SRT target.

    Args:
        target: where the stream goes.
        relay: the route's group.
        progress: where to report progress to.
    """
    options = (
        # Its words repeat the addresses, with the passphrase; what libsrt itself says to warn comes all the same.
        "-q",
        # It ends with its connection, as FFmpeg does, so that systemd counts, waits and starts it anew.
        "-a:no",
        f"-c:{DATAGRAM}",
        # Without -f each report would count from the one before, and one that is lost would be missing in all sums.
        *("-pf:json", f"-s:{PACKETS_A_REPORT}", "-f"),
    )
    source = make_url("udp", relay.host, relay.port, adapter="127.0.0.1", rcvbuf=SOCKET_BUFFER)
    parameters: dict[str, int | str | None] = {
        "mode": target.mode.value,
        "latency": target.latency,
        "conntimeo": CONNECT_TIMEOUT if target.mode is SrtMode.CALLER else None,
        "streamid": target.streamid if isinstance(target.streamid, str) else None,
    }
    secrets = [("passphrase", target.passphrase), ("streamid", target.streamid)]
    return Command(
        (
            *(HELPER, f"{progress.host}:{progress.port}", SRT_LIVE_TRANSMIT, *options),
            *(source, make_url("srt", target.host, target.port, **parameters)),
        ),
        tuple(PresetLine(key, value, Form.ARGUMENT) for key, value in secrets if isinstance(value, Credential)),
        Engine.SRT_LIVE_TRANSMIT,
    )
