"""Standard errors of replicates, each kind written out or by scipy on the same resample."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from tests.fitting.kernel.curves import BOX, DELAYS
from tests.fitting.test_replicates import arguments, resample, stack
from xpcs_dask.fitting.layout import Status
from xpcs_dask.fitting.models import SINGLE, Model
from xpcs_dask.fitting.recipe import SCHEMES
from xpcs_dask.fitting.replicate_errors import replicate_errors
from xpcs_dask.fitting.replicates import replicates
from xpcs_dask.fitting.resample import indices, words


def made(scheme, model=SINGLE, n=2, number=3, change=None):
    y, weight, clusters = stack("single", n)
    if change:
        change(clusters)
    given = arguments(model, y, weight, scheme, *BOX["single"])
    found = replicates(*given, 0, number, clusters)
    return given, clusters, found, replicate_errors(*given, 0, number, clusters, found)


def slopes(value, weight):
    jacobian = SINGLE.jacobian(DELAYS, *value) * weight[:, None]
    return jacobian, np.linalg.inv(jacobian.T @ jacobian)


@pytest.mark.parametrize(("scheme", "absolute"), [("residual", False), ("blocks", False), ("parametric", True)])
def test_normal_matrix_is_that_of_curve_fit(scheme, absolute):
    given, clusters, found, errors = made(scheme)
    for j in range(2):
        for b in range(3):
            y, weight = resample(given, clusters, j, b)
            jac = SINGLE.jacobian
            _, expected = curve_fit(SINGLE.evaluate, DELAYS, y, found[j, b], 1 / weight, absolute, jac=jac)
            np.testing.assert_allclose(errors[j, b], np.sqrt(np.diag(expected)), rtol=1e-5)


def test_wild_is_hc3():
    given, clusters, found, errors = made("wild")
    y, weight = resample(given, clusters, 1, 2)
    jacobian, inverse = slopes(found[1, 2], weight)
    rest = (y - SINGLE.evaluate(DELAYS, *found[1, 2])) * weight
    leverage = np.einsum("ia,ab,ib->i", jacobian, inverse, jacobian)
    half = inverse @ (jacobian * (rest / (1 - leverage))[:, None]).T
    np.testing.assert_allclose(errors[1, 2], np.sqrt(np.diag(half @ half.T)), rtol=1e-6)


def test_pairs_is_hc3_of_the_drawn_points_one_by_one():
    given, clusters, found, errors = made("pairs")
    y, weight = resample(given, clusters, 1, 2)
    times = np.rint((weight / given[2][1]) ** 2).astype(int)
    point = np.repeat(np.arange(DELAYS.size), times)
    jacobian = SINGLE.jacobian(DELAYS[point], *found[1, 2]) * given[2][1][point, None]
    inverse = np.linalg.inv(jacobian.T @ jacobian)
    rest = (y[point] - SINGLE.evaluate(DELAYS[point], *found[1, 2])) * given[2][1][point]
    leverage = np.einsum("ia,ab,ib->i", jacobian, inverse, jacobian)
    half = inverse @ (jacobian * (rest / (1 - leverage))[:, None]).T
    np.testing.assert_allclose(errors[1, 2], np.sqrt(np.diag(half @ half.T)), rtol=1e-6)


@pytest.mark.parametrize("gap", [False, True])
def test_cluster_is_the_sandwich_of_the_drawn_clusters(gap):
    def change(clusters):
        if gap:
            clusters[1, 5] = np.nan
            clusters[1, 3, 7:12] = np.nan

    given, clusters, found, errors = made("cluster", change=change)
    _, weight = resample(given, clusters, 1, 2)
    own = clusters[1][np.isfinite(clusters[1]).any(axis=1)]
    number = len(own)
    own = own[indices(words(given[-1], int(given[-2][1]), 2, number), number)]
    held = np.isfinite(own)
    moved = np.where(held, own - np.nanmean(own, axis=0), 0) / held.sum(axis=0)
    jacobian, inverse = slopes(found[1, 2], weight)
    influence = (moved * weight) @ jacobian @ inverse
    expected = number / (number - 1) * influence.T @ influence
    np.testing.assert_allclose(errors[1, 2], np.sqrt(np.diag(expected)), rtol=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_of_the_user_has_the_same_errors(scheme):
    def decay(x, contrast, tau, stretch, baseline):
        return baseline + contrast * np.exp(-2 * (x / tau) ** stretch)

    *_, errors = made(scheme)
    *_, own = made(scheme, Model.from_function(decay, SINGLE.parameters))
    np.testing.assert_allclose(own, errors, rtol=1e-3)


def test_failed_replicates_have_no_error_and_others_keep_theirs():
    y, weight, clusters = stack("single", 3)
    y[1] = np.nan
    given = arguments(SINGLE, y, weight, "wild", *BOX["single"])
    assert given[7]["status"][1] != Status.CONVERGED
    found = replicates(*given, 0, 4, clusters)
    found[2, 1] = np.nan
    errors = replicate_errors(*given, 0, 4, clusters, found)
    assert np.isnan(errors[1]).all()
    assert np.isnan(errors[2, 1]).all()
    assert np.isfinite(errors[[0, 0, 2, 2], [0, 3, 0, 2]]).all()


@pytest.mark.parametrize("scheme", ["cluster", "wild", "residual"])
def test_same_bits_in_any_range(scheme):
    given, clusters, found, errors = made(scheme, number=300)
    again = replicate_errors(*given, 290, 300, clusters, found[:, 290:])
    assert again.tobytes() == errors[:, 290:].tobytes()
