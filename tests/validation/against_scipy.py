"""Beside scipy: the minima of every curve of the producer's files, and certified values through `robust_curve_fit`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy
from scipy.optimize import curve_fit

from tests.conftest import CARRIED
from tests.fitting import nist
from tests.validation.against_viewer import model
from tests.validation.cases import calls, multitau_files, short
from tests.validation.table import Row
from xpcs_dask.toolkit import XpcsFile, robust_curve_fit, single_exp_all

SCIPY = f"scipy {scipy.__version__} curve_fit"
TIGHT = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14, "max_nfev": 2000}
DIGITS = 6
"""Digits that a fit of a certified problem must have."""


def minima(files: list[Path]) -> list[Row]:
    """Single fits: scipy from the bounds' middle and from our own minimum ends no lower."""
    total = above = 0
    errors, notes = [], []
    for path in files:
        xf = XpcsFile(path)
        q, t_el, *_ = xf.get_g2_data()
        call = dict(calls(t_el, q))["single"]
        found = np.asarray(xf.fit_g2(**call)["fit_val"])
        _, _, g2, stored, _ = xf.get_g2_data()
        sigma = xf.correct_g2_err(stored)
        bounds = np.array(call["bounds"])
        middle = bounds.mean(axis=0)
        middle[1] = np.sqrt(bounds[0, 1] * bounds[1, 1])
        for k in np.flatnonzero(np.isfinite(found[:, 0]).all(axis=1)):
            y, error = g2[:, k].astype(float), sigma[:, k].astype(float)

            def misfit(p, y=y, error=error, t=t_el):
                return float(np.sum(((y - model("single", t, np.atleast_2d(p))[:, 0]) / error) ** 2))

            ours = misfit(found[k, 0])
            best = np.inf
            for start in (middle, np.clip(found[k, 0], *bounds)):
                try:
                    p, covariance = curve_fit(
                        single_exp_all, t_el, y, start, error, bounds=bounds, x_scale="jac", **TIGHT
                    )
                except RuntimeError:
                    continue
                if misfit(p) < best:
                    best, spread = misfit(p), np.sqrt(np.diag(covariance))
            total += 1
            if ours > best * (1 + 1e-6):
                above += 1
                notes.append(f"{short(path)}, bin {k}: chi2 {ours / best - 1:+.1e} relative")
            elif abs(ours / best - 1) < 1e-9 and (found[k, 1] > 0).all() and (spread < found[k, 0]).all():
                errors.append(np.abs(found[k, 1] / spread - 1).max())
    off = float(np.median(errors))
    return [
        Row(
            "fit_g2 chi2: single, every bin",
            SCIPY,
            total,
            f"{above} above",
            "no bin above by 1e-6",
            above == 0,
            tuple(notes),
        ),
        Row(
            "standard errors in the same minimum",
            SCIPY,
            len(errors),
            f"median difference {off:.0e}",
            "1e-4",
            off < 1e-4,
        ),
    ]


def certified() -> list[Row]:
    """NIST's 27 problems from both starts through `robust_curve_fit`."""
    done = total = 0
    notes = []
    for path in sorted((CARRIED / "nist").glob("*.dat")):
        problem = nist.read(path)
        for k, start in enumerate(problem.starts):
            total += 1
            try:
                with np.errstate(all="ignore"):  # far from the minimum these functions overflow
                    value, _ = robust_curve_fit(problem.function, problem.x, problem.y, start)
            except RuntimeError as failure:
                notes.append(f"{problem.name}, start {k + 1}: {failure}")
                continue
            right = nist.digits(value[nist.arranged(problem, value)], problem.value)
            if right >= DIGITS:
                done += 1
            else:
                notes.append(f"{problem.name}, start {k + 1}: {right:.1f} digits")
    return [
        Row(
            "robust_curve_fit",
            "NIST StRD certified values",
            total,
            f"{done} to {DIGITS} digits",
            "all",
            done == total,
            tuple(notes),
        )
    ]


def rows() -> list[Row]:
    """Everything beside scipy and NIST."""
    return [*minima(multitau_files()), *certified()]
