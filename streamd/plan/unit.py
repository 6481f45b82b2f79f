"""Names and properties of the transient units that streamd asks systemd for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from streamd.plan.address import Address, route_slice
from streamd.plan.ffmpeg import Command
from streamd.plan.pace import Pace, delays
from streamd.route.model import Credential, Limits

UNIT_PATTERNS: Final = ("streamd-output@*.service", "streamd-ingest@*.service", "streamd*.slice")
"""What to ask systemd's ListUnitsByPatterns for."""

ROOT_SLICE: Final = "streamd.slice"
PRESET_DIRECTORY: Final = "/run/streamd/presets"
"""Where the secret presets stand that LoadCredential= hands to the units; 0700, root's."""
BACKOFF_HELPER: Final = "/usr/libexec/streamd/backoff"

RESTART_STEPS_SINCE: Final = 254
"""The systemd version that brought RestartSteps= and RestartMaxDelaySec=."""
RESTART_STEPS: Final = 8

OWN_TMP_SINCE: Final = 257
"""The systemd version that brought PrivateTmp=disconnected: a /tmp that is no directory of the host's, which systemd
need not make before each start, nor have removed by a process of its own after each end."""

LOG_FILTERS_SINCE: Final = 253
"""The systemd version that brought LogFilterPatterns=."""
CHATTER: Final = (
    # What a decoder says that looks at the first packets, before the first key frame. Nothing is decoded later.
    r"\[error\] (non-existing [SP]PS \d+ referenced|decode_slice_header error|no frame!)",
    # What a listener's FFmpeg says on the level on which it says who called.
    r"\[(verbose|info)\] (?!accept streamid)",
)
"""What the journal does not take of an FFmpeg's lines; expressions of pcre2pattern(3)."""

INFINITY: Final = 2**64 - 1
"""How systemd's D-Bus properties of type t say "no limit"."""
DEFAULT_TASKS: Final = 256

_UNIT_PATHS: Final = "/org/freedesktop/systemd1/unit"
_FINGERPRINT: Final = re.compile(r"\[([0-9a-f]{12})\.([0-9a-f]{8})\.([0-9a-f]{8})\]$")

BY_MEDIAMTX: Final = " by MediaMTX"
"""Ends the title of a unit that reads from MediaMTX, so that it can be told of one that runs."""

PropertyValue = object
Property = tuple[str, str, PropertyValue]
"""Name, D-Bus signature and value of one unit property."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a unit was made from, in three hashes, so that a change can be told by its kind."""

    command: str
    """Of all that a process cannot change while it runs."""
    secrets: str
    live: str
    """Of what systemd can change on a running unit."""

    def __str__(self) -> str:
        return f"[{self.command}.{self.secrets}.{self.live}]"

    @classmethod
    def of_description(cls, description: str) -> Fingerprint | None:
        """Return the fingerprint that ends a unit's Description, None where there is none."""
        found = _FINGERPRINT.search(description)
        return cls(found[1], found[2], found[3]) if found else None


