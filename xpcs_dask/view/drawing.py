"""Arrays to draw: one curve with its fit, band and residuals; one parameter of all q bins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import Floats, Model
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.plots.band import band
from xpcs_dask.plots.points import Fit, reasons
from xpcs_dask.prepare import known
from xpcs_dask.results import covariance_matrix
from xpcs_dask.view.refit import Refit

__all__ = ["Drawn", "Overview", "curve", "overview", "raw_curve"]

LINE = 240
"""Delays at which the fitted line is evaluated."""
MARGIN = 0.08
"""Of the height, beyond what is drawn."""
FAR = 1.0
"""Points that are not used may stretch the figure by this share of the height that the others need, each way."""
HAND, RANGE, OUTLIER = "excluded by hand", "outside the delay range", "outlier"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """One curve of m points, as it is drawn."""

    delay: Floats
    g2: Floats
    sigma: Floats
    """Error that weighs the point, else the quoted one, else NaN."""
    used: NDArray[np.bool_]
    why: tuple[str, ...]
    """Why a point is not used; empty where it is."""
    residual: Floats
    """(g2 - fit) / sigma; NaN where there is none."""
    line: tuple[Floats, Floats] = field(default_factory=lambda: (np.empty(0), np.empty(0)))
    """Delays and the fit."""
    band: tuple[Floats, Floats] = field(default_factory=lambda: (np.empty(0), np.empty(0)))
    """Lower and upper edge of the confidence band at the delays of the line; empty if nothing tells."""
    fitted: Fit | None = None

    @property
    def height(self) -> tuple[float, float]:
        """From where to where g2 is drawn: all that is used, and of the rest what is not far off."""
        lower, upper = self.g2 - np.nan_to_num(self.sigma), self.g2 + np.nan_to_num(self.sigma)
        shown = np.concatenate([lower[self.used], upper[self.used], self.line[1]])
        rest = self.g2[~self.used & np.isfinite(self.g2)]
        shown = shown[np.isfinite(shown)] if np.isfinite(shown).any() else rest
        if not shown.size:
            return 0.9, 1.5
        low, high = float(shown.min()), float(shown.max())
        span = (high - low) or 0.1
        near = rest[(rest > low - FAR * span) & (rest < high + FAR * span)]
        inside = [np.clip(edge, low - span / 2, high + span / 2) for edge in self.band]
        near = np.concatenate([near, *inside])
        low, high = min(low, near.min(initial=np.inf)), max(high, near.max(initial=-np.inf))
        return float(low - MARGIN * span), float(high + MARGIN * span)

    @property
    def beyond(self) -> int:
        """Points that the figure does not show at first, for they are far off."""
        low, high = self.height
        return int(np.count_nonzero((self.g2 < low) | (self.g2 > high)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overview:
    """One parameter over all q bins; NaN where a bin has no fit."""

    q: Floats
    """1/angstrom, or the number of the bin where q is not known."""
    axis: str
    value: Floats
    low: Floats
    high: Floats
    """Find the ends of the interval, else one standard error; NaN where there is none."""
    stored: Floats
    """Values in the store."""
    unit: str
    phi: Floats


def raw_curve(curves: xr.Dataset, bin_: int) -> Drawn:
    """One curve without a fit."""
    one = curves.isel(qbin=bin_)
    g2 = one["g2"].values.astype(np.float64)
    return Drawn(
        delay=known(one["delay"]).astype(np.float64),
        g2=g2,
        sigma=_quoted(one),
        used=np.isfinite(g2),
        why=("",) * g2.size,
        residual=np.full(g2.size, np.nan),
    )


def curve(curves: xr.Dataset, found: Refit, bin_: int, level: float) -> Drawn:
    """One curve with its fit.

    Parameters
    ----------
    curves : xarray.Dataset
        (qbin, delay) with all points, those excluded by hand too.
    found : Refit
    bin_ : int
        Position of the q bin in `curves`.
    level : float
        Of the confidence band, which holds at each delay by itself.
    """
    raw = raw_curve(curves, bin_)
    own, weights = _of_bin(found.results, curves, bin_), _of_bin(found.points, curves, bin_)
    if own is None or weights is None:
        return _unused(raw, "the q bin is outside the q range")
    inside = np.isin(raw.delay, known(weights["delay"]))
    sigma, bits = np.full(raw.delay.size, np.nan), np.zeros(raw.delay.size, np.int64)
    bits[inside] = own["quality"].values
    sigma[inside] = weights["sigma"].values * _scale(own, found)
    used = inside & ((bits & int(PointFlag.NOT_USED)) == 0) & np.isfinite(sigma)
    why = tuple(
        "" if used[k] else _why((bin_, k) in found.excluded, bool(inside[k]), int(bits[k])) for k in range(used.size)
    )
    errors = np.where(used, sigma, raw.sigma)
    fitted = _fit(own, found.choices.record)
    if fitted is None:
        return Drawn(delay=raw.delay, g2=raw.g2, sigma=errors, used=used, why=why, residual=raw.residual)
    residual = np.where(used, (raw.g2 - fitted(raw.delay)) / np.where(used, sigma, 1.0), np.nan)
    grid = _grid(raw.delay[used])
    edges = band(fitted, grid, level)
    return Drawn(
        delay=raw.delay,
        g2=raw.g2,
        sigma=errors,
        used=used,
        why=why,
        residual=residual,
        line=(grid, fitted(grid)),
        band=edges[:2] if edges else (np.empty(0), np.empty(0)),
        fitted=fitted,
    )


def overview(results: xr.Dataset | None, stored: xr.Dataset | None, curves: xr.Dataset, name: str) -> Overview:
    """One parameter of all bins of `curves` (anything with a dimension qbin): of a fit, and of the store."""
    labels = known(curves["qbin"]) if "qbin" in curves.coords else np.arange(curves.sizes["qbin"])
    q, axis = labels.astype(np.float64), "number of the q bin"
    if "q" in curves.coords and np.isfinite(known(curves["q"])).all():
        q, axis = known(curves["q"]).astype(np.float64), "q (1/Å)"
    nothing = np.full(q.size, np.nan)
    value, low, high, unit = nothing, nothing, nothing, "1"
    shown = stored if results is None else results
    if shown is not None and name in shown["parameter"].values:
        unit = str(shown["unit"].sel(parameter=name).item())
        value = _spread(shown["value"].sel(parameter=name), labels)
        low, high = _ends(shown.sel(parameter=name), value, labels)
    there = stored is not None and name in stored["parameter"].values
    before = _spread(stored["value"].sel(parameter=name), labels) if stored is not None and there else nothing
    phi = known(curves["phi"]).astype(np.float64) if "phi" in curves.coords else nothing
    return Overview(q=q, axis=axis, value=value, low=low, high=high, stored=before, unit=unit, phi=phi)


def _ends(shown: xr.Dataset, value: Floats, labels: Any) -> tuple[Floats, Floats]:
    """Find the ends of the interval of one parameter, or one standard error where it has none."""
    error = _spread(shown["stderr"], labels)
    low, high = value - error, value + error
    if "interval" in shown:
        ends = [_spread(shown["interval"].sel(bound=end), labels) for end in ("lower", "upper")]
        low, high = (np.where(np.isfinite(end), end, plain) for end, plain in zip(ends, (low, high), strict=True))
    return low, high


def _spread(values: xr.DataArray, labels: Any) -> Floats:
    """Values by the labels of bins; NaN where a bin is not among those of the results."""
    if "qbin" not in values.coords:
        return values.values.astype(np.float64)
    return values.reindex(qbin=labels).values.astype(np.float64)


def _of_bin(results: xr.Dataset, curves: xr.Dataset, bin_: int) -> xr.Dataset | None:
    """Results of one bin, found by its label; None if it was not fitted."""
    if "qbin" not in curves.coords:
        return results.isel(qbin=bin_)
    place = np.flatnonzero(known(results["qbin"]) == known(curves["qbin"])[bin_])
    return results.isel(qbin=int(place[0])) if place.size else None


def _quoted(one: xr.Dataset) -> Floats:
    """Errors as the file has them; NaN where it has none."""
    if "g2_err" not in one:
        return np.full(one["delay"].size, np.nan)
    found = one["g2_err"].values.astype(np.float64)
    return np.where(np.isfinite(found) & (found > 0), found, np.nan)


def _scale(own: xr.Dataset, found: Refit) -> float:
    """Errors that are only relative get the size that the residuals tell."""
    dof = int(own["dof"])
    if found.config.errors != "none" and found.config.absolute_sigma:
        return 1.0
    return float(np.sqrt(float(own["chi2"]) / dof)) if dof > 0 else float("nan")


def _why(by_hand: bool, inside: bool, bits: int) -> str:
    if by_hand:
        return HAND
    if not inside:
        return RANGE
    return ", ".join(reasons(bits)) or "not used"


def _unused(raw: Drawn, why: str) -> Drawn:
    return Drawn(
        delay=raw.delay,
        g2=raw.g2,
        sigma=raw.sigma,
        used=np.zeros(raw.delay.size, np.bool_),
        why=(why,) * raw.delay.size,
        residual=raw.residual,
    )


def _fit(own: xr.Dataset, record: Model) -> Fit | None:
    if int(own["status"]) != Status.CONVERGED:
        return None
    return Fit(
        model=record,
        value=own["value"].values.astype(np.float64),
        covariance=covariance_matrix(own).values if "covariance" in own else None,
        dof=float(own["errors_dof"]),
        replicates=None,
    )


def _grid(delay: Floats) -> Floats:
    """Delays of the line: from the first to the last that is used, evenly in their logarithm."""
    positive = delay[delay > 0]
    return np.geomspace(positive.min(), positive.max(), LINE) if positive.size else np.empty(0)
