"""What somebody tries who has taken over an FFmpeg: runs in its place and leaves a report in its runtime directory.

It takes the path of a JSON object: paths to read, processes to signal, commands, and a copy of id that is set-user-ID.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET = 0x10000000, 0x00020000, 0x40000000
ADDR_NO_RANDOMIZE = 0x0040000
NOT_WALKED = ("/proc", "/sys/devices", "/sys/kernel", "/usr/share/doc", "/usr/share/locale", "/usr/share/zoneinfo")
"""/proc is what each process has of its own; the others are many, and no different from those beside them."""
HANDED = "read the secret that it was handed"
"""The one attempt that is to succeed."""


def libc(name: str, *arguments: Any) -> None:
    """Call a function of the C library. Raises: OSError."""
    if getattr(LIBC, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def read(path: str) -> None:
    """Read a file, or list a directory."""
    if os.path.isdir(path):
        os.listdir(path)
    else:
        with open(path, "rb") as file:
            file.read(4096)


def command(*argv: str) -> None:
    """Run a command. Raises: OSError when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OSError(done.stderr.strip() or f"status {done.returncode}")


def become_root_by(program: str) -> None:
    """Run a copy of id that is set-user-ID root."""
    out = subprocess.run([program, "-u"], capture_output=True, text=True, timeout=20, check=False).stdout
    if out.strip() != "0":
        raise OSError(f"user {out.strip()}")


def in_child(act: Callable[[], object]) -> Callable[[], None]:
    """Return an act that is done by a child, which it changes."""

    def do() -> None:
        child = os.fork()
        if not child:
            try:
                act()
            except OSError as error:
                os._exit(error.errno or 255)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            raise OSError(status, os.strerror(status) if status > 0 else f"signal {-status}")

    return do


def set_uid_bit(directory: Path) -> None:
    path = directory / "setuid"
    path.touch()
    try:
        path.chmod(0o4755)
        if not path.stat().st_mode & 0o4000:
            raise OSError("the bit was not set")
    finally:
        path.unlink()


def writable(own: Path) -> Iterator[str]:
    """Yield all directories in which a file can be made, and all files and devices that can be written, but its own."""
    for directory, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(directory, name) not in (*NOT_WALKED, str(own))]
        if os.access(directory, os.W_OK):
            try:
                descriptor = os.open(directory, os.O_WRONLY | os.O_TMPFILE)
            except OSError:
                path = os.path.join(directory, f"intruder-{os.getpid()}")
                try:
                    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                except OSError:
                    continue
                os.unlink(path)
            os.close(descriptor)
            yield directory
        if directory.startswith("/usr/"):
            continue
        for name in files:
            path = os.path.join(directory, name)
            # Who may speak to a socket is another question than who may write.
            if not os.path.islink(path) and os.access(path, os.W_OK) and not stat.S_ISSOCK(os.stat(path).st_mode):
                yield path


def attempts(wanted: dict[str, Any], own: Path) -> dict[str, Callable[[], object]]:
    """Return all that is tried, by name."""
    name = os.uname().nodename.encode()
    found: dict[str, Callable[[], object]] = {
        "become root": in_child(lambda: os.setuid(0)),
        "become root's group": in_child(lambda: os.setgid(0)),
        "become root by a set-user-ID program": lambda: become_root_by(wanted["setuid"]),
        "make a set-user-ID program": lambda: set_uid_bit(own),
        "unshare the users": in_child(lambda: libc("unshare", CLONE_NEWUSER)),
        "unshare the mounts": in_child(lambda: libc("unshare", CLONE_NEWNS)),
        "unshare the network": in_child(lambda: libc("unshare", CLONE_NEWNET)),
        "mount": in_child(lambda: libc("mount", b"tmpfs", b"/mnt", b"tmpfs", 0, None)),
        "change the root": in_child(lambda: os.chroot("/usr")),
        "change the host's name": in_child(lambda: libc("sethostname", name, len(name))),
        "make a device": lambda: (os.mknod(own / "device", 0o20600, os.makedev(1, 3)), (own / "device").unlink()),
        "make code at run time": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
        "take packets off the wire": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "open a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close(),
        "speak netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close(),
        "bind a privileged port": lambda: _bind(999),
        "change the personality": in_child(lambda: libc("personality", ADDR_NO_RANDOMIZE)),
        "take the processor": in_child(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
        HANDED: lambda: read(f"{os.environ['CREDENTIALS_DIRECTORY']}/secrets"),
    }
    for path in wanted["read"]:
        found[f"read {path}"] = lambda path=path: read(path)  # type: ignore[misc]
    for owner, pid in wanted["signal"].items():
        found[f"signal {owner}"] = lambda pid=pid: os.kill(pid, signal.SIGCONT)  # type: ignore[misc]
        found[f"look into {owner}"] = lambda pid=pid: read(f"/proc/{pid}/environ")  # type: ignore[misc]
    for argv in wanted["command"]:
        found[" ".join(argv)] = lambda argv=argv: command(*argv)  # type: ignore[misc]
    return found


def _bind(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))


def main() -> None:
    """Try all of it, and wait to be stopped when told so."""
    wanted = json.loads(Path(sys.argv[1]).read_text())
    own = Path(os.environ["RUNTIME_DIRECTORY"]).resolve()
    results = {}
    for name, act in attempts(wanted, own).items():
        try:
            act()
        except (OSError, subprocess.SubprocessError) as error:
            results[name] = str(error)
        else:
            results[name] = ""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    report = {
        "user": os.geteuid(),
        "capabilities": [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "attempts": results,
        "writable": sorted(writable(own)),
    }
    # The name appears when all of it is written.
    (own / "report.new").write_text(json.dumps(report))
    (own / "report.new").rename(own / "report.json")
    if "--wait" in sys.argv:
        signal.pause()


if __name__ == "__main__":
    main()
