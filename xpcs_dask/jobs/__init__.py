"""The whole job as one function: files in, a store and its manifest out."""

from xpcs_dask.jobs.config_file import read_config
from xpcs_dask.jobs.job import carry_out, run
from xpcs_dask.jobs.manifest import Manifest

__all__ = ["Manifest", "carry_out", "read_config", "run"]
