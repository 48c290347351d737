"""Results of a store to the bit, for runs that must give the same ones."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

import xpcs_dask as xd


def contents(path: Path | str) -> dict[str, tuple[str, bytes]]:
    """Type and bytes of every variable of a store, by group and name."""
    found = xd.open_results(path)
    nodes = found.subtree if isinstance(found, xr.DataTree) else [found]
    held = {}
    for number, node in enumerate(nodes):
        for name, variable in node.variables.items():
            values = variable.to_numpy()
            text = values.astype(str) if values.dtype == object else values
            held[f"{number}:{name}"] = str(values.dtype), text.tobytes()
    return held
