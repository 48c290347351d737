"""Where the work runs: threads, processes, a cluster of this machine, or one that is already running."""

from xpcs_dask.cluster.connect import Connection, connect

__all__ = ["Connection", "connect"]
