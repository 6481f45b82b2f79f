"""What an output costs, by each protocol, beside what somebody would run instead of streamd.

Run by `tests/run bench SUITE data`. Ten outputs of one stream of 5 Mbit/s, each to a receiver of its own that is not
counted. "Leanest FFmpeg" is the shortest command that does the job, in a plain unit without sandbox and progress;
"one FFmpeg" sends to all ten by its tee muxer; srt-live-transmit and socat are one process for each, nginx pushes
what one FFmpeg publishes to it. All read streamd's multicast group. CPU is that of whole control groups. Three rounds
of each, in turn; printed, never asserted. Protocols may be named as arguments of the script.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.appliance.host import CONF, run, show, status, unit_of, wait_state, wait_until, write_route
from tests.appliance.media import DATAGRAM, RtmpServer, Sender, make_stream
from tests.bench.cost import Cost, cost, executed, spread, transient
from tests.bench.sink import Sink

OUTPUTS = 10
ROUNDS = 3
SECONDS = 20.0
FIRST_PORT, FIRST_SRT, NGINX = 19000, 19500, 19935
NUMBERS = range(OUTPUTS)
PORTS = [FIRST_PORT + number for number in NUMBERS]
HEAD = '[input]\nurl = "udp://127.0.0.1:5000"\n'
LEANEST, BARE = "leanest FFmpeg", "bare srt-live-transmit"
FFMPEG = ("/usr/bin/ffmpeg", "-nostdin", "-nostats", "-loglevel", "error")
NGINX_CONF = """\
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 512; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        application live {{
            live on;
{pushes}
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Found:
    """Of one way, in one round."""

    cost: Cost
    start: float
    """Seconds from the exec to the first datagram, or until it publishes; median of the units."""
    lost: int
    mbits: float


class Bench:
    """The receivers, and where everything is."""

    def __init__(self, sink: Sink, server: RtmpServer) -> None:
        """Take what receives by UDP, and by RTMP."""
        self._sink = sink
        self._server = server
        group, _colon, port = status("bench")["group"].rpartition(":")
        self.joined = f"udp://{group}:{port}?localaddr=127.0.0.1&buffer_size=4194304&fifo_size=0"
        self.adapter = f"udp://{group}:{port}?adapter=127.0.0.1"
        self.socat = f"UDP4-RECV:{port},bind={group},reuseaddr,ip-add-membership={group}:127.0.0.1"

    def target(self, kind: str, number: int) -> str:
        """Return where an output sends to."""
        if kind == "udp":
            return f"udp://127.0.0.1:{FIRST_PORT + number}?pkt_size={DATAGRAM}"
        if kind == "srt":
            return f"srt://127.0.0.1:{FIRST_SRT + number}?mode=caller&pkt_size={DATAGRAM}"
        return f"{self._server.url}/o{number}"

    def read(self, kind: str) -> tuple[str, ...]:
        """Return FFmpeg's options up to the output's."""
        if kind == "rtmp":
            return (*FFMPEG, "-i", self.joined, "-map", "0:v:0", "-map", "0:a:0", "-c", "copy")
        raw = ("-f", "data", "-raw_packet_size", str(DATAGRAM), "-i", self.joined)
        return (*FFMPEG, *raw, "-map", "0", "-c", "copy")

    @contextmanager
    def streamd(self, kind: str) -> Iterator[list[str]]:
        """Have them by streamd."""
        urls = {
            "udp": lambda number: f"udp://127.0.0.1:{FIRST_PORT + number}",
            "srt": lambda number: f"srt://127.0.0.1:{FIRST_SRT + number}",
            "rtmp": lambda number: self.target("rtmp", number),
        }
        write_route("bench", HEAD + "".join(f'[output.o{n}]\nurl = "{urls[kind](n)}"\n' for n in NUMBERS))
        names = [f"bench/o{number}" for number in NUMBERS]
        for name in names:
            wait_state(name, "running", 60)
        yield [unit_of(name) for name in names]
        write_route("bench", HEAD)
        wait_until(lambda: not any(status(name) for name in names), 60, "the outputs are gone")

    @contextmanager
    def each(self, argv: Callable[[int], Sequence[str]]) -> Iterator[list[str]]:
        """Have a plain unit for each."""
        with ExitStack() as stack:
            yield [stack.enter_context(transient(f"peer-{number}", *argv(number))) for number in NUMBERS]

    def lean(self, kind: str) -> AbstractContextManager[list[str]]:
        """Have an FFmpeg for each."""
        muxer = "flv" if kind == "rtmp" else "data"
        return self.each(lambda number: (*self.read(kind), "-f", muxer, self.target(kind, number)))

    @contextmanager
    def tee(self, kind: str) -> Iterator[list[str]]:
        """Have one FFmpeg for all."""
        # Behind a tee FFmpeg sees neither to FLV's own tags nor to the form in which it wants AAC.
        muxer = "flv:bsfs/a=aac_adtstoasc" if kind == "rtmp" else "data"
        tags = ("-tag:v", "7", "-tag:a", "10") if kind == "rtmp" else ()
        ends = "|".join(f"[f={muxer}]{self.target(kind, number)}" for number in NUMBERS)
        with transient("tee", *self.read(kind), *tags, "-f", "tee", ends) as unit:
            yield [unit]

    def bare(self, kind: str) -> AbstractContextManager[list[str]]:
        """Have srt-live-transmit for each."""
        tool = ("/usr/bin/srt-live-transmit", "-q", self.adapter)
        return self.each(lambda number: (*tool, self.target(kind, number).partition("&")[0].removesuffix("?")))

    def by_socat(self) -> AbstractContextManager[list[str]]:
        """Have socat for each."""
        size = ("-b", "2048")
        return self.each(
            lambda number: ("/usr/bin/socat", "-u", *size, self.socat, f"UDP4-SENDTO:127.0.0.1:{FIRST_PORT + number}")
        )

    @contextmanager
    def nginx(self) -> Iterator[list[str]]:
        """Have nginx push what one FFmpeg publishes to it; both count."""
        pushes = "\n".join(f"            push {self.target('rtmp', number)};" for number in NUMBERS)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            path = Path(folder) / "nginx.conf"
            path.write_text(NGINX_CONF.format(folder=folder, port=NGINX, pushes=pushes))
            argv = ("/usr/sbin/nginx", "-e", f"{folder}/error.log", "-p", folder, "-c", str(path))
            published = (*self.read("rtmp"), "-f", "flv", f"rtmp://127.0.0.1:{NGINX}/live/bench")
            with transient("nginx", *argv) as server, transient("publisher", *published) as publisher:
                yield [server, publisher]

    def begun(self, kind: str) -> list[float]:
        """Return when each receiver got its first, of time.monotonic(), once all have."""
        if kind == "rtmp":

            def published() -> list[float]:
                found = self._server.streams()
                alive = [found[f"o{n}"] for n in NUMBERS if f"o{n}" in found and found[f"o{n}"].bytes_in > 100_000]
                return [monotonic() - stream.age for stream in alive] if len(alive) == OUTPUTS else []

            return wait_until(published, 60, "all are published")
        wait_until(lambda: all(self._sink.first_at(port) for port in PORTS), 60, "all have got something")
        return [self._sink.first_at(port) for port in PORTS]

    def measure(self, kind: str, way: Callable[[], AbstractContextManager[list[str]]]) -> Found:
        """Return what a way costs."""
        self._sink.forget()
        with way() as units:
            firsts, executions = self.begun(kind), [executed(unit) for unit in units]
            if len(units) < OUTPUTS:
                executions = [max(executions)] * OUTPUTS
            start = statistics.median(first - began for first, began in zip(firsts, executions, strict=True))
            before = self._server.streams()
            self._sink.take()
            began = monotonic()
            found = cost(units, OUTPUTS, SECONDS)
            seconds = monotonic() - began
            arrivals, now = self._sink.take(), self._server.streams()
            restarts = sum(int(show(unit, "NRestarts")["NRestarts"]) for unit in units)
        if restarts:
            print(f"! {restarts} restarts", flush=True)
        if kind == "rtmp":
            bits = 8 * sum(now[f"o{n}"].bytes_in - before[f"o{n}"].bytes_in for n in NUMBERS)
            wait_until(lambda: not any(one.publisher for one in self._server.streams().values()), 60, "all are gone")
        else:
            bits = 8 * DATAGRAM * sum(each.datagrams for each in arrivals.values())
        return Found(found, start, sum(each.lost for each in arrivals.values()), bits / seconds / OUTPUTS / 1e6)


def ways(bench: Bench) -> dict[str, dict[str, Callable[[], AbstractContextManager[list[str]]]]]:
    """Return all that is compared, by protocol."""
    return {
        "UDP": {
            "streamd, FFmpeg": lambda: bench.streamd("udp"),
            LEANEST: lambda: bench.lean("udp"),
            "one FFmpeg": lambda: bench.tee("udp"),
            BARE: lambda: bench.bare("udp"),
            "socat": bench.by_socat,
        },
        "SRT": {
            "streamd, FFmpeg": lambda: bench.streamd("srt"),
            LEANEST: lambda: bench.lean("srt"),
            "one FFmpeg": lambda: bench.tee("srt"),
            BARE: lambda: bench.bare("srt"),
        },
        "RTMP": {
            "streamd": lambda: bench.streamd("rtmp"),
            LEANEST: lambda: bench.lean("rtmp"),
            "one FFmpeg": lambda: bench.tee("rtmp"),
            "nginx's push": bench.nginx,
        },
    }


def tell(protocol: str, found: dict[str, list[Found]]) -> None:
    def middle(way: str) -> float:
        return statistics.median(each.cost.cpu for each in found[way])

    for way, rounds in found.items():
        ratios = [f"{middle(way) / middle(peer):.2f}" if peer in found else "" for peer in (LEANEST, BARE)]
        cells = (
            spread([100 * each.cost.cpu for each in rounds]),
            f"{statistics.median(100 * each.cost.cpu / each.mbits for each in rounds):.2f}",
            *ratios,
            f"{statistics.median(each.cost.pss for each in rounds):.1f}",
            f"{statistics.median(each.cost.threads for each in rounds):.1f}",
            f"{statistics.median(each.start for each in rounds):.2f}",
            f"{statistics.median(each.mbits for each in rounds):.1f}",
            "" if protocol == "RTMP" else str(sum(each.lost for each in rounds)),
        )
        print(f"| {protocol} | {way} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    stream = make_stream(Path("/var/tmp/stream.ts"))
    for path in CONF.iterdir():
        path.unlink()
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(PORTS))
        server = stack.enter_context(RtmpServer())
        stack.enter_context(Sender(stream, "127.0.0.1", 5000))
        for number in NUMBERS:
            listener = f"srt://127.0.0.1:{FIRST_SRT + number}?mode=listener"
            argv = ("/usr/bin/srt-live-transmit", "-q", listener, f"udp://127.0.0.1:{FIRST_PORT + number}")
            stack.enter_context(transient(f"receiver-{number}", *argv))
        write_route("bench", HEAD)
        wait_state("bench", "running", 30)
        bench = Bench(sink, server)
        print(
            f"of one output of {OUTPUTS}, median of {ROUNDS} rounds of {SECONDS:.0f} s (least, most):\n"
            f"| protocol | way | CPU, % of a core | for each Mbit/s | against the {LEANEST} | against {BARE} |"
            f" PSS, MiB | threads | start, s | Mbit/s | lost |\n{'| --- ' * 11}|"
        )
        for protocol, choices in ways(bench).items():
            if sys.argv[1:] and protocol.lower() not in sys.argv[1:]:
                continue
            found: dict[str, list[Found]] = {way: [] for way in choices}
            for _ in range(ROUNDS):
                for way, begin in choices.items():
                    found[way].append(bench.measure(protocol.lower(), begin))
            tell(protocol, found)
    write_route("bench", HEAD).unlink()
    run("streamctl", "reload")


if __name__ == "__main__":
    main()
