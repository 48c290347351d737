"""Colours that everyone can tell apart: contrasts by WCAG 2, distances as people without one kind of cone see them."""

import sys
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import xpcs_dask as xd
from tests.test_import import imported
from xpcs_dask.errors import ConfigError
from xpcs_dask.plots import legend, style

SIGHT = {
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Of linear RGB: G. M. Machado, M. M. Oliveira and L. A. F. Fernandes, IEEE TVCG 15, 1291 (2009), full severity."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    rgb = np.asarray(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(colour):
    """Against white."""
    return 1.05 / (float(TO_XYZ[1] @ linear(colour)) + 0.05)


def lab(colour, sight):
    seen = np.clip(np.asarray(SIGHT[sight]) @ linear(colour), 0, 1)
    x = TO_XYZ @ seen / TO_XYZ.sum(axis=1)
    f = np.where(x > (6 / 29) ** 3, np.cbrt(x), x / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_check_of_contrast_is_that_of_the_standard():
    assert contrast("#000000") == pytest.approx(21.0, abs=0.01)
    assert contrast("#777777") == pytest.approx(4.48, abs=0.01)


def test_lines_stand_out_from_white_paper():
    for colour in (*style.PALETTE, style.GREY, *style.ordered(12)):
        assert contrast(colour) >= 3.0, colour


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_are_told_apart(sight):
    """A distance of 2.3 is just seen (CIE 1976); these are three times that apart at least."""
    for one, other in combinations([*style.FILLS, "#ffffff"], 2):
        assert np.linalg.norm(lab(one, sight) - lab(other, sight)) > 6.9, (one, other)
    for count in range(2, 7):
        for one, other in combinations(style.ordered(count), 2):
            assert np.linalg.norm(lab(one, sight) - lab(other, sight)) > 6.9, (count, one, other)


def test_the_distance_sees_colours_that_are_alike():
    red, green = "#c00000", "#4a6000"
    assert np.linalg.norm(lab(red, "all cones") - lab(green, "all cones")) > 50
    assert np.linalg.norm(lab(red, "no red") - lab(green, "no red")) < 30


def test_few_lines_have_the_palette_and_many_a_scale():
    assert style.colours(3) == list(style.PALETTE[:3])
    assert len({tuple(colour) for colour in style.colours(9)}) == 9


def test_a_figure_shows_itself_in_notebooks_and_leaves_pyplot_alone():
    made = style.figure()
    made.subplots().plot([1, 2])
    assert made._repr_png_().startswith(b"\x89PNG")
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_a_figure_grows_with_its_legend_and_panels_stay():
    heights = []
    for count in (1, 12):
        axes = style.one(None, 6.0)
        axes.plot([1, 2])
        legend.legend(axes, ("", legend.lines([f"a long name {k}" for k in range(count)], ["#000000"] * count)))
        axes.figure.draw_without_rendering()
        heights.append((axes.figure.get_figheight(), axes.get_window_extent().height))
    assert heights[1][0] > heights[0][0] + 0.3
    assert heights[1][1] == pytest.approx(heights[0][1], rel=0.05)


def test_wrong_axes_are_refused():
    with pytest.raises(ConfigError, match="one panel, but 2 Axes were given"):
        style.one(Figure().subplots(1, 2))
    with pytest.raises(ConfigError, match="not int"):
        style.one(3)


def test_plots_are_imported_when_they_are_used():
    assert imported("import xpcs_dask", "xpcs_dask.plots", "matplotlib") == []
    assert imported("import xpcs_dask; xpcs_dask.plots", "xpcs_dask.plots", "matplotlib.pyplot") == ["xpcs_dask.plots"]
    assert set(xd.plots.__all__) <= set(dir(xd.plots))
