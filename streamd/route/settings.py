"""streamd.toml: the daemon's settings. A key that is wrong leaves its default in place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network
from itertools import chain
from typing import Final

from streamd.route.crosscheck import credential_fault, credential_path, hook_credentials
from streamd.route.diagnostic import Diagnostic
from streamd.route.document import read_document
from streamd.route.fields import Report, Table
from streamd.route.hooks import HOOK_KEYS, parse_hooks
from streamd.route.listen import parse_media_server
from streamd.route.merge import merge_documents
from streamd.route.model import NO_LIMITS, Limits, Settings
from streamd.route.target import STALL_RANGE

SETTINGS_PATH: Final = "/etc/streamd/streamd.toml"
MAX_OUTPUTS: Final = 1000
_DEFAULT: Final = Settings()
_LOWEST: Final = 1024
"""Of the ports that streamd and MediaMTX take for themselves."""
_OTHERS: Final = 16
"""Ports that a range of inputs must leave to them: the relay, progress, and what MediaMTX listens on."""


def parse_settings(path: str, text: str | bytes) -> tuple[Settings, tuple[Diagnostic, ...]]:
    """Return the settings in the text and what is wrong with it; never raises."""
    report = Report(merge_documents([read_document(path, text)]))
    table = Table(report, (), report.document.data)
    ports = _input_ports(table)
    max_outputs = table.integer("max_outputs", 1, MAX_OUTPUTS)
    groups, relay_port = _relay(table.table("relay", instead="[relay] and its keys below"))
    limits, stall_timeout = _output(table.table("output", instead="[output] and its keys below"))
    progress_port = table.integer("progress_port", _LOWEST, 65535)
    hooks = parse_hooks(table.table("hooks", instead="[hooks] and its keys below"))
    table.accept(("mediamtx",))
    table.finish(
        ("input_ports", "max_outputs", "progress_port", "relay", "output", "hooks", "mediamtx"),
        {
            "groups": "groups stands below [relay]",
            "port": "port stands below [relay]",
            "limits": "limits stands below [output]",
            "stall_timeout": "stall_timeout stands below [output]",
            **{key: f"{key} stands below [hooks]" for key in HOOK_KEYS},
            "input": "[input] stands in a route's file, /etc/streamd/conf.d/NAME.toml",
        },
    )
    ports, relay_port = _apart(table, ports, relay_port)
    progress_port = _aside(table, progress_port, ports, relay_port)
    mediamtx = parse_media_server(
        table.table("mediamtx", instead="[mediamtx] and its keys below"),
        {relay_port: "the relay's (port in the [relay] table)", progress_port: "where progress goes (progress_port)"},
        ports,
    )
    settings = Settings(
        input_ports=ports,
        max_outputs=_DEFAULT.max_outputs if max_outputs is None else max_outputs,
        relay_groups=groups,
        relay_port=relay_port,
        output_limits=limits,
        stall_timeout=_DEFAULT.stall_timeout if stall_timeout is None else stall_timeout,
        progress_port=progress_port,
        hooks=hooks.over(_DEFAULT.hooks),
        mediamtx=mediamtx,
    )
    return settings, report.sorted()


def settings_credentials(
    path: str, text: str | bytes, settings: Settings, credentials: Mapping[str, str]
) -> tuple[Diagnostic, ...]:
    """Return what is wrong with the credentials that settings name; see streamd.route.crosscheck."""
    merged = merge_documents([read_document(path, text)])
    report = Report(merged)
    report.diagnostics.clear()
    for key, credential in hook_credentials(settings.hooks):
        if message := credential_fault(credential, credentials):
            report.at_value(credential_path(key, merged), message)
    return report.sorted()


def _input_ports(table: Table) -> tuple[int, int]:
    text = table.string("input_ports")
    if text is None:
        return _DEFAULT.input_ports
    match = re.fullmatch(r"([0-9]{1,5}) ?- ?([0-9]{1,5})", text)
    if not match:
        table.wrong("input_ports", 'write the first and the last port, such as "5000-5100"')
        return _DEFAULT.input_ports
    first, last = int(match[1]), int(match[2])
    if not 1 <= first <= 65535 or not 1 <= last <= 65535:
        table.wrong("input_ports", "must be ports from 1 to 65535")
        return _DEFAULT.input_ports
    if first > last:
        table.wrong("input_ports", f'the first port is above the last, write "{last}-{first}"')
        return _DEFAULT.input_ports
    if 65536 - _LOWEST - (last + 1 - max(first, _LOWEST)) < _OTHERS:
        table.wrong(
            "input_ports",
            f"must leave {_OTHERS} ports from {_LOWEST} on to the relay, progress reports and MediaMTX",
        )
        return _DEFAULT.input_ports
    return first, last


def _relay(table: Table | None) -> tuple[str, int]:
    """Return the relay's range of groups and its port."""
    if table is None:
        return _DEFAULT.relay_groups, _DEFAULT.relay_port
    groups = table.string("groups")
    if groups is not None and (fault := _groups_fault(groups)):
        table.wrong("groups", fault)
        groups = None
    port = table.integer("port", _LOWEST, 65535)
    table.finish(("groups", "port"))
    return groups or _DEFAULT.relay_groups, port or _DEFAULT.relay_port


