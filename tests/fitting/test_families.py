"""Models seen as their kernel's family."""

import numpy as np
import pytest

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting import families
from xpcs_dask.fitting.families import has_kernel
from xpcs_dask.fitting.kernel.family import family_of
from xpcs_dask.fitting.models import DOUBLE, SIMPLE, SINGLE, Model

X = np.geomspace(1e-4, 1, 30)


def test_a_model_of_a_family_is_the_family_with_parameters_held():
    lower, upper = SIMPLE.box(X)
    family = family_of(SIMPLE, lower, upper)
    assert family.record is SINGLE
    assert family.held == [("stretch", 1.0)]
    np.testing.assert_array_equal(family.lower[family.position], lower)
    theta = np.array([0.2, 0.01, 1.01])
    z = family.z(theta)
    np.testing.assert_allclose(z, [0.2, np.log(0.01), 1.0, 1.01])
    t = np.where(family.times, np.exp(z), z)
    np.testing.assert_allclose(SINGLE.evaluate(X, *t), SIMPLE.evaluate(X, *theta), rtol=1e-14)


def test_the_log_box_is_the_box():
    family = family_of(DOUBLE, *DOUBLE.box(X))
    low, high = family.log_box
    np.testing.assert_allclose(np.exp(low[[1, 4]]), 1e-5)
    np.testing.assert_allclose(np.exp(high[[1, 4]]), 10)
    np.testing.assert_array_equal(low[[0, 2, 3, 5, 6]], family.lower[[0, 2, 3, 5, 6]])


@pytest.mark.parametrize(
    ("model", "x", "expected"),
    [
        (SINGLE, X, True),
        (DOUBLE, X, True),
        (SINGLE, np.stack([X, X]), False),
        (Model.from_function(lambda x, a, b: a * x + b), X, False),
    ],
)
def test_what_has_a_kernel(model, x, expected):
    assert has_kernel(model, x, FitConfig()) is expected


def test_an_open_bound_ends_far_away():
    lower, upper = SINGLE.box(X)
    upper[3] = np.inf
    low, high = family_of(SINGLE, lower, upper).log_box
    assert np.isfinite(low).all()
    assert high[3] == 1e20


def test_without_numba_the_twin_fits_least_squares_of_the_single_family_only(monkeypatch):
    monkeypatch.setattr(families, "numba_found", lambda: False)
    assert has_kernel(SINGLE, X, FitConfig())
    assert has_kernel(SIMPLE, X, FitConfig())
    assert not has_kernel(SINGLE, X, FitConfig(loss="cauchy"))
    assert not has_kernel(DOUBLE, X, FitConfig())
