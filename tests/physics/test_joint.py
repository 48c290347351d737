from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import xarray as xr
from dask.callbacks import Callback

import xpcs_dask as xd
from tests.conftest import CARRIED, carried
from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.physics.joint import joint
from xpcs_dask.physics.joint_fit import Curves, Sharing, jackknife_covariance, project, solve, start
from xpcs_dask.physics.law_record import Note

TRUTH = json.loads((CARRIED / "boost_corr" / "truth.json").read_text())
Q = np.geomspace(0.004, 0.02, 7)
D, CONTRAST, BASELINE = 3.1e5, np.linspace(0.1, 0.3, 7), np.linspace(0.99, 1.02, 7)
DELAY = np.geomspace(1e-4, 1, 50)


def decay(rate, stretch=1.0):
    return np.exp(-2 * (DELAY * rate[:, None]) ** stretch)


def data(g2, sigma=1e-3):
    dims = ("file", "qbin", "delay")[-np.ndim(g2) :]
    return xr.Dataset(
        {"g2": (dims, g2), "g2_err": (dims, np.broadcast_to(sigma, np.shape(g2)).copy())},
        {"delay": ("delay", DELAY, {"units": "s"}), "q": ("qbin", Q, {"units": "1/angstrom"})},
    )


def of(found, name, what="value"):
    return found[what].sel(parameter=name).values


@pytest.mark.parametrize(
    ("model", "shared"),
    [
        ("simple", ("D",)),
        ("simple", ("contrast", "D")),
        ("simple", ("D", "baseline")),
        ("simple", ("D", "n", "contrast", "baseline")),
        ("single", ("D", "n")),
        ("single", ("D", "contrast")),
    ],
)
def test_noise_free_curves_give_the_truth(model, shared):
    contrast = 0.2 if "contrast" in shared else CONTRAST[:, None]
    baseline = 1.01 if "baseline" in shared else BASELINE[:, None]
    n, stretch = 2.3 if "n" in shared else 2.0, 0.8 if model == "single" else 1.0
    q0 = np.exp(np.log(Q).mean())
    rate = D * q0**2 * (Q / q0) ** n
    found = joint(data(baseline + contrast * decay(rate, stretch)), model, shared, errors="quoted")
    assert of(found, "D") == pytest.approx(D, rel=1e-9)
    assert of(found, "D_um2") == pytest.approx(D * 1e-8, rel=1e-9)
    assert float(found["q_reference"]) == pytest.approx(q0, rel=1e-12)
    np.testing.assert_allclose(found["tau"], 1 / rate, rtol=1e-8)
    np.testing.assert_allclose(found["contrast"], np.ravel(np.broadcast_to(contrast, (7, 1))), rtol=1e-8)
    np.testing.assert_allclose(found["baseline"], np.ravel(np.broadcast_to(baseline, (7, 1))), rtol=1e-9)
    true = {"n": n, "stretch": stretch, "contrast": contrast, "baseline": baseline}
    for name in found["parameter"].values[2:]:
        assert of(found, name) == pytest.approx(true[name], rel=1e-8)
    assert found["unit"].values[:2].tolist() == ["angstrom^2/s", "um^2/s"]
    assert int(found["flags"]) == 0


def noisy(seed=0, files=1, sigma=2e-3):
    rng = np.random.default_rng(seed)
    g2 = BASELINE[:, None] + 0.2 * decay(D * Q**2)
    return g2 + rng.normal(0, sigma, (files, *g2.shape))


