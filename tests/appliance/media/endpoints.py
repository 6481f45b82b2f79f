"""The sender and the receivers, as tests use them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.appliance.media.child import Child, inside, wait_until
from tests.appliance.media.count import Count


class Sender(Child):
    """An encoder: sends the stream from its beginning, for ever or for some seconds. `with` starts and stops it.

    To let an encoder go and come back, leave one `with` and enter another: its indexes begin at 0 again.
    """

    def __init__(
        self,
        stream: Path,
        host: str,
        port: int,
        *,
        bitrate: float | None = None,
        seconds: float | None = None,
        interface: str | None = None,
        skip_every: int | None = None,
    ) -> None:
        """Set up a sender.

        Args:
            stream: the file from make_stream.
            host: where to; an IPv4 multicast group too.
            port: where to.
            bitrate: in bit/s; the stream's own, 5 Mbit/s, if None.
            seconds: for how long; None until stopped.
            interface: IPv4 address of the interface that multicast leaves by.
            skip_every: of so many datagrams one is lost.
        """
        options = [
            *(() if bitrate is None else ("--bitrate", str(bitrate))),
            *(() if seconds is None else ("--seconds", str(seconds))),
            *(() if interface is None else ("--interface", interface)),
            *(() if skip_every is None else ("--skip-every", str(skip_every))),
        ]
        super().__init__("sender", str(stream), host, str(port), *options)

    def sent(self) -> int:
        """Return how many datagrams were sent up to now; not after its time is over."""
        return int(self.ask("report")["sent"])

    def finish(self, seconds: float) -> int:
        """Wait for the end of a sender that was given a time, and return how many datagrams it sent."""
        return int(self._read(seconds)["sent"])


class _Receiver(Child):
    def _counts(self, command: str = "report") -> dict[str, Count]:
        return {name: Count.from_json(data) for name, data in self.ask(command).items()}


class UdpReceiver(_Receiver):
    """Sockets on many ports, in one process."""

    def __init__(
        self, stream: Path, ports: Sequence[int], *, host: str = "127.0.0.1", interface: str | None = None
    ) -> None:
        """Set up a receiver.

        Args:
            stream: the file from make_stream.
            ports: the ports to bind.
            host: the address to bind, or, with `interface`, the multicast group to join (and then there is one port).
            interface: IPv4 address of the interface on which to join the group.
        """
        if interface is None:
            super().__init__("receiver", str(stream), "udp", host, *map(str, ports))
        else:
            super().__init__("receiver", str(stream), "udp-group", host, str(ports[0]), interface)

    def report(self) -> dict[int, Count]:
        """Return the counts of all ports."""
        return {int(name): count for name, count in self._counts().items()}

    def reset(self) -> dict[int, Count]:
        """Count from zero, and return the counts up to here. A datagram lost over the reset still counts as missing."""
        return {int(name): count for name, count in self._counts("reset").items()}

    def wait_for(
        self, packets: int = 1, *, ports: Sequence[int] | None = None, seconds: float = 20
    ) -> dict[int, Count]:
        """Wait until each of the ports (all, if None) has counted that many good datagrams since reset()."""
        seen: dict[int, Count] = {}

        def enough() -> bool:
            seen.update(self.report())
            return all(count.packets >= packets for port, count in seen.items() if ports is None or port in ports)

        try:
            wait_until(enough, seconds, f"{packets} datagrams each")
        except TimeoutError as error:
            poor = {port: count for port, count in seen.items() if count.packets < packets}
            raise TimeoutError(f"{error}; last seen: {poor}") from None
        return seen


class SrtReceiver(_Receiver):
    """A caller or listener of SRT: srt-live-transmit, or FFmpeg, which keeps a passphrase out of its arguments.

    It connects again when its peer goes.
    """

    def __init__(
        self,
        stream: Path,
        host: str,
        port: int,
        *,
        mode: str = "caller",
        latency: int = 120,
        passphrase: str | None = None,
        streamid: str | None = None,
        hidden: bool = False,
        namespace: str = "",
    ) -> None:
        """Set up a receiver.

        Args:
            stream: the file from make_stream.
            host: the listener's host, or the address to listen on.
            port: the listener's port.
            mode: caller or listener: this side's.
            latency: of this side, in ms.
            passphrase: if the connection is encrypted; without & + and %.
            streamid: what a caller asks for.
            hidden: keep the passphrase out of every argument list, by the use of FFmpeg.
            namespace: of the network that it is in.
        """
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        microseconds = latency * 1000 if hidden else latency
        url = f"srt://{host}:{port}?mode={mode}&latency={microseconds}"
        url += f"&passphrase={passphrase}" if passphrase else ""
        url += f"&streamid={streamid}" if streamid else ""
        if hidden:
            self._directory = tempfile.TemporaryDirectory(prefix="srt-receiver.")
            playlist = Path(self._directory.name, "input.m3u8")
            playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n")
            argv = [
                *("ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-loglevel", "fatal"),
                *("-protocol_whitelist", "hls,file,srt", "-f", "data", "-raw_packet_size", "1316"),
                *("-i", f"hls+file://{playlist}", "-map", "0", "-c", "copy", "-f", "data", "pipe:1"),
            ]
        else:
            argv = ["srt-live-transmit", "-q", "-loglevel:fatal", url, "file://con"]
        super().__init__("receiver", str(stream), "pipe", *inside(namespace), *argv)

    def report(self) -> Count:
        """Return the count."""
        return self._counts()["pipe"]

    def reset(self) -> Count:
        """Count from zero, and return the count up to here."""
        return self._counts("reset")["pipe"]

    def wait_for(self, packets: int = 1, *, seconds: float = 20) -> Count:
        """Wait until it has counted that many good datagrams since reset()."""
        seen = Count()

        def enough() -> bool:
            nonlocal seen
            seen = self.report()
            return seen.packets >= packets

        try:
            wait_until(enough, seconds, f"{packets} datagrams by srt")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; last seen: {seen}") from None
        return seen

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._directory is not None:
            self._directory.cleanup()
