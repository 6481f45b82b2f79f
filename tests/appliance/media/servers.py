"""Servers that take what RTMP and RTSP outputs push."""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar
from xml.etree import ElementTree as ET

from tests.appliance.media.child import end, inside, wait_until

SelfType = TypeVar("SelfType", bound="_Context")

_NGINX = """\
load_module {modules}/ngx_rtmp_module.so;
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 512; }}
rtmp {{
    access_log {folder}/rtmp.log;
    server {{
        listen {host}:{port};
        ping 5s;
        ping_timeout 5s;
        application {application} {{
            live on;
            {publish}
            drop_idle_publisher 10s;
        }}
    }}
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{http_port};
        location /stat {{ rtmp_stat all; }}
        location /control {{ rtmp_control all; }}
    }}
}}
"""


class _Context(ABC):
    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    def __enter__(self: SelfType) -> SelfType:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class RtmpStream:
    """What nginx tells of one stream that is published."""

    name: str
    bytes_in: int
    bitrate: int
    """bit/s, of the last ten seconds."""
    width: int
    height: int
    video: str
    """Such as H264; empty without one."""
    audio: str
    """Such as AAC."""
    publisher: str
    """Address of the publisher, or empty when it is gone."""
    age: float
    """Seconds since the stream was created."""


class RtmpServer(_Context):
    """nginx with its RTMP module (Debian: nginx, libnginx-mod-rtmp); publish to and play from `url` + "/" + a key."""

    def __init__(
        self,
        port: int = 1935,
        *,
        http_port: int = 8935,
        host: str = "127.0.0.1",
        application: str = "live",
        deny: bool = False,
        namespace: str = "",
    ) -> None:
        """Set up a server.

        Args:
            port: of RTMP.
            http_port: of its statistics.
            host: the address to listen on.
            application: its name.
            deny: let nobody publish.
            namespace: of the network that it is in; then nothing can be asked of it.
        """
        self._deny, self._namespace = deny, namespace
        self.url = f"rtmp://{host}:{port}/{application}"
        self._application = application
        self._host, self._port, self._http_port = host, port, http_port
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start nginx, and return when it accepts connections."""
        self._folder = Path(tempfile.mkdtemp(prefix="rtmp-server."))
        configuration = self._folder / "nginx.conf"
        configuration.write_text(
            _NGINX.format(
                folder=self._folder,
                modules="/usr/lib/nginx/modules",
                host=self._host,
                port=self._port,
                http_port=self._http_port,
                application=self._application,
                publish="deny publish all;" if self._deny else "allow publish all;",
            )
        )
        self._folder.chmod(0o755)
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"
        error_log = f"{self._folder}/error.log"
        self._process = subprocess.Popen(
            [*inside(self._namespace), program, "-e", error_log, "-p", self._folder, "-c", configuration],
            stdin=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: self._dead() or _accepts(self._host, self._port), 10, "nginx accepts connections")
        except BaseException:
            self.stop()
            raise
        if self._dead():
            log = self.log()
            self.stop()
            raise RuntimeError(f"nginx did not start: {log[-2000:]}")

    @property
    def pid(self) -> int:
        """Return nginx's process id, 0 when it does not run."""
        return self._process.pid if self._process else 0

    def _dead(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def stop(self) -> None:
        """Stop nginx; whoever publishes is disconnected."""
        if self._process is not None:
            end(self._process)
            self._process = None
        if self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)

    def log(self) -> str:
        """Return nginx's own log and that of its connections."""
        paths = (self._folder / "error.log", self._folder / "rtmp.log")
        return "".join(path.read_text(errors="replace") for path in paths if path.exists())

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self._host}:{self._http_port}/{path}", timeout=5) as answer:
            content: bytes = answer.read()
        return content

    def streams(self) -> dict[str, RtmpStream]:
        """Return the streams that are published, by key."""
        found: dict[str, RtmpStream] = {}
        for element in ET.fromstring(self._get("stat")).iter("stream"):
            publisher = next((one for one in element.iter("client") if one.find("publishing") is not None), None)
            name = element.findtext("name") or ""
            found[name] = RtmpStream(
                name=name,
                bytes_in=int(element.findtext("bytes_in") or 0),
                bitrate=int(element.findtext("bw_in") or 0),
                width=int(element.findtext("meta/video/width") or 0),
                height=int(element.findtext("meta/video/height") or 0),
                video=element.findtext("meta/video/codec") or "",
                audio=element.findtext("meta/audio/codec") or "",
                publisher="" if publisher is None else publisher.findtext("address") or "",
                age=int(element.findtext("time") or 0) / 1000,
            )
        return found

    def wait_for(self, key: str, *, more_bytes: int = 100_000, seconds: float = 20) -> RtmpStream:
        """Wait until the stream has had so many more bytes than now, picture and sound."""
        now = self.streams().get(key)
        begin = now.bytes_in if now and now.publisher else 0

        def enough() -> RtmpStream | None:
            stream = self.streams().get(key)
            complete = stream is not None and stream.publisher and stream.video and stream.audio
            return stream if stream and complete and stream.bytes_in - begin >= more_bytes else None

        try:
            stream = wait_until(enough, seconds, f"{more_bytes} bytes more by rtmp to {key}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; last seen: {self.streams()}") from None
        if stream is None:
            raise RuntimeError("unreachable")
        return stream

    def drop(self, key: str) -> None:
        """Disconnect the publisher of a stream."""
        self._get(f"control/drop/publisher?app={self._application}&name={key}")


