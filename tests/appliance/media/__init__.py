"""A real stream, its sender, and receivers that know what they should get.

    path = make_stream(Path("/var/tmp/stream.ts"))          # once, 64 s of H.264 and AAC with a private PID and SCTE-35
    with UdpReceiver([6001, 6002]) as udp, Sender(path, "127.0.0.1", 5000):
        udp.wait_for(packets=1000)
        udp.reset()                                         # count from here
        ...
        for port, count in udp.report().items():
            assert count.intact, count                      # nothing missing, nothing altered, since reset()

Everything here is a context manager, leaves no process behind, and waits with a deadline (`TimeoutError` tells what was
last seen). It needs nothing but Python's library, ffmpeg, srt-live-transmit and, for `RtmpServer`, nginx with its RTMP
module. `datagram(i)` of `Stream` is a pure function of the datagram's index but for a time stamp, so a receiver knows
each byte it should get; the time stamp gives it the age of what it gets.
"""

from tests.appliance.media.count import Count
from tests.appliance.media.endpoints import Sender, SrtReceiver, UdpReceiver
from tests.appliance.media.servers import FrozenServer, RtmpServer, RtmpStream, RtspServer, RtspSession
from tests.appliance.media.stream import DATAGRAM, Stream
from tests.appliance.media.tsmux import make_stream

__all__ = [
    "DATAGRAM",
    "Count",
    "FrozenServer",
    "RtmpServer",
    "RtmpStream",
    "RtspServer",
    "RtspSession",
    "Sender",
    "SrtReceiver",
    "Stream",
    "UdpReceiver",
    "make_stream",
]
