"""Correlated noise from theory, and the standard errors that follow: closed forms, limits, coverage."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.integrate import quad

import xpcs_dask as xd
from tests.benchmarks.errors import experiments
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.kernel import sandwich
from xpcs_dask.fitting.layout import Flag
from xpcs_dask.fitting.models import DOUBLE
from xpcs_dask.fitting.theory import lags, workspace
from xpcs_dask.simulate.multitau import schedule

PLAN = schedule(4096)
STEP = 1e-3
LAGS = lags(PLAN.delay * STEP, PLAN.level.astype(float))
LAG = np.exp(LAGS.table[0][: LAGS.table[1][0]]) / STEP
"""In frames."""


def overlaps(z):
    space = workspace(LAGS)
    integral = sandwich.overlaps(np.asarray(z, float), LAGS.table, space)
    decay, overlap, at_times, mean = space
    return integral, decay[: LAG.size], overlap, at_times[0], mean


def test_every_pair_of_delays_finds_its_lags():
    apart, near = LAG[LAGS.apart], LAG[LAGS.near]
    np.testing.assert_allclose(apart, np.add.outer(PLAN.delay, PLAN.delay), rtol=1e-9)
    off = ~np.eye(PLAN.delay.size, dtype=bool)
    np.testing.assert_allclose(near[off], np.abs(np.subtract.outer(PLAN.delay, PLAN.delay))[off], rtol=1e-9)
    assert LAGS.width.tolist() == (2.0**PLAN.level).tolist()


@pytest.mark.parametrize("tau", [0.7, 5.0, 41.0, 600.0])
def test_an_exponential_has_closed_forms(tau):
    gamma = 2.0 / tau
    integral, decay, overlap, at_zero, mean = overlaps([0.25, np.log(tau * STEP), 1.0, 1.0])
    assert integral == pytest.approx(1 / gamma, rel=1e-3)
    assert at_zero == pytest.approx(1 / gamma, rel=1e-3)
    np.testing.assert_allclose(decay, np.exp(-gamma * LAG), rtol=1e-6, atol=1e-12)
    near = 2 * tau > LAG
    np.testing.assert_allclose(overlap[near], ((1 / gamma + LAG) * np.exp(-gamma * LAG))[near], rtol=0.03)
    u = gamma * np.unique(LAGS.width)
    np.testing.assert_allclose(mean, 2 * (u - 1 + np.exp(-u)) / u**2, rtol=2e-3)


@pytest.mark.parametrize("z", [[0.2, np.log(0.03), 0.6, 1.0], [0.2, np.log(0.03), 1.7, 1.0]])
def test_a_stretched_decay_is_integrated(z):
    def e(t):
        return np.exp(-2 * (np.abs(t) * STEP / np.exp(z[1])) ** z[2])

    integral, _, overlap, _, _ = overlaps(z)
    assert integral == pytest.approx(quad(e, 0, 4000, limit=500, points=[1, 10, 100])[0], rel=3e-3)
    for k in (0, 5, 40):
        t = LAG[k]
        exact = quad(lambda s, t=t: e(s) * e(s + t), -4000, 4000, limit=2000, points=[-t, 0, -t - 20, 20, -t / 2])[0]
        assert overlap[k] == pytest.approx(exact, rel=0.02)


def test_a_double_decay_is_that_of_its_model():
    theta = [1.0, 0.01, 0.9, 0.0, 0.4, 1.2, 0.3]
    z = np.array([1.0, np.log(0.01), 0.9, 0.0, np.log(0.4), 1.2, 0.3])
    _, decay, _, _, _ = overlaps(z)
    np.testing.assert_allclose(decay, DOUBLE.evaluate(LAG * STEP, *theta), rtol=1e-6, atol=1e-12)


@pytest.fixture(scope="module")
def bright():
    return experiments(64, 2.0, 40, seed=3)


@pytest.mark.slow
def test_theory_widens_the_errors_of_bright_curves_only(bright):
    plain, theory = (xd.fit(bright, "simple", covariance=kind) for kind in ("wald", "theory"))
    np.testing.assert_array_equal(plain["value"], theory["value"])
    wider = (theory["stderr"] / plain["stderr"]).sel(parameter="tau").values
    assert np.median(wider) > 1.5
    faint = experiments(64, 0.02, 40, seed=3)
    plain, theory = (xd.fit(faint, "simple", covariance=kind) for kind in ("wald", "theory"))
    ratio = (theory["stderr"] / plain["stderr"]).sel(parameter="tau").values
    assert 0.8 < np.nanmedian(ratio) < 1.3
    assert (theory["flags"] & int(Flag.DELAYS_ASSUMED_INDEPENDENT) == 0).all()


def closed_form(a, tau, counts, used):
    """Correlation of the noise of an exponential between the used delays, times in frames; all in closed forms."""
    t, width, length = (v[used].astype(float) for v in (PLAN.delay, LAGS.width, PLAN.n_products * LAGS.width))
    gamma = 2.0 / tau
    u = gamma * width
    near, apart = np.abs(np.subtract.outer(t, t)), np.add.outer(t, t)
    noise = sum(
        a**2 * (1 / gamma + s) * np.exp(-gamma * s) + 2 * a / counts * np.exp(-gamma * s) for s in (near, apart)
    )
    noise /= np.maximum.outer(length, length)
    mean = 2 * (u - 1 + np.exp(-u)) / u**2
    itself = a**2 * (mean / gamma + (1 / gamma + 2 * t) * np.exp(-2 * gamma * t))
    itself += 2 * a / counts * (mean + np.exp(-2 * gamma * t)) + 1 / (counts**2 * width)
    np.fill_diagonal(noise, itself / length)
    size = np.sqrt(np.diag(noise))
    return noise / np.outer(size, size)


@pytest.mark.parametrize(("counts", "tau"), [(2.0, 41.0), (0.15, 41.0), (0.15, 410.0)])
def test_the_covariance_is_the_sandwich_with_that_correlation(counts, tau):
    diffusion = 1.0 / (tau * STEP * 0.01**2)
    data = xd.simulate.speckle(3, frames=4096, diffusion=diffusion, pixels=64, counts=counts, seed=4)
    fits, sigma = xd.fit(data, "simple", covariance="theory"), xd.quality(data)["sigma"].values[:, 0]
    for k in range(3):
        value = fits["value"].values[k, 0]
        a, found_tau, _ = value
        used = np.isfinite(sigma[k])
        x, s = data["delay"].values[used], sigma[k][used]
        e = np.exp(-2 * x / found_tau)
        J = np.stack([e, a * e * 2 * x / found_tau**2, np.ones_like(e)], axis=1) / s[:, None]
        V = np.linalg.inv(J.T @ J)
        M = J.T @ closed_form(a, found_tau / STEP, counts_of(data, k), used) @ J
        rate = float(data["rate"].values[k, 0])
        share = np.mean(np.minimum(1 / (rate * PLAN.n_products * LAGS.width**2)[used] / s**2, 1.0))
        short = 1 + 32 * a * (found_tau / STEP / 4096) * (1 - share)
        expected = np.sqrt(np.diag(V @ M @ V) * short)
        np.testing.assert_allclose(fits["stderr"].values[k, 0], expected, rtol=0.02)


def counts_of(data, k):
    return float(np.sqrt(data["rate"].values[k, 0] / data["n_pixels"].values[k, 0]))


def test_auto_is_theory_and_says_where_it_could_not_be(bright):
    auto, theory = xd.fit(bright, "simple"), xd.fit(bright, "simple", covariance="theory")
    np.testing.assert_array_equal(auto["stderr"], theory["stderr"])
    assert auto.attrs["covariance_kind"] == "theory"
    unknown = xd.fit(bright.drop_vars("rate"), "simple")
    assert (unknown["flags"] & int(Flag.DELAYS_ASSUMED_INDEPENDENT) > 0).all()
    quoted = xd.fit(bright, "simple", errors="quoted")
    np.testing.assert_array_equal(
        quoted["stderr"], xd.fit(bright, "simple", errors="quoted", covariance="wald")["stderr"]
    )


def test_hc3_is_its_formula():
    rng = np.random.default_rng(0)
    x = np.geomspace(1e-3, 1, 40)
    y = 1 + 0.2 * np.exp(-2 * x / 0.05) + 0.01 * rng.standard_normal((3, 40))
    sigma = np.linspace(0.005, 0.02, 40)

    def model(x, a, t, b):
        return b + a * np.exp(-2 * x / t)

    compiled = xd.fit_curves(x, y, sigma, "simple", covariance="hc3")
    callable_ = xd.fit_curves(x, y, sigma, model, start=[0.2, 0.05, 1.0], covariance="hc3")
    for k, value in enumerate(compiled.value):
        step = 1e-6 * np.diag(value)
        J = np.stack([(model(x, *(value + h)) - model(x, *(value - h))) / (2 * h.sum()) for h in step], axis=1)
        J = J / sigma[:, None]
        r = (y[k] - model(x, *value)) / sigma
        V = np.linalg.inv(J.T @ J)
        h = np.einsum("ij,jk,ik->i", J, V, J)
        expected = V @ (J.T * (r / (1 - h)) ** 2) @ J @ V
        np.testing.assert_allclose(compiled.covariance[k], expected, rtol=1e-5)
        np.testing.assert_allclose(callable_.covariance[k], expected, rtol=1e-4)
    assert (compiled.flags & Flag.DELAYS_ASSUMED_INDEPENDENT > 0).all()


def test_a_point_that_is_not_there_changes_nothing():
    rng = np.random.default_rng(1)
    x = np.geomspace(1e-3, 1, 40)
    y = 1 + 0.2 * np.exp(-2 * x / 0.05) + 0.01 * rng.standard_normal(40)
    y[5] = np.nan
    whole, rest = (
        xd.fit_curves(*(np.delete(a, cut) for a in (x, y)), 0.01, "simple", covariance="hc3") for cut in ([], 5)
    )
    np.testing.assert_allclose(whole.stderr, rest.stderr, rtol=1e-7)


def test_hc3_of_a_long_curve_needs_no_table_of_pairs():
    x = np.geomspace(1e-3, 1, 20_000)
    y = 1 + 0.2 * np.exp(-2 * x / 0.05) + 0.01 * np.random.default_rng(1).standard_normal(x.size)
    tracemalloc.start()
    fits = xd.fit_curves(x, y, 0.01, "simple", covariance="hc3")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(fits.stderr).all()
    assert peak < 100e6  # the pairs alone would be 3.2 GB


@pytest.mark.parametrize("cut", [0, 3, 7, 8, 11, 15])
def test_frames_are_known_wherever_the_list_of_delays_begins(cut):
    part = lags(PLAN.delay[cut:] * STEP, PLAN.level[cut:].astype(float))
    times, (number, *_) = part.table[:2]
    assert np.exp(times[number]) / STEP == pytest.approx(
        np.exp(LAGS.table[0][LAG.size]) / STEP
    )  # first node, in frames
    assert part.width.tolist() == (2.0 ** PLAN.level[cut:]).tolist()


def test_a_cut_list_has_the_noise_of_the_whole(bright):
    """Delays from the last of a level on: its step is that of the levels after."""
    late = xd.fit(bright, "simple", covariance="theory", delay_range=(8e-3, 10.0))
    early = xd.fit(bright, "simple", covariance="theory", delay_range=(7e-3, 10.0))
    ratio = (late["stderr"] / early["stderr"]).sel(parameter="tau").values
    assert 0.8 < np.median(ratio) < 1.3


def test_bounds_and_held_parameters_keep_their_marks(bright):
    held = xd.fit(bright, "single", fixed={"baseline": 1.0, "stretch": 1.0})
    assert (held["stderr"].sel(parameter=["baseline", "stretch"]) == 0).all()
    assert np.isfinite(held["stderr"].sel(parameter=["contrast", "tau"])).all()
    stuck = xd.fit(bright, "simple", bounds={"contrast": (0.0, 0.05)})
    assert (stuck["value"].sel(parameter="contrast") == 0.05).all()
    assert np.isnan(stuck["stderr"].sel(parameter="contrast")).all()
    assert (stuck["stderr"].sel(parameter="tau") > 0).all()


def test_arrays_know_no_counts():
    with pytest.raises(ConfigError, match="'theory' needs counts"):
        xd.fit_curves(np.arange(1.0, 9), np.ones(8), 0.1, "simple", covariance="theory")


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "plain"), [(2.0, 0.85), (0.15, 0.90)])
def test_intervals_cover_the_truth(counts, plain):
    data = experiments(64, counts, 400, seed=17)
    truth = np.log(data["true_value"].sel(parameter="tau").values)
    covered = {}
    for kind in ("wald", "theory"):
        fits = xd.fit(data, "simple", covariance=kind)
        value, error = (fits[name].sel(parameter="tau").values for name in ("value", "stderr"))
        covered[kind] = np.mean(np.abs(np.log(value) - truth) < 1.96 * error / value)
    assert covered["wald"] < plain
    assert 0.91 <= covered["theory"] <= 0.985
