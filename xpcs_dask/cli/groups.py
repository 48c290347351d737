"""A Dataset, or a DataTree with one group for each q-map and delay grid: the same to the verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import xarray as xr

    Results: TypeAlias = xr.Dataset | xr.DataTree


def groups(found: Results, holding: str) -> list[xr.Dataset]:
    """Every group of `found` that has the variable or coordinate `holding`."""
    return [data for data in _by_path(found).values() if holding in data.variables]


def _by_path(found: Results) -> dict[str, xr.Dataset]:
    import xarray as xr

    if isinstance(found, xr.DataTree):
        return {node.path: node.to_dataset(inherit=False) for node in found.subtree}
    return {"/": found}
