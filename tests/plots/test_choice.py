"""What speaks for which model, over q."""

import numpy as np
import pytest

from tests.plots.figures import compared, series_fits
from tests.plots.test_curve_figure import texts
from xpcs_dask import plots
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import Status


def curves(axes):
    return [line for line in axes.lines if line.get_linestyle() == "-"]


@pytest.mark.parametrize("criterion", ["akaike_weight", "aicc", "bic", "cv"])
def test_lines_are_the_numbers_and_filled_points_the_choice(criterion):
    found = compared()
    axes = plots.comparison(found, criterion)
    values = found[criterion].values[0]
    if criterion in ("aicc", "bic"):
        values = values - values.min(axis=1, keepdims=True)
    judge = {"akaike_weight": "aicc"}.get(criterion, criterion)
    best = found["best"].sel(criterion=judge).values[0]
    chosen = [line for line in axes.lines if line.get_gid() == "chosen"]
    for k, line in enumerate(curves(axes)):
        np.testing.assert_allclose(line.get_ydata(), values[:, k])
        np.testing.assert_allclose(chosen[k].get_xdata(), found["q"].values[best == k])
    assert sum(np.size(line.get_xdata()) for line in chosen) == 12
    assert {"simple", "single", "double", "chosen"} <= set(texts(axes))


def test_errors_of_the_cross_validation_are_drawn():
    axes = plots.comparison(compared(), "cv")
    segments = np.array([s for bars in axes.collections for s in bars.get_segments()])
    np.testing.assert_allclose(
        np.sort(np.ptp(segments[:, :, 1], axis=1) / 2), np.sort(compared()["cv_stderr"].values.ravel())
    )


def test_a_model_that_failed_is_a_cross():
    found = compared().copy(deep=True)
    found["status"][0, 2, 1] = int(Status.NOT_CONVERGED)
    for name in ("akaike_weight", "aicc", "bic"):
        found[name][0, 2, 1] = np.nan
    axes = plots.comparison(found)
    (cross,) = (line for line in axes.lines if line.get_gid() == "failed" and np.size(line.get_xdata()))
    np.testing.assert_allclose(cross.get_xdata(), found["q"].values[2])
    assert "failed" in texts(axes)


def test_errors_say_what_to_do():
    with pytest.raises(ConfigError, match="criterion: 'aic' is none of akaike_weight, aicc, bic, cv"):
        plots.comparison(compared(), "aic")
    with pytest.raises(ConfigError, match="no akaike_weight; it takes the results of compare"):
        plots.comparison(series_fits())
    with pytest.raises(ConfigError, match="no cv; compare with folds=5"):
        plots.comparison(compared().drop_vars("cv"), "cv")
