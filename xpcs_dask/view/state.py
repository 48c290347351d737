"""What is known of the curve that is shown, in words and numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xpcs_dask.fitting.layout import Status
from xpcs_dask.prepare import known
from xpcs_dask.view.refit import Refit

__all__ = ["REFIT", "STORE", "UNREAD", "UNSTORED", "Line", "State", "disagreement", "goodness", "lines_of"]

AGREE = 1e-6
"""Difference, in standard errors, below which two fits of the same curve are the same."""
STORE, REFIT, UNSTORED, UNREAD = "of the store", "refit, not in the store", "fit, not stored", "no fit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One parameter of one curve."""

    name: str
    unit: str
    value: float
    stderr: float
    low: float
    high: float
    stored: float
    """In the store; NaN where there is none."""
    held: bool
    no_error: bool
    """Free, but on its bound or not told by the data."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """All that is known of the curve that is shown, in words and numbers."""

    source: str
    """One of `STORE`, `REFIT`, `UNSTORED`, `UNREAD`."""
    notes: tuple[str, ...]
    """What is missing, or does not agree."""
    status: str = ""
    flags: tuple[tuple[str, bool], ...] = ()
    """Sentences, and whether each asks for distrust."""
    lines: tuple[Line, ...] = ()
    goodness: str = ""
    rests_on: str = ""


def lines_of(own: xr.Dataset, before: xr.Dataset | None, held: Collection[str]) -> Iterator[Line]:
    """One line a parameter of one curve; `before` are its results in the store, if something else is shown."""
    ok = int(own["status"]) == Status.CONVERGED
    for k, name in enumerate(map(str, own["parameter"].values)):
        ends = own["interval"].values[k] if "interval" in own else np.full(2, np.nan)
        there = before is not None and name in before["parameter"].values
        error = float(own["stderr"].values[k])
        yield Line(
            name=name,
            unit=str(own["unit"].values[k]),
            value=float(own["value"].values[k]),
            stderr=error,
            low=float(ends[0]),
            high=float(ends[1]),
            stored=float(before["value"].sel(parameter=name)) if before is not None and there else float("nan"),
            held=name in held or error == 0.0,  # some models hold a parameter by their own bounds
            no_error=bool(ok and name not in held and np.isnan(error)),
        )


def disagreement(stored: xr.Dataset, found: Refit) -> str:
    """Say how far a fit with the settings of the store is from what is in it; empty where they agree."""
    ours = found.results
    if "qbin" in stored.coords and "qbin" in ours.coords:
        ours = ours.reindex(qbin=known(stored["qbin"]))
    if list(ours["parameter"].values) != list(stored["parameter"].values):
        return "The store has other parameters than its model has now: another version of this package wrote it."
    there, here = stored["value"].values, ours["value"].values
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(there - here) / np.where(
            ours["stderr"].values > 0, ours["stderr"].values, np.abs(there) + 1e-300
        )
    if (np.isnan(there) != np.isnan(here)).any():
        return "A fit with the settings of the store does not give what it holds: other versions or another machine."
    worst = float(np.nanmax(apart, initial=0.0))
    if worst <= AGREE:
        return ""
    return (
        f"A fit with the settings of the store differs from what it holds by up to {worst:.2g} standard errors: "
        "other versions, another machine, or more search. Band and residuals are of the fit made here."
    )


def goodness(own: xr.Dataset) -> str:
    """Chi2, degrees of freedom and points, in one line."""
    chi2, dof = float(own["chi2"]), int(own["dof"])
    if not np.isfinite(chi2) or dof <= 0:
        return f"{int(own['n_used'])} points used"
    return f"chi2/dof = {chi2:.4g}/{dof} = {chi2 / dof:.3g}; {int(own['n_used'])} points used"
