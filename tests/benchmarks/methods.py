"""The ways to fit a stack of curves that the benchmark sets beside each other; each takes a set, returns parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.fitting.kernel.bench_sets import BenchSet, Floats
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.kernel.family import family_of
from xpcs_dask.fitting.models import Model

Fit = Callable[[BenchSet], Floats]
ROBUST_SCALE = 1.0


def middle(data: BenchSet) -> Floats:
    """Start of pyXpcsViewer: the middle of the box, of its logarithm for relaxation times."""
    times = relaxation_times(data.model)
    return np.where(times, np.sqrt(data.lower * data.upper), (data.lower + data.upper) / 2)


def relaxation_times(model: Model) -> NDArray[np.bool_]:
    """Which parameters are relaxation times."""
    return np.array([p.relaxation_time for p in model.parameters])


def curve_fit(jacobian: bool) -> Fit:
    """Fit with scipy.optimize.curve_fit (TRF), one curve at a time."""

    def run(data: BenchSet) -> Floats:
        from scipy.optimize import curve_fit as scipy_curve_fit

        start, found = middle(data), np.full((len(data.y), len(data.lower)), np.nan)
        jac = data.model.jacobian if jacobian else None
        for j, (y, sigma) in enumerate(zip(data.y, data.sigma, strict=True)):
            try:
                found[j] = scipy_curve_fit(
                    data.model.evaluate, data.x, y, start, sigma, True, bounds=(data.lower, data.upper), jac=jac
                )[0]
            except RuntimeError:  # too many evaluations: a failed fit
                continue
        return found

    return run


def robust_scipy(loss: str) -> Fit:
    """Fit with scipy.optimize.least_squares, exact Jacobian, middle start, robust loss."""

    def run(data: BenchSet) -> Floats:
        from scipy.optimize import least_squares

        found = np.empty((len(data.y), len(data.lower)))
        for j, (y, sigma) in enumerate(zip(data.y, data.sigma, strict=True)):
            found[j] = least_squares(
                lambda p, y=y, sigma=sigma: (y - data.model.evaluate(data.x, *p)) / sigma,
                middle(data),
                lambda p, sigma=sigma: -data.model.jacobian(data.x, *p) / sigma[:, None],
                (data.lower, data.upper),
                loss=loss,
                f_scale=ROBUST_SCALE,
            ).x
        return found

    return run


def lmfit_leastsq(data: BenchSet) -> Floats:
    """Fit with lmfit's Model, bounds by its own transformation."""
    import lmfit

    names = data.model.names
    model = lmfit.Model(data.model.evaluate, independent_vars=["x"], param_names=list(names))
    parameters = lmfit.Parameters()
    for name, value, low, high in zip(names, middle(data), data.lower, data.upper, strict=True):
        parameters.add(name, value, min=low, max=high)
    found = np.empty((len(data.y), len(names)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for j, (y, sigma) in enumerate(zip(data.y, data.sigma, strict=True)):
            found[j] = list(model.fit(y, parameters, x=data.x, weights=1 / sigma).best_values.values())
    return found


def xarray_curvefit(data: BenchSet) -> Floats:
    """Fit with xarray's Dataset.curvefit, which knows no errors per curve."""
    import xarray as xr

    names, start = data.model.names, middle(data)
    array = xr.DataArray(data.y, dims=("curve", "x"), coords={"x": data.x})
    result = array.curvefit(
        "x",
        data.model.evaluate,
        param_names=list(names),
        p0=dict(zip(names, start, strict=True)),
        bounds={n: (lo, hi) for n, lo, hi in zip(names, data.lower, data.upper, strict=True)},
        errors="ignore",
    )
    return result.curvefit_coefficients.values


def twin(data: BenchSet) -> Floats:
    """Fit with the NumPy twin."""
    from xpcs_dask.fitting.kernel.twin import run_twin

    family = family_of(data.model, data.lower, data.upper)
    z = run_twin(family, data.x, data.y, data.weight, None).z
    return np.where(relaxation_times(data.model), np.exp(z), z)


def compiled(search: str = "fast", loss: str = "linear") -> Fit:
    """Fit through the public call, covariance and flags included."""

    def run(data: BenchSet) -> Floats:
        bounds = {n: (lo, hi) for n, lo, hi in zip(data.model.names, data.lower, data.upper, strict=True)}
        found = fit_curves(
            data.x, data.y, data.sigma, data.model, bounds=bounds, search=search, loss=loss, loss_scale=ROBUST_SCALE
        )
        return found.value

    return run
