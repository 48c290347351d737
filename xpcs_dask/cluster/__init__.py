"""Where the work runs: threads, processes, a cluster of this machine, or one that is already running."""

from xpcs_dask.cluster.connect import Connection, connect, finished_keys

__all__ = ["Connection", "connect", "finished_keys"]