@dataclass(frozen=True)
class RtspSession:
    """What FFmpeg tells of the stream that is pushed to it."""

    number: int
    """How many publishers there were, with this one; 0: none yet."""
    connected: bool
    frames: int
    """Of the picture, in this session."""
    seconds: float
    """Length of what came, in this session."""
    size: int
    """Bytes of picture and sound, in this session."""


class RtspServer(_Context):
    """FFmpeg as a listener for one publisher at a time; it listens again when its publisher is gone."""

    def __init__(self, port: int = 8654, path: str = "live", *, host: str = "127.0.0.1") -> None:
        self.url = f"rtsp://{host}:{port}/{path}"
        self._stop_read, self._stop_write = -1, -1
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._session = RtspSession(0, False, 0, 0.0, 0)

    @property
    def session(self) -> RtspSession:
        """Return the latest session."""
        with self._lock:
            return self._session

    def start(self) -> None:
        """Begin to listen."""
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="rtsp-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End FFmpeg, and whoever publishes with it."""
        if self._thread is not None:
            os.write(self._stop_write, b"x")
            self._thread.join(15)
            self._thread = None
            os.close(self._stop_read)
            os.close(self._stop_write)

    def wait_for(self, *, frames: int = 25, number: int | None = None, seconds: float = 20) -> RtspSession:
        """Wait until the session has so many more frames than now, or session `number` or a later one so many."""
        begin = self.session

        def enough() -> RtspSession | None:
            session = self.session
            if number is not None:
                return session if session.number >= number and session.frames >= frames else None
            before = begin.frames if session.number == begin.number else 0
            return session if session.frames - before >= frames else None

        try:
            session = wait_until(enough, seconds, f"{frames} frames by rtsp")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; last seen: {self.session}") from None
        if session is None:
            raise RuntimeError("unreachable")
        return session

    def _run(self) -> None:
        while self._listen():
            pass

    def _listen(self) -> bool:
        """Take one publisher; False when it is time to stop."""
        argv = [
            *("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-nostats"),
            *("-stats_period", "0.2", "-progress", "pipe:1"),
            *("-rtsp_flags", "listen", "-i", self.url, "-map", "0:v", "-map", "0:a?", "-c", "copy", "-f", "null", "-"),
        ]
        begin = self.session.number
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
            try:
                if process.stdout is None:
                    raise RuntimeError("no pipe")
                return self._follow(process.stdout, begin + 1)
            finally:
                # It is blocked while nobody calls, and then only a second SIGTERM or a SIGKILL ends it.
                end(process, 0.5)
                if process.stdout is not None:
                    process.stdout.close()
                with self._lock:
                    last = self._session
                    self._session = RtspSession(last.number, False, last.frames, last.seconds, last.size)

    def _follow(self, progress: IO[bytes], number: int) -> bool:
        os.set_blocking(progress.fileno(), False)
        rest = b""
        seen: dict[str, str] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(progress, selectors.EVENT_READ)
            selector.register(self._stop_read, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self._stop_read in ready:
                    return False
                data = os.read(progress.fileno(), 65536)
                if not data:
                    # A port that is taken must not make this spin.
                    selector.unregister(progress)
                    return not selector.select(0.2)
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    key, _, value = line.decode(errors="replace").partition("=")
                    seen[key] = value.strip()
                    if key == "progress":
                        self._note(seen, number)

    def _note(self, seen: dict[str, str], number: int) -> None:
        def count(key: str) -> int:
            value = seen.get(key, "")
            return int(value) if value.isdigit() else 0

        with self._lock:
            self._session = RtspSession(number, True, count("frame"), count("out_time_us") / 1e6, count("total_size"))


class FrozenServer(_Context):
    """Accepts TCP connections and neither reads nor writes: what a peer looks like that hangs."""

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self._address = (host, port)
        self._listener: socket.socket | None = None
        self._accepted: list[socket.socket] = []

    def start(self) -> None:
        """Begin to listen."""
        self._listener = socket.create_server(self._address)
        self._listener.setblocking(False)

    def wait_for(self, connections: int = 1, *, seconds: float = 20) -> None:
        """Wait for so many connections since the start."""
        wait_until(lambda: self._accept() >= connections, seconds, f"{connections} connections")

    def _accept(self) -> int:
        while self._listener is not None:
            try:
                self._accepted.append(self._listener.accept()[0])
            except BlockingIOError:
                break
        return len(self._accepted)

    def stop(self) -> None:
        """Close all."""
        for one in (*self._accepted, self._listener):
            if one is not None:
                one.close()
        self._accepted.clear()
        self._listener = None
