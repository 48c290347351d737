"""Refits of one curve: histograms, pairs, correlations."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import xpcs_dask as xd
from tests.plots.figures import pixels, refits
from xpcs_dask import plots
from xpcs_dask.errors import ConfigError

REFITS = ("contrast", "tau", "stretch", "baseline")


def thetas():
    found = refits()["replicate"].values[0, 0]
    return found[np.isfinite(found).all(axis=1)]


def test_pairs_and_correlations_are_those_of_the_refits():
    grid = plots.replicates(refits())
    theta = thetas()
    assert grid.shape == (4, 4)
    expected = np.corrcoef(theta.T)
    for row in range(4):
        for column in range(row):
            dots = max(grid[row, column].lines, key=lambda line: np.size(line.get_xdata()))
            np.testing.assert_array_equal(dots.get_xdata(), theta[:, column])
            np.testing.assert_array_equal(dots.get_ydata(), theta[:, row])
            text = grid[column, row].texts[0].get_text().replace("−", "-")
            assert float(text) == pytest.approx(expected[row, column], abs=0.0051)


def test_histograms_count_all_refits_and_show_fit_and_interval():
    grid, theta = plots.replicates(refits(), names=["tau", "stretch"]), thetas()
    for k, panel in zip((1, 2), np.diagonal(grid), strict=True):
        steps = max(panel.patches, key=lambda patch: len(patch.get_xy()) if hasattr(patch, "get_xy") else 0)
        heights = steps.get_xy()[:, 1]
        assert heights.max() == np.histogram(theta[:, k], bins=int(np.sqrt(len(theta))))[0].max()
        assert panel.lines[0].get_xdata()[0] == float(refits()["value"].values[0, 0, k])
        span = min(panel.patches, key=lambda patch: patch.get_window_extent().width if patch is not steps else np.inf)
        edges = np.sort(np.unique(span.get_path().vertices[:, 0] * span.get_width() + span.get_x()))
        np.testing.assert_allclose(edges[[0, -1]], refits()["interval"].values[0, 0, k])


def test_small_numbers_have_their_power_of_ten_with_the_name():
    found = refits().copy(deep=True)
    for name in ("value", "replicate", "interval"):
        found[name].loc[{"parameter": "tau"}] *= 1e-4
    grid = plots.replicates(found, names=["tau", "contrast"])
    grid[0, 0].figure.draw_without_rendering()
    assert grid[1, 0].get_xlabel() == "$\\tau$ ($10^{-6}$ s)"
    ticks = [float(text.get_text().replace("−", "-")) for text in grid[1, 0].get_xticklabels()]
    assert max(abs(tick) for tick in ticks) < 100


def test_a_held_parameter_is_left_out():
    found = xd.bootstrap(pixels(), model="single", fixed={"stretch": 1.0}, keep_replicates=True, resamples=250)
    assert plots.replicates(found).shape == (3, 3)


def test_what_cannot_be_drawn_is_refused():
    kept = refits()
    with pytest.raises(ConfigError, match=r"no replicate; it comes from bootstrap\(..., keep_replicates=True\)"):
        plots.replicates(kept.drop_vars("replicate"))
    with pytest.raises(ConfigError, match="no parameter 'D'; they have contrast, tau"):
        plots.replicates(kept, names=["D"])
    with pytest.raises(ConfigError, match="2 parameters need 2 x 2 Axes, not 1"):
        plots.replicates(kept, names=["tau", "contrast"], axes=Figure().subplots())
    none = kept.copy(deep=True)
    none["replicate"][:] = np.nan
    with pytest.raises(ConfigError, match="0 refits that ended in a minimum"):
        plots.replicates(none)
