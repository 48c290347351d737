from __future__ import annotations

import numpy as np
import pytest

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.blocks import Job
from xpcs_dask.fitting.candidates import candidates, nested
from xpcs_dask.fitting.cross_validation import fold_masks
from xpcs_dask.fitting.layout import ErrorsFrom, Status
from xpcs_dask.fitting.models import SIMPLE
from xpcs_dask.fitting.selection import Plan, akaike_weights, best, compare_block, simplest
from xpcs_dask.fitting.strategy import fit_stack

X = np.geomspace(1e-5, 1, 50)
SIGMA = 2e-3 * np.geomspace(1, 5, 50)


def plan(models=("simple", "single"), folds=0, **settings):
    records = candidates(models)
    config = FitConfig(errors="quoted", **settings)
    boxes = [one.model.box(X, None, one.fixed) for one in records]
    jobs = tuple(
        Job(
            delay=X, model=one.model, config=config.model_copy(update={"fixed": dict(one.fixed)}), lower=low, upper=high
        )
        for one, (low, high) in zip(records, boxes, strict=True)
    )
    masks = fold_masks(X, folds, 0) if folds else np.zeros((0, X.size), bool)
    return Plan(models=records, jobs=jobs, pairs=nested(records, boxes), masks=masks)


def curves(n, seed=0, contrast=0.15):
    y = SIMPLE.evaluate(X, contrast, 5e-3, 1.0) + SIGMA * np.random.default_rng(seed).standard_normal((n, X.size))
    return y, np.broadcast_to(SIGMA, y.shape)


def test_a_needless_parameter_is_chosen_as_often_as_was_measured():
    """Shares of statistics.md 1.5 for independent errors, which another program found: AICc 12.8 %, BIC and LR 5 %."""
    found = compare_block(*curves(4000, seed=2), plan=plan(covariance="wald"))
    shares = 100 * (found["best"] == 1).mean(axis=0)
    assert shares == pytest.approx([12.8, 5.0], abs=1.6)
    assert 100 * (found["likelihood_ratio_p"] < 0.05).mean() == pytest.approx(5.1, abs=1.1)
    assert 100 * (found["wald_p"] < 0.05).mean() == pytest.approx(5.0, abs=1.2)


def test_errors_of_unknown_size_choose_as_seldom():
    y, sigma = curves(4000, seed=3)
    settings = {"absolute_sigma": False, "covariance": "scaled"}
    found = compare_block(y, sigma * 0.5, plan=plan(**settings))
    assert 100 * (found["likelihood_ratio_p"] < 0.05).mean() == pytest.approx(5.0, abs=1.2)
    assert 100 * (found["best"][:, 1] == 1).mean() == pytest.approx(5.5, abs=1.6)
    known = compare_block(y, sigma * 0.5, plan=plan(covariance="wald"))
    assert 100 * (known["best"][:, 1] == 1).mean() > 25


def test_columns_are_those_of_the_fits():
    y, sigma = curves(8)
    found = compare_block(y, sigma, plan=plan(folds=4))
    lower, upper = SIMPLE.box(X)
    rows = fit_stack(X, y, 1 / sigma, SIMPLE, FitConfig(errors="quoted"), lower, upper)
    for name in ("chi2", "aicc", "bic", "status"):
        np.testing.assert_allclose(found[name][:, 0], rows[name], rtol=1e-12)
    np.testing.assert_array_equal(found["n_used"], rows["n_used"])
    np.testing.assert_allclose(found["likelihood_ratio"][:, 0], -np.diff(found["chi2"])[:, 0], atol=1e-9)
    assert (found["errors_from"] == ErrorsFrom.WALD).all()
    for k, name in enumerate(("aicc", "bic")):
        np.testing.assert_array_equal(found["best"][:, k], found[name].argmin(axis=1))
    np.testing.assert_array_equal(found["best"][:, 2], simplest(found["cv"], found["cv_stderr"], np.array([3, 4])))


def test_what_cannot_be_fitted_has_no_numbers_and_no_best():
    y, sigma = curves(3)
    y[1] = np.nan
    y[2, 4:] = np.nan  # enough for three parameters, not for four
    found = compare_block(y, sigma, plan=plan(folds=3))
    assert found["status"].tolist()[1:] == [[Status.NO_DATA] * 2, [Status.CONVERGED, Status.TOO_FEW_POINTS]]
    assert found["best"][1].tolist() == [-1, -1, -1]
    assert found["best"][2].tolist() == [-1, 0, -1]  # four points are too few for aicc and for folds
    assert np.isnan(found["likelihood_ratio_p"][1:]).all()
    assert np.isnan(found["akaike_weight"][1]).all()
    assert np.isfinite(found["cv"][0]).all()


def test_bits_do_not_depend_on_the_neighbours():
    y, sigma = curves(9)
    chosen = plan(("simple", "single", "double"), folds=3)
    together = compare_block(y, sigma, plan=chosen)
    alone = np.concatenate([compare_block(y[i : i + 1], sigma[i : i + 1], plan=chosen) for i in range(9)])
    assert alone.tobytes() == together.tobytes()


def test_fields_are_those_that_are_asked_for():
    assert "cv" not in plan().dtype.names
    assert plan().dtype["best"].shape == (2,)
    assert plan(folds=3).dtype["best"].shape == (3,)
    apart = plan(("simple", ("single", {"stretch": 0.5})))
    assert not apart.pairs
    assert "wald" not in apart.dtype.names
    assert compare_block(*curves(2), plan=apart)["best"].shape == (2, 2)


def test_weights_of_akaike():
    found = akaike_weights(np.array([[10.0, 12.0, np.nan], [np.nan] * 3, [1e5, 0.0, 2.0]]))
    assert found[0, :2] == pytest.approx([1 / (1 + np.exp(-1)), np.exp(-1) / (1 + np.exp(-1))])
    assert np.isnan(found[0, 2])
    assert np.isnan(found[1]).all()
    assert found[2] == pytest.approx([0, 1 / (1 + np.exp(-1)), np.exp(-1) / (1 + np.exp(-1))])


def test_the_smallest_is_best():
    assert best(np.array([[3.0, 1.0, np.nan], [np.nan] * 3, [np.nan, 5.0, 5.0]])).tolist() == [1, -1, 1]


def test_the_fewest_parameters_within_one_error_of_the_smallest():
    values = np.array([[1.3, 1.0, 0.9], [1.3, 1.0, 0.9], [np.nan, 1.0, 0.9], [np.nan] * 3, [1.0, np.nan, np.nan]])
    errors = np.array([[0.1, 0.1, 0.2], [0.1, 0.1, 0.5], [np.nan, 0.1, 0.05], [np.nan] * 3, [np.nan] * 3])
    assert simplest(values, errors, np.array([3, 4, 7])).tolist() == [1, 0, 2, -1, 0]
    assert simplest(values[:2], errors[:2], np.array([7, 4, 3])).tolist() == [2, 2]
    assert simplest(np.array([[1.0, 0.9]]), np.array([[0.5, 0.5]]), np.array([3, 3])).tolist() == [1]  # equals
