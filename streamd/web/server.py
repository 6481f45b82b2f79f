"""streamd-web: wires the gateway, and serves it on the sockets that systemd hands over."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import secrets
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from uvicorn import Config, Server

from streamd.host.webkeys import KeyRing
from streamd.web.app import make_app
from streamd.web.connection import Doorkeeper, quieten, server_options
from streamd.web.ended import keep_ended, read_ended
from streamd.web.gateway import Gateway
from streamd.web.handshake import over_tls
from streamd.web.hub import Hub
from streamd.web.link import BusLink, Link
from streamd.web.session import Sessions
from streamd.web.settings import Settings, SettingsError, read_settings

_LOG: Final = logging.getLogger(__name__)
_NOT_CONFIGURED: Final = 78
"""The exit status of what no restart mends, as sysexits.h has it."""
_SIGNING_KEY: Final = "session.key"
_SIGNING_BYTES: Final = 32


class GatewayServer(Server):
    """uvicorn's server, which says when it is there, and lets followers go when it ends."""

    def __init__(self, config: Config, hub: Hub, ready: Callable[[Server], None]) -> None:
        super().__init__(config)
        self._hub = hub
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets=sockets)
        self._ready(self)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End. What is under way is answered; those who follow would do so for ever."""
        self._hub.close()
        await super().shutdown(sockets=sockets)


def make_gateway(link: Link, settings: Settings, ring: KeyRing, directory: str) -> Gateway:
    """Return the gateway to a daemon; sessions are kept in the unit's runtime directory, where there is one."""
    return Gateway(
        link=link,
        hub=Hub(link, secrets.token_hex(8)),
        ring=ring,
        sessions=Sessions(
            session_secret(directory),
            ring.named,
            ended=read_ended(directory),
            keep=functools.partial(keep_ended, directory),
        ),
        settings=settings,
    )


async def serve(
    gateway: Gateway,
    sockets: list[socket.socket],
    tls: ssl.SSLContext | None,
    *,
    keeper: Doorkeeper | None = None,
    ready: Callable[[Server], None] = lambda _server: None,
) -> None:
    """Serve until a signal ends it."""
    keeper = keeper if keeper is not None else Doorkeeper(proxies=gateway.settings.proxies)
    options = dict(server_options(keeper))
    if tls:
        options["http"] = over_tls(options["http"], keeper, tls)
    config = Config(make_app(gateway), **options)
    config.load()
    quieten()
    server = GatewayServer(config, gateway.hub, ready)
    following = asyncio.create_task(gateway.hub.run())
    # Without what follows the daemon, every answer would be of some time ago.
    following.add_done_callback(lambda _done: setattr(server, "should_exit", True))
    try:
        await server.serve(sockets=sockets)
    finally:
        failed = following.done()
        following.cancel()
        results = await asyncio.gather(following, return_exceptions=True)
        await gateway.link.close()
        if failed and isinstance(results[0], Exception):
            raise results[0]


def session_secret(directory: str) -> bytes:
    """Return what signs sessions; it is kept over restarts in the unit's runtime directory, where there is one."""
    if not directory:
        return secrets.token_bytes(_SIGNING_BYTES)
    path = Path(directory) / _SIGNING_KEY
    try:
        found = path.read_bytes()
        if len(found) == _SIGNING_BYTES:
            return found
        path.unlink()
    except FileNotFoundError:
        pass
    made = secrets.token_bytes(_SIGNING_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(made)
    return made


def tls_context(directory: str) -> ssl.SSLContext | None:
    """Return TLS with the unit's credentials `certificate` and `certificate-key`; None where there are none.

    Raises:
        SettingsError: one of them is missing, or not what it should be.
    """
    certificate, key = Path(directory, "certificate"), Path(directory, "certificate-key")
    if not directory or not (certificate.exists() or key.exists()):
        return None
    if not (certificate.exists() and key.exists()):
        raise SettingsError("TLS needs both LoadCredential=certificate:FILE and LoadCredential=certificate-key:FILE")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        text = "the credentials certificate and certificate-key are no certificate and its key without a passphrase"
        raise SettingsError(f"{text}: {error}") from error
    return context


def sockets_of(descriptors: list[int]) -> list[socket.socket]:
    """Return the sockets that systemd hands over. Raises: SettingsError, where there is none."""
    if not descriptors:
        raise SettingsError("this is started by streamd-web.socket; see: systemctl start streamd-web.socket")
    found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for listener in found:
        listener.setblocking(False)
    return found


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run the gateway; return its exit status."""
    from systemd import daemon  # noqa: PLC0415 (the tests have none)

    from streamd.host import journal, notify  # noqa: PLC0415

    journal.set_up(identifier="streamd-web")
    try:
        settings = read_settings()
        tls = tls_context(environment.get("CREDENTIALS_DIRECTORY", ""))
        sockets = sockets_of(daemon.listen_fds())
    except SettingsError as error:
        _LOG.critical("%s", error)
        return _NOT_CONFIGURED
    gateway = make_gateway(BusLink(), settings, KeyRing(), environment.get("RUNTIME_DIRECTORY", ""))

    def ready(_server: Server) -> None:
        notify.ready("over TLS" if tls else "")

    try:
        asyncio.run(serve(gateway, sockets, tls, ready=ready))
    except OSError as error:
        _LOG.critical("streamd-web ends: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
