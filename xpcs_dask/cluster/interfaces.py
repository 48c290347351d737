"""Network interfaces of this machine."""

from __future__ import annotations

import socket

from xpcs_dask.errors import ConfigError

__all__ = ["check_interface"]


def check_interface(name: str | None, what: str) -> None:
    """Refuse an interface that this machine does not have: `ConfigError` lists those that it has, with addresses."""
    import psutil

    if name is None:
        return
    found = {
        interface: [entry.address for entry in entries if entry.family == socket.AF_INET]
        for interface, entries in psutil.net_if_addrs().items()
    }
    usable = {interface: addresses[0] for interface, addresses in found.items() if addresses}
    if name not in usable:
        there = ", ".join(f"{interface} ({address})" for interface, address in sorted(usable.items()))
        why = "has no IPv4 address" if name in found else "is not an interface of this machine"
        raise ConfigError(f"{what} '{name}' {why}; there are {there or 'none'}")
