"""g2 of several files, and arithmetic on arrays of g2, against numpy, scipy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import interp1d

from tests.conftest import carried
from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit import g2mod
from xpcs_dask.toolkit.xpcs_file import XpcsFile

BRIGHT = "S0001_bright_a0000_f004096_r00001_results.hdf"
SHORT = "S0006_short_a0000_f000012_r00001_results.hdf"
TWO_TIME = "S0005_twotime_a0000_f000200_r00001_twotime_results.hdf"
RNG = np.random.default_rng(5)
G2 = 1.2 + 0.1 * RNG.standard_normal((9, 4))
ERRORS = 0.01 + 0.01 * RNG.random((9, 4))


def boost(name):
    return XpcsFile(carried(f"boost_corr/{name}"))


def test_files_are_gathered_each_as_it_is():
    files = [boost(BRIGHT), boost(SHORT)]
    found = g2mod.get_data(files, (0.001, 0.002), (0.001, 0.006))
    assert [len(part) for part in found] == [2] * 5
    for number, xf in enumerate(files):
        for ours, truth in zip(found, xf.get_g2_data((0.001, 0.002), (0.001, 0.006)), strict=True):
            assert np.array_equal(ours[number], truth)
    assert found[2][0].shape == found[2][1].shape == (6, 3)


def test_files_without_multi_tau_g2_give_false():
    assert g2mod.get_data([boost(BRIGHT), boost(TWO_TIME)]) == (False, None, None, None, None)
    assert g2mod.get_data([]) == ([], [], [], [], [])


@pytest.mark.parametrize(
    ("kind", "figures", "lines"), [("multiple", 4, 2), ("single", 2, 4), ("single-combined", 1, 8)]
)
def test_geometry(kind, figures, lines):
    assert g2mod.compute_geometry([G2, G2], kind) == (figures, lines)
    with pytest.raises(ConfigError, match="'grid' is none of 'multiple'"):
        g2mod.compute_geometry([G2], "grid")


def test_baselines_become_one():
    baseline = np.array([1.0, 1.1, 0.9, 1.05])
    found = g2mod.vectorized_g2_baseline_correction(np.tile(baseline, (9, 1)).astype("f4"), baseline)
    assert np.allclose(found, 1.0, atol=1e-6)
    assert np.allclose(g2mod.vectorized_g2_baseline_correction(G2, baseline) - G2, 1 - baseline)
    assert np.allclose(g2mod.vectorized_g2_baseline_correction(G2, 1.1), G2 - 0.1)
    with pytest.raises(ConfigError, match=r"\(9,\) baselines for g2 of shape \(9, 4\)"):
        g2mod.vectorized_g2_baseline_correction(G2, np.ones(9))


def test_normalizing():
    by_max, by_mean, by_std = (g2mod.batch_g2_normalization([G2, 3 * G2], how) for how in ("max", "mean", "std"))
    assert np.allclose(by_max[0], G2 / G2.max(axis=0))
    assert np.allclose(by_mean[1], G2 / G2.mean(axis=0))
    assert np.allclose(by_std[0], (G2 - G2.mean(axis=0)) / G2.std(axis=0))
    for one, other in (by_max, by_mean, by_std):
        assert np.allclose(one, other)
    with pytest.raises(ConfigError, match="'area' is none of 'max', 'mean', 'std'"):
        g2mod.batch_g2_normalization([G2], "area")


@pytest.mark.parametrize("method", ["max", "mean", "std"])
def test_normalizing_what_is_missing_or_flat(method):
    g2 = G2.copy()
    g2[2, 0] = np.nan
    g2[:, 1] = 0
    g2[:, 2] = np.nan
    (found,) = g2mod.batch_g2_normalization([g2], method)
    (without,) = g2mod.batch_g2_normalization([np.delete(g2, 2, axis=0)], method)
    assert np.allclose(np.delete(found, 2, axis=0)[:, [0, 3]][:, :1], without[:, :1])
    assert np.isnan(found[:, [1, 2]]).all()
    assert np.isfinite(found[:, 3]).all()


def test_statistics_over_files():
    stack = np.stack([G2, G2 + 0.1, G2**2, 2 * G2])
    found = g2mod.compute_g2_ensemble_statistics(list(stack))
    assert np.allclose(found["mean"], stack.mean(axis=0))
    assert np.allclose(found["std"], stack.std(axis=0, ddof=1))
    assert np.allclose(found["sem"], stack.std(axis=0, ddof=1) / 2)
    for name, quantile in (("min", 0), ("q25", 0.25), ("median", 0.5), ("q75", 0.75), ("max", 1)):
        assert np.allclose(found[name], np.quantile(stack, quantile, axis=0)), name
    assert found["n_datasets"] == 4
    assert (found["count"] == 4).all()


def test_statistics_leave_out_what_is_missing():
    stack = np.stack([G2, G2 + 0.1, G2**2])
    stack[0, 0, 0] = np.nan
    stack[:2, 1, 1] = np.inf
    stack[:, 2, 2] = np.nan
    found = g2mod.compute_g2_ensemble_statistics(stack)
    assert [found["count"][at, at] for at in range(4)] == [2, 1, 0, 3]
    assert found["mean"][0, 0] == pytest.approx(stack[1:, 0, 0].mean())
    assert found["std"][0, 0] == pytest.approx(stack[1:, 0, 0].std(ddof=1))
    assert found["median"][1, 1] == found["mean"][1, 1] == stack[2, 1, 1]
    assert np.isnan(found["std"][1, 1])
    for name in ("mean", "std", "sem", "median", "min", "max", "q25", "q75"):
        assert np.isnan(found[name][2, 2]), name
    for wrong in ([], [G2, G2[1:]]):
        with pytest.raises(ConfigError, match="arrays of one shape"):
            g2mod.compute_g2_ensemble_statistics(wrong)


OPERATIONS = [
    ("subtract_baseline", lambda y: y - 1),
    ({"type": "subtract_baseline", "value": 0.9}, lambda y: y - 0.9),
    ({"type": "offset", "value": 0.3}, lambda y: y + 0.3),
    ({"type": "scale", "factor": -2.0}, lambda y: -2 * y),
    ({"type": "power", "exponent": 1.7}, lambda y: y**1.7),
    ("log", np.log),
    ("sqrt", np.sqrt),
    ("square", lambda y: y**2),
]


@pytest.mark.parametrize(("operation", "function"), OPERATIONS, ids=lambda item: str(item)[:24])
def test_errors_follow_the_slope(operation, function):
    value, errors = g2mod.optimize_g2_error_propagation(G2, ERRORS, [operation])
    assert np.allclose(value, function(G2))
    slope = (function(G2 + 1e-6) - function(G2 - 1e-6)) / 2e-6
    assert np.allclose(errors, np.abs(slope) * ERRORS, rtol=1e-6)


def test_operations_one_after_the_other():
    steps = [{"type": "subtract_baseline", "value": 0.5}, "log", {"type": "scale", "factor": 3.0}]
    value, errors = g2mod.optimize_g2_error_propagation(G2, ERRORS, steps)
    assert np.allclose(value, 3 * np.log(G2 - 0.5))
    assert np.allclose(errors, 3 * ERRORS / (G2 - 0.5))
    same = g2mod.optimize_g2_error_propagation(G2, ERRORS, [])
    assert np.array_equal(same[0], G2)
    assert np.array_equal(same[1], ERRORS)


def test_normalizing_by_the_first_delay_counts_its_error():
    value, errors = g2mod.optimize_g2_error_propagation(G2, ERRORS, ["normalize"])
    draws = np.random.default_rng(3)
    scale = 1e-2
    drawn = G2 + scale * ERRORS * draws.standard_normal((20_000, 9, 4))
    spread = (drawn / drawn[:, :1]).std(axis=0) / scale
    assert np.allclose(value, G2 / G2[0])
    assert np.allclose(errors, spread, rtol=0.03)
    assert (errors[0] == 0).all()


def test_no_value_is_nan_and_not_a_warning():
    value, errors = g2mod.optimize_g2_error_propagation([-1.0, 0.0, 4.0], [0.1, 0.1, 0.1], ["log"])
    assert np.isnan([*value[:2], *errors[:2]]).all()
    value, errors = g2mod.optimize_g2_error_propagation([-1.0, 4.0], [0.1, 0.1], ["sqrt"])
    assert np.isnan([value[0], errors[0]]).all()
    assert errors[1] == pytest.approx(0.025)


def test_operations_that_make_no_sense():
    with pytest.raises(ConfigError, match="'exp' is not known; known are subtract_baseline"):
        g2mod.optimize_g2_error_propagation(G2, ERRORS, ["exp"])
    with pytest.raises(ConfigError, match="'scale' needs 'factor'"):
        g2mod.optimize_g2_error_propagation(G2, ERRORS, ["scale"])
    with pytest.raises(ConfigError, match=r"g2 has shape \(9, 4\), its errors \(4,\)"):
        g2mod.optimize_g2_error_propagation(G2, ERRORS[0], [])


def test_interpolation_over_the_logarithm_of_delay():
    delay = np.geomspace(1e-5, 1, 9)
    target = np.geomspace(2e-5, 0.9, 31)
    found = g2mod.vectorized_g2_interpolation(delay, G2, target)
    assert np.allclose(found, interp1d(np.log(delay), G2, axis=0)(np.log(target)))
    assert np.allclose(g2mod.vectorized_g2_interpolation(delay, G2, delay), G2)
    assert np.allclose(g2mod.vectorized_g2_interpolation(delay, G2[:, 0], target), found[:, 0])
    outside = g2mod.vectorized_g2_interpolation(delay, G2, [1e-6, 2.0])
    assert np.isnan(outside).all(), "nothing is extrapolated"


@pytest.mark.parametrize(
    ("delay", "target", "said"),
    [
        (np.arange(9.0), [1.0], "grow from above 0"),
        (np.ones(9), [1.0], "grow"),
        (np.arange(1.0, 5), [1.0], r"\(4,\) delays .* shape \(9, 4\)"),
        (np.arange(1.0, 10), [0.0], "above 0, found 0 s"),
    ],
)
def test_delays_that_make_no_sense(delay, target, said):
    with pytest.raises(ConfigError, match=said):
        g2mod.vectorized_g2_interpolation(delay, G2, target)
