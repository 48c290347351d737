"""Every model of the catalogue is recovered from its curves, by the start that it has of its own."""

from __future__ import annotations

import lmfit
import numpy as np
import pytest
from scipy import stats

from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import MODELS, resolve

DELAY = np.geomspace(1e-3, 10, 50)
NOISE = 1e-3
RANGES = {
    "cumulant2": {"polydispersity": (0.05, 0.6)},
    "cumulant3": {"polydispersity": (0.1, 0.6), "asymmetry": (0.02, 0.3)},
    "schulz": {"polydispersity": (0.05, 1.5)},
    "ballistic": {},
    "levy": {"index": (1.1, 1.9)},
    "anomalous": {"alpha": (0.4, 1.8)},
    "shear": {"rate": (0.7, 20.0)},
    "poiseuille": {"rate": (1.0, 20.0)},
    "heterodyne": {"rate": (2.0, 30.0), "static": (0.1, 0.8)},
    "confined": {"stretch": (0.3, 0.9), "depth": (0.3, 4.0)},
    "arrested": {"stretch": (0.5, 1.8), "plateau": (0.1, 0.9)},
    "single+vibration": {"stretch": (0.5, 1.5), "amplitude": (0.05, 0.4), "frequency": (1.0, 20.0)},
    "simple+exposure=0.003": {},
}
PER_TIME = ("rate", "frequency")
"""Drawn in units of 1/tau, and kept well below what the first delay can follow."""
MODEST = {
    "cumulant2": {"polydispersity": 0.3},
    "cumulant3": {"polydispersity": 0.4, "asymmetry": 0.2},
    "schulz": {"polydispersity": 0.5},
    "levy": {"index": 1.5},
    "anomalous": {"alpha": 0.7},
    "shear": {"rate": 30.0},
    "poiseuille": {"rate": 60.0},
    "heterodyne": {"rate": 80.0, "static": 0.3},
    "confined": {"stretch": 0.6, "depth": 1.5},
    "arrested": {"stretch": 0.8, "plateau": 0.6},
    "single+vibration": {"stretch": 0.9, "amplitude": 0.2, "frequency": 30.0},
}


def test_every_model_is_here():
    assert set(MODELS) - {"simple", "single", "double"} <= set(RANGES)


def truths(name, n, seed=0):
    """Parameters (n, p) over all the ranges; relaxation times over two decades."""
    rng = np.random.default_rng(seed)
    model = resolve(name)
    tau = np.exp(rng.uniform(np.log(5e-3), 0, n))
    known = {"contrast": rng.uniform(0.1, 0.5, n), "tau": tau, "baseline": rng.uniform(0.98, 1.02, n)}
    lower, upper = model.box(DELAY)
    for parameter, (low, high) in RANGES[name].items():
        known[parameter] = np.exp(rng.uniform(np.log(low), np.log(high), n))
        if parameter in PER_TIME:
            known[parameter] = np.minimum(known[parameter] / tau, 0.9 * upper[model.index(parameter)])
    if lower[-1] == upper[-1] and model.names[-1] == "baseline":
        known["baseline"] = np.full(n, lower[-1])
    return np.stack([known[parameter] for parameter in model.names], axis=-1)


@pytest.mark.parametrize("name", RANGES)
def test_curves_without_noise_give_their_parameters(name):
    model, truth = resolve(name), truths(name, 40)
    found = fit_curves(DELAY, model.evaluate(DELAY, *truth.T[..., None]), NOISE, name)
    assert (found.status == Status.CONVERGED).all()
    error = np.abs(found.value / truth - 1).max(axis=1)
    assert (error < 1e-6).all(), truth[error >= 1e-6]


