"""TLS, checked before anything is connected: a client that fails half-way can make the next one hang."""

from __future__ import annotations

import logging
import os
import ssl
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from xpcs_dask.errors import ConfigError

__all__ = ["check_files", "security_for"]

logger = logging.getLogger(__name__)

SOON = 7 * 86400.0
"""Seconds before the end of a certificate from which on it is warned of."""
CLIENT, SCHEDULER = ("client",), ("client", "scheduler", "worker")


def security_for(address: str, tls: Mapping[str, str] | None, roles: tuple[str, ...] = CLIENT) -> Any:
    """Return the `distributed.Security` for a scheduler, or None for a connection that is not encrypted.

    Parameters
    ----------
    address
        Of the scheduler; only ``tcp://`` or ``tls://`` matters.
    tls
        Files ca, cert and key (PEM) for all `roles`; None: those of Dask's configuration (``distributed.comm.tls``).

    Raises
    ------
    ConfigError
        A file is missing or useless, or `address` and certificates do not go together; it names the file.
    """
    import dask
    from distributed import Security

    encrypted = address.startswith("tls://")
    if not encrypted:
        if tls:
            raise ConfigError(f"{address} is not encrypted, but tls has certificates; use tls:// or leave them out")
        if dask.config.get("distributed.comm.require-encryption", None):
            raise ConfigError(
                f"{address} is not encrypted, but Dask's configuration has distributed.comm.require-encryption; use tls://"
            )
        return None
    given = {role: dict(tls) if tls else _of_dask(role) for role in roles}
    for role, files in given.items():
        if missing := [name for name in ("ca", "cert", "key") if not files.get(name)]:
            raise ConfigError(
                f"{address} needs a certificate of the {role}, but {', '.join(missing)} is not known; give tls "
                "(ca, cert, key), or distributed.comm.tls in Dask's configuration"
            )
        check_files(files["ca"], files["cert"], files["key"])
    paths = {role: {name: _absolute(path) for name, path in files.items()} for role, files in given.items()}
    told = {f"tls_{role}_{name}": files[name] for role, files in paths.items() for name in ("cert", "key")}
    return Security(require_encryption=True, tls_ca_file=paths[roles[0]]["ca"], **told)


def check_files(ca: str, cert: str, key: str) -> None:
    """Find what is wrong with three files (PEM): they exist, belong together, and are valid now.

    Raises
    ------
    ConfigError
        That names the file and what is wrong with it.
    """
    for what, path in (("ca", ca), ("cert", cert), ("key", key)):
        try:
            Path(_absolute(path)).read_bytes()
        except OSError as error:
            raise ConfigError(f"TLS {what} {path} cannot be read: {error.strerror}") from None
    if Path(_absolute(key)).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("TLS key %s can be read by others; chmod 600 %s", key, key)
    server = _context(ssl.PROTOCOL_TLS_SERVER, ca, cert, key)
    client = _context(ssl.PROTOCOL_TLS_CLIENT, ca, cert, key)
    try:
        ends = _handshake(server, client)
    except ssl.SSLCertVerificationError as error:
        raise ConfigError(f"TLS cert {cert} is not accepted with ca {ca}: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise ConfigError(f"TLS cert {cert} cannot be used: {error.reason or error}") from None
    left = ends - time.time()
    if left < SOON:
        logger.warning("TLS cert %s ends in %.1f days", cert, left / 86400)


def _context(protocol: int, ca: str, cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False  # as distributed has it: whoever the CA signed for is trusted
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(_absolute(ca))
    except ssl.SSLError:
        raise ConfigError(f"TLS ca {ca} holds no certificate (PEM)") from None

    def no_password() -> NoReturn:
        raise ConfigError(f"TLS key {key} has a password, which nobody can type on a node; take one without")

    try:
        context.load_cert_chain(_absolute(cert), _absolute(key), password=no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"TLS key {key} does not belong to cert {cert}") from None
        raise ConfigError(f"TLS cert {cert} or key {key} is no PEM file of its kind: {error.reason or error}") from None
    return context


def _handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> float:
    """Let the certificate talk to itself, in memory; returns the time at which it ends."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    waiting = [client, server]
    for _ in range(20):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    told: Any = client.getpeercert() or {}
    return ssl.cert_time_to_seconds(told["notAfter"]) if "notAfter" in told else float("inf")


def _of_dask(role: str) -> dict[str, Any]:
    import dask

    of_role = {name: dask.config.get(f"distributed.comm.tls.{role}.{name}", None) for name in ("cert", "key")}
    return {"ca": dask.config.get("distributed.comm.tls.ca-file", None), **of_role}


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(os.path.expandvars(path)))
