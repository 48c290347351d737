"""Where the work runs: threads, processes, a cluster of this machine or elsewhere, or jobs of a batch system."""

from xpcs_dask.cluster.connect import connect
from xpcs_dask.cluster.connection import Connection

__all__ = ["Connection", "connect"]
