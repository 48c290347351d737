"""The map of points that were not used."""

import numpy as np
import pytest

import xpcs_dask as xd
from tests.plots.figures import starved, starved_fits
from tests.plots.test_curve_figure import texts
from tests.plots.test_files import mesh
from xpcs_dask import plots
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.plots.points import REASONS, reason_of
from xpcs_dask.plots.quality_figure import COLOURS, edges


def test_every_cell_has_the_colour_of_its_reason():
    axes = plots.quality_map(starved_fits())
    bits = starved_fits()["quality"].values[0]
    colours = mesh(axes).to_rgba(mesh(axes).get_array()).reshape(*bits.shape, 4)
    unused = (bits & PointFlag.NOT_USED) != 0
    for (row, column), reason in np.ndenumerate(reason_of(bits)):
        if unused[row, column]:
            expected = COLOURS[reason]
            assert "#{:02X}{:02X}{:02X}".format(*(round(255 * part) for part in colours[row, column, :3])) == expected
    plain = ~unused & ((bits & PointFlag.ERROR_COLLAPSE) == 0)
    assert plain.sum() > 300
    np.testing.assert_array_equal(colours[plain][:, :3], 1.0)


def test_the_legend_has_the_reasons_that_occur():
    bits = starved_fits()["quality"].values[0]
    unused = reason_of(bits[(bits & PointFlag.NOT_USED) != 0])
    expected = {REASONS[bit] for bit in np.unique(unused)}
    found = set(texts(plots.quality_map(starved_fits())))
    assert expected == found & set(REASONS.values())
    assert {"outlier", "missing"} <= expected


def test_points_of_quality_are_enough():
    points = xd.quality(starved())
    np.testing.assert_array_equal(
        mesh(plots.quality_map(points)).get_array(), mesh(plots.quality_map(xd.fit(starved(), "simple"))).get_array()
    )


def test_cells_lie_around_their_delays():
    delay = np.array([1e-4, 1e-3, 1e-2])
    np.testing.assert_allclose(edges(delay), [10**-4.5, 10**-3.5, 10**-2.5, 10**-1.5])
    assert edges(np.array([1.0])).tolist() == pytest.approx([np.exp(-0.5), np.exp(0.5)])


def test_of_several_reasons_the_first_is_shown():
    bits = np.array([PointFlag.MISSING | PointFlag.ERROR_COLLAPSE, PointFlag.OUTLIER | PointFlag.NOT_USED, 0])
    assert reason_of(bits).tolist() == [PointFlag.MISSING, PointFlag.OUTLIER, 0]
    assert plots.reasons(int(bits[0])) == ["missing", "error collapse"]


def test_without_flags_of_points_it_says_where_they_come_from():
    with pytest.raises(ConfigError, match="have no quality; fit with detail='full', or take"):
        plots.quality_map(xd.fit(starved(), "simple", detail="core"))
