"""tau(q) on top of a fit of g2, and what a fit found in words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.layout import Status, flag_names
from xpcs_dask.fitting.models import Model, Parameter
from xpcs_dask.physics.law_record import fit_laws
from xpcs_dask.physics.laws import LAWS
from xpcs_dask.physics.used_bins import DISTRUSTED, bits_of
from xpcs_dask.toolkit.fit_records import FitTable, LineRecord, Record
from xpcs_dask.toolkit.models import power_law

__all__ = ["fit_tauq", "get_fitting_info"]

Floats = NDArray[np.float64]

LEVEL = 0.95
FEWEST = 3
"""Bins that must be left before those that their flags distrust are left out."""
PREFIX = {"single": ("a", "b", "c", "d"), "double": ("a", "b", "c", "d", "b2", "c2", "f")}


def _line(x: Floats, amplitude: Any, exponent: Any) -> Any:
    return amplitude + exponent * x


LINE = Model(
    name="line",
    formula="ln a + b ln q",
    parameters=(Parameter(name="amplitude"), Parameter(name="exponent")),
    evaluate=_line,
)


def fit_tauq(xf: Any, q_range: Any, bounds: Any, fit_flag: Any) -> Record | None:
    """Fit ``tau = a q**b`` to the relaxation times of the last fit of g2.

    Parameters
    ----------
    xf : XpcsFile
        Or anything with its `fit_summary`.
    q_range : (float, float)
        Closed range of q in 1/angstrom; None for all bins.
    bounds : (lower, upper)
        Of a and b; None for none.
    fit_flag : sequence of bool
        False holds a or b at its UPPER bound; None fits both.

    Returns
    -------
    Record or None
        The summary with ``tauq_success, tauq_q, tauq_tau, tauq_tau_err, tauq_fit_line, tauq_fit_val``, the latter
        ``[[a, b], [error of a, error of b]]``; None if g2 was not fitted, or no bin in the range has a relaxation time
        with an error (then ``tauq_success`` is False).

    Notes
    -----
    The fit is that of ln tau with the weights (tau / error)^2, the same as `xpcs_dask.dispersion` does; errors are
    enlarged by the root of chi2/dof where the bins scatter more than they tell. Bins whose flags say that their tau is
    not to be believed (no signal, at a bound, ...) are left out if three others remain; ``tauq_fit_line["msg"]`` says
    how many. Of double fits the first relaxation time is taken.
    """
    summary = xf.fit_summary
    if summary is None:
        return None
    q, tau, error, told = _bins(summary, q_range)
    for name in [name for name in summary if name.startswith("tauq_")]:
        del summary[name]  # a law of other bins must not be taken for that of these
    if not q.size:
        summary["tauq_success"] = False
        return None
    value, stderr, message = _power(q, tau, error, bounds, fit_flag)
    success = not message
    fit_x = np.logspace(np.log10(q.min() / 1.1), np.log10(q.max() * 1.1), 128)
    summary["tauq_success"] = success
    summary["tauq_q"], summary["tauq_tau"], summary["tauq_tau_err"] = q, tau, error
    summary["tauq_fit_line"] = LineRecord(
        fit_x=fit_x,
        fit_y=power_law(fit_x, *value) if success else None,
        success=success,
        msg=(message or "FittingSuccess") + told,
    )
    summary["tauq_fit_val"] = np.array([value, stderr])
    found: Record = summary
    return found


def get_fitting_info(xf: Any, mode: str = "g2_fitting") -> Any:
    """Say what the last fit found, as texts.

    Parameters
    ----------
    xf : XpcsFile
        Or anything with its `fit_summary` and `label`.
    mode : {"g2_fitting", "tauq_fitting"}

    Returns
    -------
    Record or str
        The summary without its lines, ``fit_val`` as one text a bin; or one text.
    """
    if mode not in ("g2_fitting", "tauq_fitting"):
        raise ValueError(f"mode {mode!r} is not supported; give 'g2_fitting' or 'tauq_fitting'")
    summary = xf.fit_summary
    if summary is None:
        return f"fitting is not ready for {xf.label}"
    if mode == "tauq_fitting":
        if "tauq_fit_val" not in summary:
            return "tauq fitting is not available"
        (a, b), (a_err, b_err) = summary["tauq_fit_val"]
        return f"a = {a:e} ± {a_err:e}; b = {b:f} ± {b_err:f}"
    told = summary.copy()
    told.pop("fit_line", None)
    names = PREFIX[summary["fit_func"]]
    bins = np.asarray(summary["fit_val"])
    told["fit_val"] = np.array(
        [
            ", ".join(f"{name} = {value:f} ± {error:f}" for name, value, error in zip(names, *pair, strict=True))
            for pair in bins
        ]
    )
    return told


def _bins(summary: Any, q_range: Any) -> tuple[Floats, Floats, Floats, str]:
    """q, tau and its error of the bins to use, and what is to be said of others."""
    q = np.asarray(summary["q_val"], dtype=np.float64)
    pairs = np.asarray(summary["fit_val"])[:, :, 1]
    tau, error = pairs[:, 0], pairs[:, 1]
    with np.errstate(invalid="ignore"):
        use = (tau > 0) & (error > 0) & np.isfinite(tau) & np.isfinite(error) & (q > 0)
        if q_range is not None:
            use &= (q >= q_range[0]) & (q <= q_range[1])
    flags = _flags(summary["fit_val"], q.size)
    doubtful = use & ((flags & bits_of(DISTRUSTED)) > 0)
    told = ""
    if doubtful.any() and (use & ~doubtful).sum() >= FEWEST:
        names = Counter(name for k in np.flatnonzero(doubtful) for name in flag_names(flags[k] & bits_of(DISTRUSTED)))
        why = ", ".join(f"{name} ({count})" for name, count in names.most_common())
        told = f"; {doubtful.sum()} of {use.sum()} bins were left out: {why}"
        use &= ~doubtful
    return q[use], tau[use], error[use], told


def _flags(fit_val: Any, count: int) -> NDArray[np.uint32]:
    table = getattr(fit_val, "table", None)
    found = table.diagnostics.get("flags") if isinstance(table, FitTable) else None
    return np.zeros(count, np.uint32) if found is None else np.asarray(found, dtype=np.uint32)


def _power(q: Floats, tau: Floats, error: Floats, bounds: Any, fit_flag: Any) -> tuple[Floats, Floats, str]:
    """Values and errors of a and b, and why there are none."""
    limits = np.array([[0.0, -np.inf], [np.inf, np.inf]] if bounds is None else bounds, dtype=np.float64)
    flags = np.array([True, True] if fit_flag is None else fit_flag, dtype=bool)
    if limits.shape != (2, 2) or flags.shape != (2,):
        raise ConfigError("bounds are (lower, upper) of a and b, and fit_flag one bool for each of them")
    if flags.all():
        one = np.zeros_like(q)
        used = np.ones((1, q.size), dtype=bool)
        found = fit_laws(tau[None], error[None], q[None], one[None], used, LAWS["power"], LEVEL)[0]
        value, stderr = found["value"] * (1, -1), found["stderr"]
        if np.isfinite(value).all() and ((value >= limits[0]) & (value <= limits[1])).all():
            return value, stderr, ""
    return _bounded(q, tau, error, limits, flags)


def _bounded(q: Floats, tau: Floats, error: Floats, limits: Floats, flags: NDArray[Any]) -> tuple[Floats, Floats, str]:
    """Fit the straight line of logarithms in a box, or with one of its parameters held."""
    box = limits.copy()
    with np.errstate(divide="ignore"):
        box[:, 0] = np.log(np.maximum(box[:, 0], 0.0))
    names = LINE.names
    held = {name: box[1, k] for k, name in enumerate(names) if not flags[k]}
    free = {name: (box[0, k], box[1, k]) for k, name in enumerate(names) if flags[k]}
    fits = fit_curves(np.log(q), np.log(tau), error / tau, LINE, bounds=free, fixed=held)
    if fits.status != Status.CONVERGED:
        unknown = np.array([np.nan, np.nan])
        return unknown, np.array([-1.0, -1.0]), f"Fitting failed: {q.size} bins, {int(flags.sum())} free parameters"
    wide = np.sqrt(max(1.0, float(fits.chi2) / max(int(fits.dof), 1)))
    amplitude = np.exp(fits.value[0])
    scale = np.array([amplitude, 1.0])
    return np.array([amplitude, fits.value[1]]), wide * fits.stderr * scale, ""