def plain_fit(g2, sigma):
    """All parameters at once, by differences: shared contrast and D, each bin its baseline."""

    def residuals(p):
        return ((g2 - p[2:, None] - p[1] * decay(np.exp(p[0]) * Q**2)) / sigma).ravel()

    begin = np.r_[np.log(D) + 0.1, 0.25, np.ones(7)]
    best = scipy.optimize.least_squares(residuals, begin, jac="3-point", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return best, np.linalg.inv(best.jac.T @ best.jac)


def test_it_is_the_least_squares_of_all_parameters_at_once():
    g2 = noisy()[0]
    sigma = np.broadcast_to(np.geomspace(1e-3, 5e-3, 50), g2.shape)
    best, covariance = plain_fit(g2, sigma)
    found = joint(data(g2, sigma), errors="quoted")
    assert of(found, "D") == pytest.approx(np.exp(best.x[0]), rel=1e-6)
    assert of(found, "contrast") == pytest.approx(best.x[1], rel=1e-6)
    np.testing.assert_allclose(found["baseline"], best.x[2:], rtol=1e-8)
    assert float(found["chi2"]) == pytest.approx(2 * best.cost, rel=1e-10)
    errors = np.sqrt(np.diag(covariance))
    assert of(found, "D", "stderr_weights") == pytest.approx(errors[0] * np.exp(best.x[0]), rel=1e-5)
    assert of(found, "contrast", "stderr_weights") == pytest.approx(errors[1], rel=1e-5)
    np.testing.assert_allclose(found["baseline_stderr"], errors[2:], rtol=1e-5)
    np.testing.assert_allclose(found["contrast_stderr"], errors[1], rtol=1e-5)
    assert int(found["dof"]) == g2.size - 9
    assert float(found["chi2_bin"].sum()) == pytest.approx(float(found["chi2"]))


@pytest.mark.parametrize(
    "names",
    [("D",), ("D", "n", "stretch"), ("D", "n", "contrast"), ("D", "stretch", "contrast", "baseline")],
)
def test_the_jacobian_is_that_of_differences(names):
    g2 = noisy(3)[0]
    curves = Curves(DELAY, np.log(Q / 0.01), g2, np.full(g2.shape, 500.0))
    sharing = Sharing(names)
    values = {"D": np.log(D * 1e-4) + 0.2, "n": 2.1, "stretch": 0.9, "contrast": 0.22, "baseline": 1.003}
    theta = np.array([values[name] for name in names])
    found = project(theta, curves, sharing)
    for k in range(len(names)):
        step = np.zeros(len(names))
        step[k] = 1e-5
        ends = [project(theta + sign * step, curves, sharing).residuals for sign in (1, -1)]
        np.testing.assert_allclose(found.jacobian[k], (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=2e-5)


def test_clusters_are_a_jackknife_over_bins():
    """To first order: where noise is small, the one that fits again without each bin."""
    g2 = noisy(4, sigma=2e-5)[0]
    curves = Curves(DELAY, np.log(Q / 0.01), g2, np.full(g2.shape, 5e4))
    sharing = Sharing(("D", "contrast"))
    theta, ended = solve(curves, sharing)
    assert ended
    left = []
    for k in range(7):
        rest = Curves(DELAY, np.delete(curves.log_q, k), np.delete(g2, k, 0), np.delete(curves.weight, k, 0))
        left.append(solve(rest, sharing)[0] - theta)
    expected = 6 / 7 * np.transpose(left) @ np.array(left)
    np.testing.assert_allclose(jackknife_covariance(project(theta, curves, sharing)), expected, rtol=2e-3)


@pytest.mark.slow
def test_intervals_cover_where_delays_are_correlated():
    """Every curve has noise of its own that all delays share: only clusters know."""
    rng = np.random.default_rng(5)
    clean = BASELINE[:, None] + 0.2 * decay(D * Q**2)
    slow = rng.normal(0, 1e-3, (200, 7, 4)) @ np.cos(np.outer(np.arange(4), np.linspace(0, np.pi, 50)))
    found = joint(data(clean + slow + rng.normal(0, 2e-4, (200, 7, 50)), 1.5e-3), errors="quoted")
    low, high = found["interval"].sel(parameter="D").values.T
    assert 0.91 < np.mean((low < D) & (high > D)) <= 0.98
    reach = scipy.stats.t(6).ppf(0.975) * of(found, "D", "stderr") / of(found, "D")
    np.testing.assert_allclose(low, of(found, "D") * np.exp(-reach), rtol=1e-9)
    np.testing.assert_array_equal(of(found, "D", "stderr"), of(found, "D", "stderr_cluster"))
    told = joint(data(clean + slow, 1.5e-3), errors="quoted", covariance="weights")
    low, high = told["interval"].sel(parameter="D").values.T
    assert np.mean((low < D) & (high > D)) < 0.85


@pytest.mark.slow
def test_intervals_cover_where_errors_are_as_told():
    found = joint(data(noisy(6, 200), 2e-3), errors="quoted", covariance="weights")
    low, high = found["interval"].sel(parameter="D").values.T
    assert 0.91 < np.mean((low < D) & (high > D)) <= 0.98
    np.testing.assert_allclose(
        of(found, "D", "stderr") / of(found, "D", "stderr_weights"),
        np.sqrt(np.maximum(1, found["chi2"] / found["dof"])),
        rtol=1e-12,
    )
    few = joint(data(noisy(6, 1), 2e-3).isel(qbin=slice(0, 5)), errors="quoted")
    np.testing.assert_array_equal(of(few, "D", "stderr") < 1.2 * of(few, "D", "stderr_weights"), True)


@pytest.mark.parametrize("shared", [("contrast", "D"), ("D",)], ids="_".join)
@pytest.mark.parametrize(
    "name",
    [
        "S0001_bright_a0000_f004096_r00001_results.hdf",
        "S0001_bright_a0000_f004096_r00001_avg4_results.hdf",
        "S0001_bright_a0000_f004096_r00001_stride2avg2_results.hdf",
        "S0003_sparse_a0009_f008192_r00001_results.hdf",
        "S0002_qphi_a0000_f004096_r00001_results.hdf",
    ],
)
def test_diffusion_of_the_producers_files(name, shared):
    found = joint(xd.open_g2(carried(f"boost_corr/{name}"), chunks=None), shared=shared).isel(file=0)
    value, stderr, true = of(found, "D"), of(found, "D", "stderr"), TRUTH[name]["D"]
    wide = 0.03 if "qphi" in name else 0  # bins are wide there
    assert abs(value - true) < 3 * np.hypot(stderr, wide * true)
    assert 0.002 < stderr / value < 0.2
    if "contrast" in shared:
        assert of(found, "contrast") == pytest.approx(
            TRUTH[name]["beta"], abs=3 * of(found, "contrast", "stderr") + 0.01
        )


def test_starved_files_are_said_to_be_undetermined():
    path = carried("boost_corr/S0007_starved_a0014_f008192_r00001_results.hdf")
    found = joint(xd.open_g2(path, chunks=None)).isel(file=0)
    assert int(found["flags"]) & Note.UNDETERMINED


def test_bins_without_points_are_left_out():
    g2 = noisy(7)[0]
    g2[2] = np.nan
    g2[4, 3:] = np.nan
    full = data(g2)
    found = joint(full, errors="quoted")
    np.testing.assert_array_equal(found["n_points"], [50, 50, 0, 50, 0, 50, 50])
    assert np.isnan(found["tau"].values[[2, 4]]).all()
    some = joint(full.isel(qbin=[0, 1, 3, 5, 6]), errors="quoted")
    assert of(found, "D") == pytest.approx(of(some, "D"), rel=1e-10)
    nothing = joint(data(np.full((7, 50), np.nan)), errors="quoted")
    assert int(nothing["flags"]) == Note.TOO_FEW_BINS
    assert np.isnan(nothing["value"]).all()
    assert np.isnan(nothing["contrast"]).all()
    assert int(joint(full.isel(qbin=[0]), shared=("D", "n"), errors="quoted")["flags"]) == Note.TOO_FEW_BINS
    both = joint(xr.concat([full, full * np.nan, full * 0 + 1], "file").assign_coords(q=full["q"]), errors="quoted")
    assert of(both, "D")[0] == of(found, "D")
    assert np.isnan(of(both, "D")[1])
    assert int(both["flags"].values[2]) & Note.UNDETERMINED  # flat and without noise: bins agree on nothing
    close = full.assign_coords(q=("qbin", np.linspace(0.01, 0.011, 7), {"units": "1/angstrom"}))
    assert int(joint(close, shared=("D", "n"), errors="quoted")["flags"]) & Note.NARROW_RANGE


def test_relative_errors_are_scaled():
    g2 = noisy(8)[0]
    one, other = (joint(data(g2, sigma), errors="none", covariance="weights") for sigma in (1e-3, 1.0))
    np.testing.assert_allclose(one["stderr"], other["stderr"], rtol=1e-9)
    best, covariance = plain_fit(g2, 1.0)
    scale = 2 * best.cost / (g2.size - 9)
    assert of(one, "contrast", "stderr") == pytest.approx(np.sqrt(covariance[1, 1] * scale), rel=1e-5)
    np.testing.assert_allclose(one["baseline_stderr"], np.sqrt(np.diag(covariance)[2:] * scale), rtol=1e-5)


def test_lazy_data_stay_lazy_and_have_the_same_bits():
    made = xd.simulate.curves(5, [0.006, 0.01, 0.014], model="simple", frames=5000, seed=1)
    eager = joint(made, shared=("D", "contrast"))
    ran = []
    with Callback(pretask=lambda *_: ran.append(1)):
        lazy = joint(made.chunk(file=2, qbin=2).assign_coords(made.coords), shared=("D", "contrast"))
    assert not ran
    assert all(lazy[name].chunks is not None for name in lazy.data_vars)
    xr.testing.assert_identical(lazy.compute(), eager)
    np.testing.assert_array_equal(joint(made.isel(file=[3]))["value"], eager["value"][3:4])


def test_trees_and_ranges():
    made = data(noisy(9))
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), "/a": made})
    part = joint(tree, q_range=(0.005, 0.015), errors="quoted")["a"].to_dataset()
    assert part["n_bins"].item() == int(((Q > 0.005) & (Q < 0.015)).sum())
    xr.testing.assert_identical(part, joint(made, q_range=(0.005, 0.015), errors="quoted"))
    with pytest.raises(NoUsableInputError, match="no group"):
        joint(xr.DataTree.from_dict({"/a": xr.Dataset()}))


