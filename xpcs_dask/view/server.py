"""The page served on this machine: whom it lets in, where it listens, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import secrets
import signal
import socket
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.view.refit import warm_up
from xpcs_dask.view.session import Session
from xpcs_dask.view.sources import Missing, Opened

__all__ = ["check_host", "origins", "serve"]

logger = logging.getLogger(__name__)

TRIES = 5
"""Free ports that somebody else may take before they are ours."""
TITLE = "xpcs-dask view"


def check_host(host: str, insecure: bool) -> None:
    """Refuse an address at which others reach the page, unless that is asked for.

    Raises
    ------
    ConfigError
        Also for an address that stands for all of the machine: browsers need the one they are sent to.
    """
    try:
        found = ipaddress.ip_address(socket.gethostbyname(host) if ":" not in host else host)
    except (OSError, ValueError):
        raise ConfigError(f"--host: '{host}' is no address of this machine") from None
    if found.is_unspecified:
        raise ConfigError(f"--host: {host} is every address of this machine; give the one that browsers will use")
    if not found.is_loopback and not insecure:
        raise ConfigError(
            f"--host: {host} can be reached by others, over a connection that is not encrypted; leave it out and use "
            "'ssh -L PORT:127.0.0.1:PORT', or pass --insecure too"
        )


def origins(host: str, port: int) -> list[str]:
    """Pages that may talk to the server: those that it served itself."""
    shown = f"[{host}]" if ":" in host else host
    return [f"{name}:{port}" for name in dict.fromkeys((shown, *(("localhost",) if _is_loopback(host) else ())))]


def serve(
    opened: Opened,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    insecure: bool = False,
    ready: Callable[[str], None],
) -> None:
    """Serve the page until the process is asked to stop (SIGINT, SIGTERM).

    Parameters
    ----------
    opened : Opened
    host, port
        Where to listen; port 0 is any that is free.
    insecure : bool
        Let `host` be an address that others can reach.
    ready : callable
        Called with the address of the page once it can be opened. A part of it cannot be guessed, so that other people
        on the same machine do not get in.

    Raises
    ------
    ConfigError
        If Panel is missing, the host is refused, or the port is in use.
    """
    check_host(host, insecure)
    check_extra()
    _compile(opened)
    asyncio.run(_serve(opened, host, port, ready))


def check_extra() -> None:
    """Say which extra to install where Panel is missing."""
    if find_spec("panel") is None:
        raise ConfigError("view needs Panel, which is not installed: pip install 'xpcs-dask[viz]'")


async def _serve(opened: Opened, host: str, port: int, ready: Callable[[str], None]) -> None:
    loop, stop, secret = asyncio.get_running_loop(), asyncio.Event(), secrets.token_urlsafe(16)
    server, port = _started(opened, secret, host, port)
    for number in (signal.SIGINT, signal.SIGTERM):  # after Panel has set a handler of its own
        loop.add_signal_handler(number, stop.set)
    try:
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/{secret}")
        await stop.wait()
    finally:
        server.stop(wait=False)


def _started(opened: Opened, secret: str, host: str, port: int) -> tuple[Any, int]:
    import panel as pn
    from panel.io.server import get_server

    pn.extension(notifications=False, throttled=True)
    folder = opened.store.absolute().parent if opened.store is not None else Path.cwd()

    def page() -> Any:
        from xpcs_dask.view.page import Page

        made = Page(Session(opened), folder, pn.state.curdoc)
        made.listen()
        return made.widgets.view()

    for _ in range(TRIES):
        chosen = port or _free(host)
        try:
            server = get_server(
                {secret: page}, port=chosen, address=host, websocket_origin=origins(host, chosen), title=TITLE,
                start=False, show=False, use_index=False, redirect_root=False, verbose=False,
            )  # fmt: skip
            server.start()
            return server, chosen
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"cannot listen at {host}, port {chosen}: {error.strerror}") from None
            if port:
                break
    raise ConfigError(f"port {chosen} of {host} is in use; choose another with --port, or 0 for any that is free")


def _compile(opened: Opened) -> None:
    """Fit what is shown first with every model that has kernels: compiling these takes half a minute, once."""
    for entry in opened.entries[:1]:
        with contextlib.suppress(Missing):
            curves, _ = entry.read()
            for model in (name for name, record in MODELS.items() if record.family):
                try:
                    warm_up(curves, [model])
                except Exception as error:  # the page will say so where it matters
                    logger.info("%s cannot be fitted with %s: %s", entry.label, model, error)


def _free(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as asked:
        asked.bind((host, 0))
        return int(asked.getsockname()[1])


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback
