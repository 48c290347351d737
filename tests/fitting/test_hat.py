from __future__ import annotations

import numpy as np
import pytest

from xpcs_dask.fitting.curves import fit_curves
from xpcs_dask.fitting.hat import entanglement, influence, orthonormal, project
from xpcs_dask.fitting.models import DOUBLE, SIMPLE, SINGLE, Model

X = np.geomspace(1e-5, 1, 40)
TRUTH = {
    "simple": (0.2, 5e-3, 1.0),
    "single": (0.2, 5e-3, 0.8, 1.0),
    "double": (0.2, 1e-3, 1.0, 1.0, 5e-2, 1.2, 0.6),
}


def line(x, a, b):
    return a + b * x


LINE = Model.from_function(line)
FREE = np.array([-np.inf, -np.inf]), np.array([np.inf, np.inf])


def straight(n=5, m=25, holes=True, seed=0):
    """Weighted straight lines, exactly at their minimum: x, y, weight and the parameters."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0.1, 3, m))
    weight = np.broadcast_to(1 / rng.uniform(0.1, 0.4, m), (n, m)).copy()
    y = 1 + 2 * x + rng.standard_normal((n, m)) / weight
    if holes:
        weight[rng.random((n, m)) < 0.2] = 0
        y[0, 3], weight[0, 3] = np.nan, 0
    good = np.nan_to_num(y)
    design = np.stack([np.ones(m), x], axis=1)
    value = np.stack(
        [np.linalg.lstsq(design * w[:, None], g * w, rcond=None)[0] for g, w in zip(good, weight, strict=True)]
    )
    return x, y, weight, value


@pytest.mark.parametrize("holes", [False, True])
def test_influence_is_that_of_statsmodels(holes):
    api = pytest.importorskip("statsmodels.api")
    x, y, weight, value = straight(holes=holes)
    fit = project(value, x, y, weight, LINE, *FREE)
    scaled, absolute = influence(fit, absolute=False), influence(fit, absolute=True)
    for i in range(len(y)):
        used = weight[i] > 0
        oracle = api.OLS((y[i] * weight[i])[used], (api.add_constant(x) * weight[i, :, None])[used]).fit()
        told = oracle.get_influence()
        np.testing.assert_allclose(scaled.leverage[i, used], told.hat_matrix_diag, rtol=1e-10)
        np.testing.assert_allclose(scaled.standardised[i, used], told.resid_studentized_internal, rtol=1e-8)
        np.testing.assert_allclose(scaled.cook[i, used], told.cooks_distance[0], rtol=1e-8)
        np.testing.assert_allclose(scaled.dffits[i, used], told.dffits[0], rtol=1e-8)
        in_sigma = absolute.standardised[i, used] / np.sqrt(oracle.mse_resid)
        np.testing.assert_allclose(in_sigma, told.resid_studentized_internal, rtol=1e-8)
        for numbers in (scaled.leverage, scaled.standardised, scaled.cook, scaled.dffits):
            assert np.isnan(numbers[i, ~used]).all()


@pytest.mark.parametrize("name", ["simple", "single", "double"])
def test_all_curves_together_are_as_one_by_one(name):
    model = {"simple": SIMPLE, "single": SINGLE, "double": DOUBLE}[name]
    rng = np.random.default_rng(1)
    value = np.array(TRUTH[name]) * rng.uniform(0.8, 1.2, (6, len(model.parameters)))
    y, weight = rng.normal(1.1, 0.1, (6, X.size)), rng.uniform(50, 200, (6, X.size))
    lower, upper = model.box(X)
    alone = Model.from_function(model.evaluate, model.names, jac=model.jacobian)
    for one, other in zip(
        vars_of(project(value, X, y, weight, model, lower, upper)),
        vars_of(project(value, X, y, weight, alone, lower, upper)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def vars_of(fit):
    return fit.residual, fit.used, fit.unit, fit.basis


def test_residuals_are_data_less_model_over_sigma():
    y = SIMPLE.evaluate(X, *TRUTH["simple"])[None] + 0.01
    fit = project(np.array([TRUTH["simple"]]), X, y, np.full_like(y, 200.0), SIMPLE, *SIMPLE.box(X))
    np.testing.assert_allclose(fit.residual, 2.0)


def test_a_parameter_on_its_bound_counts_as_held():
    lower, upper = SIMPLE.box(X)
    value = np.array([TRUTH["simple"], TRUTH["simple"]])
    value[1, 0] = upper[0]
    y = SIMPLE.evaluate(X[None], *value.T[:, :, None])
    fit = project(value, X, y, np.full_like(y, 100.0), SIMPLE, lower, upper)
    assert fit.rank.tolist() == [3, 2]
    np.testing.assert_allclose(fit.leverage.sum(axis=1), [3, 2])
    assert not fit.unit[0, 1].any()
    held, _ = SIMPLE.box(X, fixed={"contrast": 1.0})
    assert project(value[1:], X, y[1:], np.full_like(y[1:], 100.0), SIMPLE, held, upper).rank.tolist() == [2]


def test_a_point_that_decides_a_parameter_has_no_residual():
    x = np.concatenate([np.ones(9), [2.0]])
    y = np.random.default_rng(2).normal(1, 0.1, (1, 10))
    value = np.array([[2 * y[0, :9].mean() - y[0, 9], y[0, 9] - y[0, :9].mean()]])
    found = influence(project(value, x, y, np.full_like(y, 10.0), LINE, *FREE), absolute=True)
    assert found.leverage[0, 9] == pytest.approx(1)
    assert np.isnan(found.standardised[0, 9])
    assert np.isnan(found.cook[0, 9])
    assert np.isfinite(found.standardised[0, :9]).all()


def test_directions_are_orthonormal_and_span_the_columns():
    rng = np.random.default_rng(3)
    columns = rng.standard_normal((4, 3, 30))
    columns[3, 1] = columns[0, 1] + 2 * columns[2, 1]
    columns[1] = columns[0] + 1e-6 * columns[1]  # nearly the same
    columns /= np.linalg.norm(columns, axis=2)[:, :, None]
    basis = orthonormal(columns)
    for i, rank in enumerate((4, 3, 4)):
        q = basis[:, i]
        np.testing.assert_allclose(q @ q.T, np.diag([1, 1, 1, rank > 3]), atol=1e-12)
        np.testing.assert_allclose(columns[:, i] @ q.T @ q, columns[:, i], atol=1e-12)


def test_condition_and_correlation_are_those_of_the_scaled_normal_matrix():
    rng = np.random.default_rng(4)
    y = SINGLE.evaluate(X, *TRUTH["single"]) + 1e-3 * rng.standard_normal((3, X.size))
    fits = fit_curves(X, y, 1e-3, "single", covariance="wald")
    found = entanglement(project(fits.value, X, y, np.full_like(y, 1e3), SINGLE, *SINGLE.box(X)))
    for i in range(3):
        jacobian = SINGLE.jacobian(X, *fits.value[i])
        unit = jacobian / np.linalg.norm(jacobian, axis=0)
        assert found.condition_number[i] == pytest.approx(np.linalg.cond(unit), rel=1e-9)
        size = np.sqrt(np.diag(fits.covariance[i]))
        np.testing.assert_allclose(found.correlation[i], fits.covariance[i] / np.outer(size, size), atol=1e-6)


def test_what_cannot_be_told_apart_has_no_correlation():
    def twice(x, a, b, c):
        return a + b + c * x

    model = Model.from_function(twice)
    value, y = np.array([[1.0, 1.0, 0.5]]), np.ones((1, X.size))
    fit = project(value, X, y, np.ones_like(y), model, np.full(3, -np.inf), np.full(3, np.inf))
    found = entanglement(fit)
    assert fit.rank.tolist() == [2]
    assert np.isinf(found.condition_number[0])
    assert np.isnan(found.correlation).all()


def test_a_curve_that_cannot_be_looked_at_says_so_and_spares_its_neighbours():
    value = np.array([TRUTH["single"], TRUTH["single"]])
    value[0, 1] = np.nan
    y = np.full((2, X.size), 1.1)
    fit = project(value, X, y, np.ones_like(y), SINGLE, *SINGLE.box(X))
    assert np.isnan(fit.residual[0]).all()
    assert np.isfinite(fit.residual[1]).all()
    assert fit.rank.tolist() == [0, 4]


def test_points_are_brought_together_in_their_order():
    x, y, weight, value = straight(n=3, m=12)
    shuffled = np.random.default_rng(5).permutation(12)
    fit = project(value, x[shuffled], y[:, shuffled], weight[:, shuffled], LINE, *FREE)
    found, point = fit.together(x[shuffled])
    for i in range(3):
        used = weight[i] > 0
        count = used.sum()
        expected = ((y[i] - line(x, *value[i])) * weight[i])[used]
        np.testing.assert_allclose(found.residual[i, :count], expected)
        assert not found.residual[i, count:].any()
        assert not found.basis[:, i, count:].any()
        np.testing.assert_array_equal(x[shuffled][point[i, :count]], x[used])