def test_the_start_is_near():
    for true in (3e3, 3e5, 3e7):
        g2 = 1 + 0.2 * decay(true * Q**2)
        theta = start(Curves(DELAY, np.log(Q / 0.01), g2, np.ones(g2.shape)), Sharing(("D",)))
        assert abs(theta[0] - np.log(true * 1e-4)) < 0.2


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda d: d, {"model": "double"}, "'simple' or 'single'"),
        (lambda d: d, {"shared": ("D", "tau")}, "'tau' is none of"),
        (lambda d: d, {"shared": ("contrast",)}, "without 'D'"),
        (lambda d: d, {"shared": ("D", "stretch")}, "no stretch"),
        (lambda d: d, {"covariance": "hc3"}, "'hc3' is none of"),
        (lambda d: d, {"level": 0}, "level is 0"),
        (lambda d: d, {"over": "bin"}, "no dimension 'bin'"),
        (lambda d: d.drop_vars("q"), {}, "no coordinate q"),
        (lambda d: d.assign_coords(q=d.q.assign_attrs(units="1/nm")), {}, "units='1/nm'"),
    ],
)
def test_what_makes_no_sense_is_refused(change, settings, message):
    with pytest.raises(ConfigError, match=message):
        joint(change(data(noisy())), **settings)
