from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.cross_validation import cross_validate, fold_masks
from xpcs_dask.fitting.models import SIMPLE, SINGLE, Model
from xpcs_dask.fitting.strategy import fit_stack

X = np.geomspace(1e-4, 1, 40)


def curves(n=4, seed=0, holes=0.1):
    rng = np.random.default_rng(seed)
    y = SINGLE.evaluate(X, 0.3, 0.01, 0.7, 1.0) + 2e-3 * rng.standard_normal((n, X.size))
    return y, np.where(rng.random(y.shape) < holes, 0.0, 500.0)


def validated(y, weight, model, masks):
    lower, upper = model.box(X)
    rows = fit_stack(X, y, weight, model, FitConfig(), lower, upper)
    return cross_validate(rows, X, y, weight, model, FitConfig(), lower, upper, masks)


def test_folds_part_the_delays_into_blocks_of_neighbours():
    delay = np.random.default_rng(0).permutation(X)
    masks = fold_masks(delay, 5, seed=3)
    assert (masks.sum(axis=0) == 1).all()
    assert masks.sum(axis=1).tolist() == [8] * 5
    in_order = masks[:, np.argsort(delay)]
    for half in (in_order[:, :20], in_order[:, 20:]):
        begins = np.diff(np.pad(half.astype(int), ((0, 0), (1, 0))), axis=1) == 1
        assert (half.sum(axis=1) == 4).all()
        assert (begins.sum(axis=1) == 1).all()  # one block


def test_folds_are_keyed_by_the_seed():
    assert (fold_masks(X, 5, 1) == fold_masks(X, 5, 1)).all()
    assert (fold_masks(X, 5, 1) != fold_masks(X, 5, 2)).any()
    assert fold_masks(X, 4, 2**64 - 1).shape == (4, 40)


@pytest.mark.parametrize("model", [SIMPLE, SINGLE], ids=lambda m: m.name)
def test_errors_of_prediction_are_those_of_scipy(model):
    y, weight = curves()
    masks = fold_masks(X, 4, 0)
    mean, spread = validated(y, weight, model, masks)
    for i in range(len(y)):
        squares = []
        for mask in masks:
            seen, unseen = (weight[i] > 0) & ~mask, (weight[i] > 0) & mask
            begin = (0.3, 0.01, 0.7, 1.0) if model is SINGLE else (0.3, 0.01, 1.0)
            box = model.box(X)
            value, _ = curve_fit(
                model.evaluate, X[seen], y[i, seen], begin, bounds=box, jac=model.jacobian, xtol=1e-14, ftol=1e-14,
                gtol=1e-14, x_scale="jac",
            )  # fmt: skip
            squares.append(((y[i, unseen] - model.evaluate(X[unseen], *value)) * 500) ** 2)
        assert mean[i] == pytest.approx(np.concatenate(squares).mean(), rel=1e-5)
        each = np.array([s.mean() for s in squares])
        assert spread[i] == pytest.approx(each.std(ddof=1) / 2, rel=1e-4)


def test_a_model_that_fits_badly_predicts_badly():
    y, weight = curves(20, holes=0.0)
    masks = fold_masks(X, 5, 0)
    simple, single = (validated(y, weight, model, masks)[0] for model in (SIMPLE, SINGLE))
    assert (simple > 2 * single).all()
    assert np.median(single) == pytest.approx(1.2, abs=0.3)  # a little above 1: unseen points, four parameters


def test_a_fold_without_points_does_not_count():
    y, weight = curves(1, holes=0.0)
    masks = fold_masks(X, 5, 0)
    weight[0, masks[2]] = 0
    mean, spread = validated(y, weight, SINGLE, masks)
    without, other = validated(y, weight, SINGLE, np.delete(masks, 2, axis=0))
    assert mean[0] == pytest.approx(without[0], rel=1e-9)
    assert spread[0] == pytest.approx(other[0], rel=1e-9)


def test_what_cannot_be_fitted_is_not_a_number():
    y, weight = curves(4, holes=0.0)
    masks = fold_masks(X, 5, 0)
    weight[1] = 0
    weight[2, 5:] = 0  # enough for one fit, not for all folds
    mean, spread = validated(y, weight, SINGLE, masks)
    assert np.isnan(mean).tolist() == [False, True, True, False]
    assert np.isnan(spread).tolist() == [False, True, True, False]


def test_models_of_ones_own_are_validated_too():
    model = Model.from_function(SIMPLE.evaluate, SIMPLE.parameters, jac=SIMPLE.jacobian)
    y, weight = curves(2)
    masks = fold_masks(X, 3, 0)
    np.testing.assert_allclose(validated(y, weight, model, masks)[0], validated(y, weight, SIMPLE, masks)[0], rtol=1e-4)