@dataclass(frozen=True, kw_only=True)
class DesiredUnit:
    """One unit as it should be."""

    address: Address
    title: str
    """A few words for a person; the fingerprint follows it in the unit's Description."""
    command: Command
    secret_digests: Mapping[str, str]
    """A keyed digest of each secret that the command's preset names; never the secret."""
    limits: Limits
    has_claim: bool
    """Whether it binds a port of this host, so that it must wait for whoever is leaving that port."""
    is_listener: bool = False
    """Whether it waits for SRT callers."""

    @property
    def name(self) -> str:
        """Return the unit's name."""
        return self.address.unit

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Return the hashes of all that makes up this unit."""
        preset = [
            [line.option, f"\0{line.value.name}" if isinstance(line.value, Credential) else line.value, line.form.value]
            for line in self.command.preset
        ]
        live = [self.title, self.limits.memory, self.limits.cpu, self.limits.tasks]
        return Fingerprint(
            _digest([self.command.argv, preset], 12),
            _digest(sorted(self.secret_digests.items()), 8),
            _digest(live, 8),
        )

    @property
    def is_by_mediamtx(self) -> bool:
        """Tell whether it reads from MediaMTX instead of the direct relay."""
        return self.title.endswith(BY_MEDIAMTX)

    @property
    def user(self) -> str:
        """Return the name of the user that DynamicUser= makes for this unit.

        Without one systemd takes what stands before the @ of the unit's name, and all outputs would be the same user.
        """
        return f"streamd-{hashlib.sha256(self.name.encode()).hexdigest()[:12]}"

    @property
    def description(self) -> str:
        """Return the unit's Description."""
        return f"{self.title} {self.fingerprint}"

    @property
    def preset_path(self) -> str:
        """Return the path of the file that holds this unit's secret FFmpeg options."""
        return f"{PRESET_DIRECTORY}/{self.name}"

    @property
    def backoff_directory(self) -> str:
        """Return where below /run the helper keeps its count; a colon would stand before the name of a link."""
        kind, _at, instance = self.name.removesuffix(".service").partition("@")
        return f"{kind}/{instance.replace(':', '/')}"

    def live_properties(self) -> list[Property]:
        """Return what can be set on the unit while it runs: Description and limits."""
        limits = self.limits
        return [
            ("Description", "s", self.description),
            ("MemoryMax", "t", INFINITY if limits.memory is None else limits.memory),
            ("CPUQuotaPerSecUSec", "t", INFINITY if limits.cpu is None else limits.cpu * 10_000),
            ("TasksMax", "t", DEFAULT_TASKS if limits.tasks is None else limits.tasks),
        ]

    def properties(self, systemd_version: int, pace: Pace = Pace.QUICK, *, made: int = 0) -> list[Property]:
        """Return all properties for StartTransientUnit; one that a systemd does not know fails the whole call.

        What is the same for all units stands in the drop-in files under units/, where an administrator can read it.

        Args:
            systemd_version: such as 257.
            pace: how soon systemd is to start it again when it ends.
            made: a number that is another one each time.
        """
        # The first has one of few values, so that whoever follows the journal can ask for the lines of all units.
        fields = [f"STREAMD_ENGINE={self.command.engine}", f"STREAMD_ROUTE={self.address.route}"]
        if self.address.output:
            fields.append(f"STREAMD_OUTPUT={self.address}")
        properties: list[Property] = [
            *self.live_properties(),
            ("Type", "s", "exec"),
            ("ExecStart", "a(sasb)", [[self.command.argv[0], list(self.command.argv), False]]),
            ("Slice", "s", route_slice(self.address.route)),
            ("User", "s", self.user),
            ("CollectMode", "s", "inactive-or-failed"),
            ("SyslogIdentifier", "s", str(self.address)),
            ("LogExtraFields", "aay", [field.encode() for field in fields]),
            ("StartLimitIntervalUSec", "t", 0),
        ]
        if systemd_version >= LOG_FILTERS_SINCE:
            properties.append(("LogFilterPatterns", "a(bs)", [[False, pattern] for pattern in CHATTER]))
        if systemd_version >= OWN_TMP_SINCE:
            properties.append(("PrivateTmpEx", "s", "disconnected"))
        if self.command.preset:
            properties.append(("LoadCredential", "a(ss)", [["secrets", self.preset_path]]))
        wait = delays(pace, self.name, listener=self.is_listener)
        if systemd_version >= RESTART_STEPS_SINCE:
            properties += [
                ("RestartUSec", "t", wait.first * 1000),
                ("RestartSteps", "u", RESTART_STEPS),
                ("RestartMaxDelayUSec", "t", wait.longest * 1000),
            ]
        else:
            # Its own delay cannot grow there: a helper before each start waits for the rest. While it waits itself
            # systemd tells how the process ended; once the helper runs, it does not any more.
            helper = [BACKOFF_HELPER, str(wait.first), str(wait.longest), str(made)]
            properties += [
                ("RestartUSec", "t", wait.first * 1000),
                ("RuntimeDirectory", "as", [self.backoff_directory]),
                ("RuntimeDirectoryMode", "u", 0o700),
                ("RuntimeDirectoryPreserve", "s", "restart"),
                ("ExecStartPre", "a(sasb)", [[helper[0], helper, False]]),
            ]
        return properties


def _digest(value: object, digits: int) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def unit_path(name: str) -> str:
    """Return systemd's object path of a unit."""
    escaped = "".join(
        char if char.isascii() and char.isalnum() and (index or not char.isdigit()) else f"_{ord(char):02x}"
        for index, char in enumerate(name)
    )
    return f"{_UNIT_PATHS}/{escaped}"


def unit_name(path: str) -> str:
    """Return the name of the unit at an object path of systemd's."""
    escaped = path.rsplit("/", 1)[-1]
    return re.sub(r"_([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), escaped)