def _groups_fault(groups: str) -> str:
    """Return what is wrong with a range of multicast groups, or nothing."""
    if not re.fullmatch(r"[0-9.]{7,15}/[0-9]{1,2}", groups):
        return 'write a range of IPv4 multicast groups, such as "239.255.0.0/16"'
    try:
        network = IPv4Network(groups, strict=False)
    except ValueError:
        return 'write a range of IPv4 multicast groups, such as "239.255.0.0/16"'
    if not network.subnet_of(IPv4Network("239.0.0.0/8")):
        return 'must lie within 239.0.0.0/8, the groups for private use, such as "239.255.0.0/16"'
    if str(network) != groups:
        return f'is not the beginning of a range, write "{network}"'
    if network.prefixlen > 24:
        return f'is too small, each route needs a group, write "{network.supernet(new_prefix=24)}"'
    return ""


def _output(table: Table | None) -> tuple[Limits, int | None]:
    if table is None:
        return NO_LIMITS, None
    limits = table.limits()
    stall_timeout = table.timeout("stall_timeout", *STALL_RANGE)
    table.finish(
        ("limits", "stall_timeout"), {key: f"write limits = {{ {key} = ... }}" for key in ("memory", "cpu", "tasks")}
    )
    return limits, stall_timeout


def _apart(table: Table, ports: tuple[int, int], relay_port: int) -> tuple[tuple[int, int], int]:
    """Keep the relay's port out of the inputs': a wildcard input would receive the relay's datagrams."""
    first, last = ports
    if not first <= relay_port <= last:
        return ports, relay_port
    if relay_port != _DEFAULT.relay_port:
        table.report.at_value(
            ("relay", "port"), f"must be outside of {first}-{last}, the ports of inputs (input_ports)"
        )
        relay_port = _DEFAULT.relay_port
    if first <= relay_port <= last:
        table.wrong("input_ports", f"must not contain {relay_port}, the relay's port (port in the [relay] table)")
        ports = _DEFAULT.input_ports
    return ports, relay_port


def _aside(table: Table, port: int | None, ports: tuple[int, int], relay_port: int) -> int:
    """Return the port for progress reports, out of everybody's way."""
    chosen = _DEFAULT.progress_port if port is None else port
    if ports[0] <= chosen <= ports[1] or chosen == relay_port:
        if port is not None:
            table.wrong(
                "progress_port",
                f"must be outside of {ports[0]}-{ports[1]} (input_ports) and not {relay_port} (the relay's port)",
            )
        above, below = range(_DEFAULT.progress_port, 65536), range(_DEFAULT.progress_port - 1, _LOWEST - 1, -1)
        return next(free for free in chain(above, below) if not ports[0] <= free <= ports[1] and free != relay_port)
    return chosen
