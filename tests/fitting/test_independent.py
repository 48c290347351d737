from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import null_space

from xpcs_dask.fitting.hat import Projection, orthonormal
from xpcs_dask.fitting.independent import base, independent


def projection(residual, columns):
    """The same columns (p, m), of unit length, under all residuals (n, m)."""
    columns = np.broadcast_to(columns[:, None], (len(columns), *residual.shape)).copy()
    columns /= np.linalg.norm(columns, axis=2)[:, :, None]
    return Projection(residual, np.ones(residual.shape, bool), columns, orthonormal(columns))


def of_every_error(columns):
    """What one unit of error at each point makes of the numbers: the linear map, and the points of the numbers."""
    m = columns.shape[1]
    hat = columns.T @ np.linalg.pinv(columns.T)
    found = independent(projection(np.eye(m) - hat, columns))
    assert (found.count == m - len(columns)).all()
    return found.number[:, : found.count[0]].T, found.point[0, : found.count[0]]


@pytest.mark.parametrize("p", [1, 3, 7])
def test_numbers_are_independent_of_equal_variance_and_free_of_the_fit(p):
    m = 20
    columns = np.random.default_rng(p).standard_normal((p, m)) * np.geomspace(1, 30, m)
    matrix, _ = of_every_error(columns)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(m - p), atol=1e-10)
    np.testing.assert_allclose(matrix @ columns.T, 0, atol=1e-9)


def test_no_other_independent_numbers_are_nearer_to_the_errors():
    columns = np.stack([np.ones(15), np.exp(-np.linspace(0, 3, 15))])
    matrix, points = of_every_error(columns)
    errors = np.eye(15)[points]
    ours = np.square(matrix - errors).sum()
    rng = np.random.default_rng(0)
    space = null_space(columns).T
    for _ in range(200):
        turn, _ = np.linalg.qr(rng.standard_normal((13, 13)))
        assert ours < np.square(turn @ space - errors).sum()
    left, _, right = np.linalg.svd(errors @ space.T)  # Procrustes: the best there is
    assert ours == pytest.approx(np.square(left @ right @ space - errors).sum(), rel=1e-9)


def test_points_are_in_order_and_unused_ones_are_left_out():
    rng = np.random.default_rng(1)
    m = 14
    used = np.ones((1, m), bool)
    used[0, [2, 7]] = False
    columns = np.where(used, rng.standard_normal((2, 1, m)), 0.0)
    columns /= np.linalg.norm(columns, axis=2)[:, :, None]
    basis = orthonormal(columns)
    error = np.where(used[0], rng.standard_normal(m), 0.0)
    q = basis[:, 0]
    fit = Projection((error - q.T @ (q @ error))[None], used, columns, basis)
    found = independent(fit)
    assert found.count.tolist() == [10]
    points = found.point[0, :10]
    assert (np.diff(points) > 0).all()
    assert not {2, 7} & set(points.tolist())
    assert not found.number[0, 10:].any()
    assert np.square(found.number).sum() == pytest.approx(np.square(fit.residual).sum(), rel=1e-12)


def test_base_points_determine_the_fit():
    columns = np.stack([np.ones(30), np.r_[np.zeros(28), 1.0, 1.0], np.r_[5.0, 5.0, np.zeros(28)]])
    found = base(projection(np.zeros((1, 30)), columns))[0]
    assert found.sum() == 3
    assert np.linalg.cond(columns[:, found]) < 20  # two of one pair would make it singular


def test_a_column_that_adds_nothing_takes_no_point():
    columns = np.stack([np.ones(20), np.ones(20)])
    assert base(projection(np.zeros((1, 20)), columns)).sum() == 1