@pytest.mark.slow
@pytest.mark.parametrize("name", RANGES)
def test_pulls_are_normal(name):
    """Deviations over their standard errors, of 400 curves, on both sides."""
    model = resolve(name)
    modest = {"contrast": 0.3, "tau": 0.1, "baseline": 1.0, **MODEST.get(name, {})}
    truth = np.array([modest[parameter] for parameter in model.names])
    noise = NOISE * np.random.default_rng(5).normal(size=(400, DELAY.size))
    found = fit_curves(DELAY, model.evaluate(DELAY, *truth) + noise, NOISE, name)
    assert (found.status == Status.CONVERGED).all()
    lower, upper = model.box(DELAY)
    free = lower < upper
    pull = (found.value - truth)[:, free] / found.stderr[:, free]
    assert np.abs(pull.mean(axis=0)).max() < 0.25
    spread = pull.std(axis=0)
    assert ((spread > 0.9) & (spread < 1.1)).all(), spread
    outside = (np.abs(pull) > 1.96).mean(axis=0)
    assert ((outside > 0.02) & (outside < 0.09)).all(), outside
    assert stats.kstest(found.chi2, stats.chi2(DELAY.size - free.sum()).cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", RANGES)
def test_no_start_of_lmfit_finds_a_lower_minimum(name):
    """From the truth, with tight tolerances; and where both are in one minimum, it is the same one."""
    model, truth = resolve(name), truths(name, 4, seed=3)
    y = model.evaluate(DELAY, *truth.T[..., None])
    y = y + NOISE * np.random.default_rng(6).normal(size=y.shape)
    found = fit_curves(DELAY, y, NOISE, name)
    lower, upper = model.box(DELAY)
    for k in range(len(y)):
        parameters = lmfit.Parameters()
        for p, value, low, high in zip(model.names, truth[k], lower, upper, strict=True):
            parameters.add(p, value=value, min=low if low < high else -np.inf, max=high, vary=bool(low < high))

        def residuals(p, k=k):
            return (model.evaluate(DELAY, *(p[n].value for n in model.names)) - y[k]) / NOISE

        other = lmfit.minimize(
            residuals, parameters, method="least_squares", ftol=1e-15, xtol=1e-15, gtol=1e-15, x_scale="jac"
        )
        assert found.chi2[k] <= other.chisqr * (1 + 1e-8)
        if found.chi2[k] > other.chisqr * (1 - 1e-9) and not found.flags[k] & Flag.AT_BOUND:
            theirs = np.array([other.params[n].value for n in model.names])
            error = np.where(found.stderr[k] > 0, found.stderr[k], 1.0)
            assert (np.abs(found.value[k] - theirs) < 2e-3 * error).all()


@pytest.mark.parametrize("name", RANGES)
def test_curves_that_say_nothing_are_told(name):
    """Noise alone never passes for a measured decay; few points and none have a status."""
    model = resolve(name)
    y = 1.0 + NOISE * np.random.default_rng(7).normal(size=(3, DELAY.size))
    few = len(model.parameters) - 1 - (model.box(DELAY)[0] == model.box(DELAY)[1]).sum()
    y[1, few:] = np.nan
    y[2] = np.nan
    found = fit_curves(DELAY, y, NOISE, name)
    assert found.status[1:].tolist() == [Status.TOO_FEW_POINTS, Status.NO_DATA]
    assert np.isnan(found.value[1:]).all()
    doubted = found.flags[0] & (Flag.AT_BOUND | Flag.UNIDENTIFIABLE | Flag.STARTS_DISAGREE)
    weak = found.value[0, 0] < 4 * found.stderr[0, 0] or found.value[0, 0] < 5 * NOISE
    assert found.status[0] != Status.CONVERGED or doubted or weak


@pytest.mark.parametrize("name", ["shear", "poiseuille", "heterodyne"])
def test_without_flow_the_rate_is_none(name):
    """Where nothing moves, the rate is at its bound, or its error covers it."""
    y = MODELS["simple"].evaluate(DELAY, 0.3, 0.1, 1.0) + NOISE * np.random.default_rng(8).normal(size=(8, DELAY.size))
    found = fit_curves(DELAY, y, NOISE, name)
    assert (found.status == Status.CONVERGED).all()
    rate, error = found.value[:, 2], found.stderr[:, 2]
    other = MODELS[name].names.index("static") if name == "heterodyne" else 2
    nothing = (rate == 0) | ~(rate > 5 * error) | (found.value[:, other] < 5 * np.nan_to_num(found.stderr[:, other]))
    assert nothing.all()
