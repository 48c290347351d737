"""Counts of a result: what a report or a command line says first."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.fitting.layout import Flag, Rung, Status

Codes: TypeAlias = NDArray[np.integer]


def summary(results: xr.Dataset | xr.DataTree) -> dict[str, Any]:
    """Count how the fits ended; computes status, rung and flags if they are lazy.

    Returns
    -------
    dict
        ``curves``, ``ok`` (converged), ``failed`` (the rest), ``flagged``, and ``status_counts``, ``rung_counts``,
        ``flag_counts`` by lower-case name (all names, also those that do not occur). ``flagged`` counts the converged
        curves with any flag but ``points_excluded``: that one says that the rules of the weights were applied, which
        in real files is nearly everywhere.
    """
    nodes = results.subtree if isinstance(results, xr.DataTree) else [results]
    codes = [node[["status", "rung", "flags"]] for node in map(_dataset, nodes) if "status" in node]
    loaded = [part.compute() for part in codes]
    status, rung, flags = (
        np.concatenate([part[name].values.reshape(-1) for part in loaded]) if loaded else np.zeros(0, dtype=np.int64)
        for name in ("status", "rung", "flags")
    )
    return count(status, rung, flags)


def count(status: Codes, rung: Codes, flags: Codes) -> dict[str, Any]:
    """`summary` of codes (n,) that are there."""
    ok = status == Status.CONVERGED
    doubtful = (flags & ~flags.dtype.type(Flag.POINTS_EXCLUDED)) != 0
    bits = flags.dtype.type
    return {
        "curves": int(status.size),
        "ok": int(np.count_nonzero(ok)),
        "failed": int(np.count_nonzero(~ok)),
        "flagged": int(np.count_nonzero(ok & doubtful)),
        "status_counts": _counts(status, Status),
        "rung_counts": _counts(rung, Rung),
        "flag_counts": {str(flag.name).lower(): int(np.count_nonzero(flags & bits(flag))) for flag in Flag},
    }


def _dataset(node: xr.Dataset | xr.DataTree) -> xr.Dataset:
    return node.to_dataset() if isinstance(node, xr.DataTree) else node


def _counts(codes: Any, kind: type[IntEnum]) -> dict[str, int]:
    return {member.name.lower(): int(np.count_nonzero(codes == member)) for member in kind}
