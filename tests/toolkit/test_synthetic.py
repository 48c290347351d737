"""Synthetic curves have the truth, the noise and the faults that they say, and draw from a generator of their own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import kstest

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.synthetic import FORMS, SyntheticG2DataGenerator


@pytest.mark.parametrize("model", FORMS)
def test_truth_gives_the_curve(model):
    generator = SyntheticG2DataGenerator(5)
    tau, g2, g2_err, truth = generator.generate_dataset(model, (1e-5, 10.0), 80, noise_level=0.0)
    np.testing.assert_allclose(tau, np.geomspace(1e-5, 10, 80))
    np.testing.assert_array_equal(g2, FORMS[model](tau, **truth))
    np.testing.assert_array_equal(g2_err, 0)
    assert all(isinstance(value, float) for value in truth.values())
    json.dumps(truth)


@pytest.mark.parametrize("model", ["single_exp", "double_exp", "stretched_exp"])
def test_truth_is_found_again_by_scipy(model):
    tau, g2, _, truth = SyntheticG2DataGenerator(9).generate_dataset(model, (1e-5, 10.0), 80, noise_level=0.0)
    start = [value * 1.1 for value in truth.values()]
    found, _ = curve_fit(FORMS[model], tau, g2, start, xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(found, list(truth.values()), rtol=1e-5)


def test_one_seed_makes_one_series_of_data_sets():
    first, second, other = (SyntheticG2DataGenerator(seed) for seed in (3, 3, 4))
    for _ in range(3):
        a, b, c = (g.generate_dataset("stretched_exp", outlier_fraction=0.1) for g in (first, second, other))
        for one, same, different in zip(a[1:3], b[1:3], c[1:3], strict=True):
            np.testing.assert_array_equal(one, same)
            assert (one != different).any()
    assert a[3] != first.generate_dataset("stretched_exp")[3]


def test_without_a_seed_each_generator_is_its_own_and_can_be_made_again():
    first, second = SyntheticG2DataGenerator(), SyntheticG2DataGenerator()
    assert first.seed != second.seed
    g2 = first.generate_dataset()[1]
    np.testing.assert_array_equal(SyntheticG2DataGenerator(first.seed).generate_dataset()[1], g2)


def test_the_global_generator_is_not_touched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - it is what must stay as it is
    SyntheticG2DataGenerator(1).generate_dataset("double_exp", outlier_fraction=0.2)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("level", [0.01, 0.1])
@pytest.mark.parametrize("noise", ["gaussian", "poisson", "mixed"])
def test_noise_is_as_large_as_its_errors_and_independent(noise, level):
    generator, z, power = SyntheticG2DataGenerator(7), [], []
    for _ in range(100):
        _, g2, g2_err, _ = generator.generate_dataset(n_points=100, noise_type=noise, noise_level=level)
        z.append((g2 - generator.clean) / g2_err)
        power.append(np.log(g2_err.max() / g2_err.min()) / np.log(generator.clean.max() / generator.clean.min()))
    z = np.array(z)
    assert kstest(z.ravel(), "norm").pvalue > 1e-4
    assert np.std(z) == pytest.approx(1, abs=0.03)
    assert abs(np.mean(z[:, 1:] * z[:, :-1])) < 0.05
    expected = {"gaussian": (0.99, 1.01), "poisson": (0.49, 0.51), "mixed": (0.6, 0.9)}[noise]
    assert expected[0] < np.mean(power) < expected[1]
    at_one = g2_err[-1] / generator.clean[-1] ** {"gaussian": 1, "poisson": 0.5, "mixed": 0.75}[noise]
    assert at_one == pytest.approx(level, rel=0.01)


def test_poisson_noise_is_counts():
    _, g2, _, _ = SyntheticG2DataGenerator(2).generate_dataset(noise_type="poisson", noise_level=0.1)
    np.testing.assert_allclose(g2 * 100, np.rint(g2 * 100), atol=1e-9)


def test_outliers_are_as_many_and_as_far_as_asked_for():
    generator = SyntheticG2DataGenerator(1)
    plain = SyntheticG2DataGenerator(1).generate_dataset(n_points=200)[1]
    _, g2, g2_err, _ = generator.generate_dataset(n_points=200, outlier_fraction=0.1)
    away = np.abs(g2 - plain) / g2_err
    assert generator.outliers.size == 20
    assert (away[generator.outliers] >= 5).all()
    assert (away[generator.outliers] <= 20).all()
    assert np.count_nonzero(np.round(away, 9)) == 20
    assert {-1.0, 1.0} == set(np.sign((g2 - plain)[generator.outliers]))


def test_a_systematic_error_is_slow_and_the_errors_do_not_tell_of_it():
    plain = SyntheticG2DataGenerator(1).generate_dataset()
    wavy = SyntheticG2DataGenerator(1).generate_dataset(systematic_error=True)
    np.testing.assert_array_equal(plain[2], wavy[2])
    away = (wavy[1] - plain[1]) / plain[2]
    assert 2.9 < np.abs(away).max() <= 3
    assert np.sum(np.diff(np.sign(away[1:-1])) != 0) == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model_type": "cubic"}, "cubic"),
        ({"noise_type": "pink"}, "pink"),
        ({"tau_range": (1.0, 0.1)}, "shorter first"),
        ({"n_points": 1}, "at least 2"),
        ({"noise_level": -1}, "at least 0"),
        ({"outlier_fraction": 1.0}, "share below 1"),
    ],
)
def test_what_makes_no_sense_is_refused(change, text):
    with pytest.raises(ConfigError, match=text):
        SyntheticG2DataGenerator(0).generate_dataset(**change)
