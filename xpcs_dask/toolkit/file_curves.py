"""The curves of a file that a call asks for, as arrays and as a Dataset with all that the file tells of their noise."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.errors import XpcsError
from xpcs_dask.toolkit.robust_fits import plain_dataset

__all__ = ["Curves", "dataset_of", "select_curves"]

logger = logging.getLogger(__name__)

TOLD = ("level", "n_products", "n_pixels", "rate", "runs", "frames", "frame_time", "stride", "average", "error_kind")
"""Coordinates of an opened file that weights and errors rest on."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Curves of chosen bins and delays; errors as they are stored."""

    q_val: NDArray[np.float64]
    t_el: NDArray[np.float64]
    g2: NDArray[Any]
    g2_err: NDArray[Any]
    """(nt, nq)"""
    label: list[str]
    delays: NDArray[np.bool_]
    """Which delays of the file these are."""


def select_curves(xf: Any, q_range: Any = None, t_range: Any = None) -> tuple[Curves, NDArray[Any]]:
    """Curves in closed ranges of q and delay, and the errors (all delays, nq) of their bins."""
    q_val, t_el, g2, g2_err, label = xf.get_g2_data(qrange=q_range)
    t_el = np.asarray(t_el, dtype=np.float64)
    keep = np.ones(t_el.size, dtype=bool)
    if t_range is not None:
        keep = (t_el >= t_range[0]) & (t_el <= t_range[1])
        if not keep.any():
            raise ValueError(
                f"t_range [{t_range[0]:g}, {t_range[1]:g}] s holds no delay; they go from {t_el.min():g} to "
                f"{t_el.max():g} s"
            )
    chosen = Curves(np.asarray(q_val, dtype=np.float64), t_el[keep], g2[keep], g2_err[keep], list(label), keep)
    return chosen, g2_err


def dataset_of(xf: Any, curves: Curves) -> xr.Dataset:
    """Curves as `xpcs_dask.fit` takes them; counts and products come along if the file of `xf` tells them."""
    identity = np.arange(len(curves.label), dtype=np.uint64)
    data = plain_dataset(curves.t_el, curves.g2, curves.g2_err, identity)
    return data.assign_coords(_told(xf, curves))


def _told(xf: Any, curves: Curves) -> dict[str, xr.Variable]:
    """Return what the file says of counts; nothing where the bins of `xf` are not those of the file."""
    if not hasattr(type(xf), "dataset"):
        return {}
    try:
        opened = xf.dataset.isel(file=0)
        everything = list(xf.get_g2_data()[4])
    except (XpcsError, ValueError) as error:
        logger.info("%s tells nothing of its counts: %s", xf.fname, error)
        return {}
    if opened.sizes["delay"] != curves.delays.size or opened.sizes["qbin"] != len(everything):
        return {}
    place = {label: k for k, label in enumerate(everything)}
    bins = [place[label] for label in curves.label]
    known = opened.coords.to_dataset().isel(delay=np.flatnonzero(curves.delays), qbin=bins)
    return {name: known[name].variable.compute() for name in (*TOLD, "curve_id") if name in known.coords}
