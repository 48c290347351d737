"""Settings of a cluster on this machine, and of one that is already running."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from xpcs_dask.cluster.configuration import checked, flags_of, made, section
from xpcs_dask.cluster.connection import LOCAL_DASHBOARD
from xpcs_dask.config import Settings

__all__ = ["Local", "Memory", "Running", "Tls", "parse_size", "read_local", "read_running"]

LEAST_MEMORY = 256 * 2**20
FILES = ("ca", "cert", "key")


def parse_size(text: Any) -> str:
    """Check a size such as ``4GiB``: enough for a process."""
    from dask.utils import parse_bytes

    try:
        enough = parse_bytes(text) >= LEAST_MEMORY
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"'{text}' is not a size such as 4GiB") from None
    if not enough:
        raise ValueError(f"{text} is too little for a process; give 256MiB or more, as in 4GiB")
    return str(text)


def _all_files(value: Mapping[str, str] | None) -> Mapping[str, str] | None:
    if value and (unknown := [name for name in value if name not in FILES]):
        raise ValueError(f"'{unknown[0]}' is not known; TLS takes ca, cert and key")
    if value and (missing := [name for name in FILES if not value.get(name)]):
        raise ValueError(f"{' and '.join(missing)} missing; TLS takes ca, cert and key")
    return value or None


Memory: TypeAlias = Annotated[str, BeforeValidator(parse_size)]
Tls: TypeAlias = Annotated[Mapping[str, str] | None, AfterValidator(_all_files)]


class Local(Settings):
    """Settings of ``local[:N]``."""

    memory: Memory | None = None
    """Limit of one worker process; None: what the machine has, shared between them."""
    local_directory: str | None = None
    """Where workers spill; None: $TMPDIR or /tmp."""
    dashboard: str = LOCAL_DASHBOARD
    """Where the dashboard is served, HOST:PORT; it asks nobody for a password."""


class Running(Settings):
    """Settings of ``tcp://``, ``tls://`` and ``file:``."""

    timeout: float | None = Field(default=None, gt=0)
    """How long to wait for the file, for the scheduler and for its workers, s; None: 5, for a file 60."""
    workers: int = Field(default=1, ge=1)
    """How many workers to wait for."""
    patience: float = Field(default=30, gt=0)
    """How long a run goes on without any worker, s."""
    tls: Tls = None
    """Files of TLS (PEM): ca, cert and key; None: those of Dask's own configuration."""


def read_local(changes: Mapping[str, object] | None = None) -> Local:
    """Read settings at ``xpcs_dask.local``, with `changes` on top; `ConfigError` as `read_profile`."""
    return _read(Local, "local", changes)


def read_running(changes: Mapping[str, object] | None = None) -> Running:
    """Read settings at ``xpcs_dask.running``, with `changes` on top; `ConfigError` as `read_profile`."""
    return _read(Running, "running", changes)


def _read(model: Any, name: str, changes: Mapping[str, object] | None) -> Any:
    values, flags, known = section(name) or {}, flags_of(changes), list(model.model_fields)
    checked(values, known, f"configuration xpcs_dask.{name}", (name,))
    checked(flags, known, "cluster", None)
    if "tls" in known:
        values = {**values, "tls": {**(values.get("tls") or {}), **(flags.pop("tls", None) or {})} or None}
    return made(model, {**values, **flags}, flags, f"xpcs_dask.{name}", (name,))
