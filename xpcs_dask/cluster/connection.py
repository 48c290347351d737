"""Where Dask runs what is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from xpcs_dask.errors import ConfigError
from xpcs_dask.readable import card

__all__ = ["LOCAL_DASHBOARD", "ONE_THREAD", "QUIET", "Connection", "Kind"]

Kind: TypeAlias = Literal["sync", "threads", "processes", "local", "address", "file", "slurm", "pbs"]

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables that are 1 in worker processes, of which there are as many as there are cores to use."""

QUIET = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "500ms"}
"""Settings of workers that are started here: a stack sampled 100 times a second costs a worker 2 % of its time."""

LOCAL_DASHBOARD = "127.0.0.1:0"
"""The dashboard asks nobody for a password, so it is not for other machines; any free port."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where Dask runs what is computed inside the ``with`` block."""

    kind: Kind
    workers: int | None
    """How many were asked for; None: as many as there are cores, or as the cluster has."""
    address: str = ""
    """Of the scheduler; before the connection is made, of a file that holds it."""
    client: Any | None = None
    """A `distributed.Client`, or None for the schedulers inside this process."""

    @property
    def remote(self) -> bool:
        """Whether the workers may be on other machines."""
        return self.kind in ("address", "file", "slurm", "pbs")

    @property
    def dashboard_link(self) -> str:
        """Where a browser sees the dashboard of the cluster; empty where there is none.

        The address follows Dask's setting ``distributed.dashboard.link``, such as
        ``"{JUPYTERHUB_SERVICE_PREFIX}proxy/{port}/status"`` behind jupyter-server-proxy; raises `ConfigError` if that
        names what the environment does not have.
        """
        try:
            return (self.client.dashboard_link or "") if self.client is not None else ""
        except KeyError as error:
            raise ConfigError(
                f"Dask's setting distributed.dashboard.link names {error}, which the environment does not have; "
                "set that variable or change the setting"
            ) from None

    def __repr__(self) -> str:
        where = f" at {self.address}" if self.address else ""
        workers = f", {self.workers} workers" if self.workers else ""
        return f"<Connection to {self.kind}{workers}{where}>"

    def _repr_html_(self) -> str:
        try:
            link = self.dashboard_link
        except ConfigError as error:
            link = str(error)
        rows = {"workers": self.workers, "scheduler": self.address, "dashboard": link}
        return card(f"Connection to {self.kind}", rows)
