"""Motions that are a stretched decay by another name: averages over velocities, and the compiled kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import levy_stable

import xpcs_dask as xd
from tests.fitting.test_gls import Case
from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.candidates import candidates, nested
from xpcs_dask.fitting.clusters import influences
from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.layout import ErrorsFrom, Rung
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.fitting.profile import profile_intervals
from xpcs_dask.fitting.replicates import replicates
from xpcs_dask.fitting.strategy import fit_stack

CONFIG = FitConfig()
DELAY = np.geomspace(1e-3, 3, 48)
ALONE = {"family": "", "held": (), "kernel_time": 1.0}
"""Changes that make a model one that no kernel knows."""
THETA = {"ballistic": [0.2, 0.08, 1.0], "levy": [0.2, 0.08, 1.4, 1.0], "anomalous": [0.2, 0.08, 0.6, 1.0]}


def curves(name, n=40, noise=1e-3, seed=0):
    clean = MODELS[name].evaluate(DELAY, *THETA[name])
    return clean + noise * np.random.default_rng(seed).normal(size=(n, DELAY.size))


def test_ballistic_is_an_average_over_gaussian_velocities():
    q, v = 3.0, 4.0
    for t in (0.0, 0.01, 0.1, 0.2):
        g1 = quad(lambda u, t=t: np.cos(q * u * t) * np.exp(-0.5 * (u / v) ** 2) / np.sqrt(2 * np.pi) / v, -60, 60)[0]
        found = MODELS["ballistic"].evaluate(np.array([t]), 1.0, 1 / (q * v), 0.0)[0]
        assert found == pytest.approx(g1**2, rel=1e-7)


@pytest.mark.parametrize("index", [1.0, 1.5, 2.0])
def test_levy_is_an_average_over_stable_velocities(index):
    """The mean of cos(q u t) over a symmetric stable distribution of scale V."""
    q, scale = 3.0, 4.0
    density = levy_stable(index, 0.0, scale=scale).pdf
    for t in (0.02, 0.1):
        half = quad(density, 0, np.inf, weight="cos", wvar=q * t, limlst=200)[0] if index > 1 else None
        if half is None:  # Cauchy's density is known
            half = quad(lambda u: scale / np.pi / (u**2 + scale**2), 0, np.inf, weight="cos", wvar=q * t)[0]
        found = MODELS["levy"].evaluate(np.array([t]), 1.0, 1 / (q * scale), index, 0.0)[0]
        assert found == pytest.approx((2 * half) ** 2, rel=2e-4)


@pytest.mark.parametrize("name", THETA)
def test_the_compiled_kernel_and_scipy_end_at_the_same_minimum(name):
    y = curves(name)
    fast = fit_curves(DELAY, y, 1e-3, name)
    slow = fit_curves(DELAY, y, 1e-3, replace(MODELS[name], **ALONE))
    assert (fast.rung <= Rung.TWIN).all()
    assert (slow.rung > Rung.TWIN).all()
    np.testing.assert_allclose(fast.value, slow.value, rtol=1e-7)
    np.testing.assert_allclose(fast.stderr, slow.stderr, rtol=1e-5)
    np.testing.assert_allclose(fast.chi2, slow.chi2, rtol=1e-10)


@pytest.mark.parametrize("covariance", ["wald", "hc3"])
def test_errors_of_the_kernel_are_those_of_any_model(covariance):
    y = curves("ballistic", 5)
    fast = fit_curves(DELAY, y, 1e-3, "ballistic", covariance=covariance)
    slow = fit_curves(DELAY, y, 1e-3, replace(MODELS["ballistic"], **ALONE), covariance=covariance)
    np.testing.assert_allclose(fast.covariance, slow.covariance, rtol=1e-5, atol=1e-18)


def both(name="ballistic", n=4):
    """What fits with and without the kernel are given beside their model, which comes first."""
    y = curves(name, n)
    weight = np.full(y.shape, 1e3)
    for model in (MODELS[name], replace(MODELS[name], **ALONE)):
        box = model.box(DELAY)
        rows = fit_stack(DELAY, y, weight, model, CONFIG, *box)
        yield rows, DELAY, y, weight, model, box


def test_profile_intervals():
    found = [profile_intervals(rows, x, y, w, model, CONFIG, *box, 0.95) for rows, x, y, w, model, box in both()]
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)


def test_influences_of_clusters():
    clusters = 1.0 + 0.1 * np.random.default_rng(5).normal(size=(4, 12, DELAY.size))
    found = [influences(rows, x, y, w, model, *box, clusters)[0] for rows, x, y, w, model, box in both()]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("scheme", ["residual", "pairs"])
def test_replicates(scheme):
    ids = np.arange(4, dtype=np.uint64)
    found = [
        replicates(x, y, w, model, CONFIG, *box, rows, scheme, ids, 7, 0, 5) for rows, x, y, w, model, box in both()
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


def test_generalised_least_squares():
    """The kernel's own model with the same exponent, whose relaxation time is the root of two times as long."""
    data = speckle_like()
    one = Case(data, "ballistic")
    other = Case(data, "single", fixed={"stretch": 2.0})
    a, b = one.gls(), other.gls()
    np.testing.assert_allclose(a["value"][:, 1] * 2**0.5, b["value"][:, 1], rtol=1e-7)
    np.testing.assert_allclose(a["stderr"][:, 1] * 2**0.5, b["stderr"][:, 1], rtol=1e-6)
    np.testing.assert_allclose(a["chi2"], b["chi2"], rtol=1e-9)
    assert (a["errors_from"] == ErrorsFrom.GLS).all()


def speckle_like():
    return xd.simulate.curves(
        4, q=[0.01], model="single", stretch=1.9, diffusion=1e6, contrast=0.3, frames=20_000, frame_time=1e-4,
        counts=0.5, pixels=500, seed=2,
    )  # fmt: skip


def test_a_start_is_in_the_units_of_the_model():
    y = curves("ballistic", 2)
    found = fit_curves(DELAY, y, 1e-3, "ballistic", start=THETA["ballistic"], search="thorough")
    np.testing.assert_allclose(found.value, fit_curves(DELAY, y, 1e-3, "ballistic").value, rtol=1e-9)


def test_special_cases_are_found_under_other_names():
    models = candidates(["simple", "ballistic", "levy", "anomalous", ("anomalous", {"alpha": 2.0})])
    pairs = nested(models, [one.model.box(DELAY, fixed=one.fixed) for one in models])
    told = {(models[p.small].name, models[p.large].name): dict(p.null) for p in pairs}
    assert told[("simple", "levy")] == {"index": 1.0}
    assert told[("simple", "anomalous")] == {"alpha": 1.0}
    assert told[("ballistic", "levy")] == {"index": 2.0}
    assert told[("anomalous(alpha=2)", "levy")] == {"index": 2.0}
    assert ("levy", "anomalous") not in told
