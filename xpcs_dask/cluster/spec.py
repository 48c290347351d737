"""One word says where the work runs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from xpcs_dask.cluster.connection import Connection, Kind
from xpcs_dask.errors import ConfigError

__all__ = ["KNOWN", "parse"]

KNOWN = (
    "sync, threads[:N], processes[:N], local[:N], tcp://HOST:PORT, tls://HOST:PORT, file:SCHEDULER.json, "
    "slurm[:PROFILE] or pbs[:PROFILE]"
)
ADDRESS = r"(?:tcp|tls)://(?:[^/\s:]+|\[[0-9a-fA-F:.]+\]):\d{1,5}"


def parse(spec: str, settings: Mapping[str, object] | None = None) -> Connection:
    """Read `spec` and its settings without starting anything.

    Raises
    ------
    ConfigError
        That lists what is known; or a setting of the cluster makes no sense.
    """
    base = _word(spec)
    if base.kind in ("slurm", "pbs"):
        from xpcs_dask.cluster.profile import read_profile

        return Connection(base.kind, read_profile(spec, settings).workers)
    if base.kind in ("local", "address", "file"):
        from xpcs_dask.cluster.settings import read_local, read_running

        (read_local if base.kind == "local" else read_running)(settings)
    elif settings:
        raise ConfigError(
            f"scheduler '{spec}' has no setting '{next(iter(settings))}'; settings of a cluster go with local, tcp, "
            "tls, file, slurm and pbs"
        )
    return base


def _word(spec: str) -> Connection:
    if re.fullmatch(ADDRESS, spec):
        return Connection("address", None, address=spec)
    if "://" in spec:
        raise ConfigError(f"scheduler '{spec}' is not of the form tcp://HOST:PORT or tls://HOST:PORT")
    if (found := re.fullmatch(r"file:(\S.*)", spec)) is not None:
        return Connection("file", None, address=found[1])
    if (found := re.fullmatch(r"(slurm|pbs)(?::[\w.-]+)?", spec)) is not None:
        batch: Kind = found[1]  # type: ignore[assignment]
        return Connection(batch, None)
    found = re.fullmatch(r"(sync|threads|processes|local)(?::(\d+))?", spec)
    if not found or (found[1] == "sync" and found[2]):
        raise ConfigError(f"scheduler '{spec}' is not known; choose {KNOWN}")
    if found[2] and int(found[2]) < 1:
        raise ConfigError(f"scheduler '{spec}' asks for no workers; N must be at least 1")
    kind: Kind = found[1]  # type: ignore[assignment]
    return Connection(kind, int(found[2]) if found[2] else None)
