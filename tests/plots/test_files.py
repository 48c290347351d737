"""The map of a parameter over files and bins."""

import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.plots.figures import series, series_fits
from tests.plots.test_curve_figure import texts
from xpcs_dask import plots
from xpcs_dask.errors import ConfigError
from xpcs_dask.plots.marked import kinds


def mesh(axes):
    return next(c for c in axes.collections if type(c).__name__ == "QuadMesh")


def test_cells_are_the_values_bins_up_and_files_along():
    axes = plots.parameter_map(series_fits())
    np.testing.assert_allclose(
        np.ma.filled(mesh(axes).get_array().reshape(12, 12), np.nan), series_fits()["value"].values[..., 1].T
    )
    corners = mesh(axes).get_coordinates()
    assert (corners[..., 0].min(), corners[..., 0].max()) == (-0.5, 11.5)
    axes.figure.draw_without_rendering()
    bar = next(other for other in axes.figure.axes if other is not axes)
    assert bar.get_ylabel() == "$\\tau$ (s)"


def test_dots_are_on_the_doubtful_curves():
    axes = plots.parameter_map(series_fits())
    (dots,) = (line for line in axes.lines if line.get_gid() == "doubtful")
    kind = kinds(series_fits()["status"].values, series_fits()["flags"].values).T
    assert {(int(x), int(y)) for x, y in zip(*dots.get_data(), strict=True)} == {
        (int(x), int(y)) for y, x in np.argwhere(kind != "")
    }
    assert any(text.startswith("doubtful (") for text in texts(axes))


def test_failed_curves_have_no_colour_and_say_so():
    data = series().copy(deep=True)
    data["g2"][4, 6] = np.nan
    axes = plots.parameter_map(xd.fit(data, "single"))
    hidden = np.argwhere(np.ma.getmaskarray(mesh(axes).get_array()).reshape(12, 12))
    assert hidden.tolist() == [[6, 4]]
    assert "failed" in texts(axes)


def test_colours_leave_out_a_wild_value_and_say_so_with_an_arrow():
    fits = series_fits().copy(deep=True)
    fits["value"][7, 7, 1] = 1e6
    axes = plots.parameter_map(fits)
    assert mesh(axes).norm.vmax < 10
    assert mesh(axes).colorbar.extend in ("max", "both")


def test_temperatures_name_the_columns():
    fits = series_fits().swap_dims(file="temperature")
    axes = plots.parameter_map(fits, "contrast", along="temperature")
    axes.figure.draw_without_rendering()
    assert axes.get_xlabel() == "temperature (°C)"
    assert axes.get_xticklabels()[0].get_text() == "20"


def test_only_the_parameter_is_computed():
    """Not the covariance, which is most of a result."""
    fits = series_fits().chunk(file=1)

    def never(block):
        raise AssertionError("the covariance was read")

    lazy = fits.assign(covariance=fits["covariance"].copy(data=fits["covariance"].data.map_blocks(never, dtype=float)))
    plots.parameter_map(lazy)
    plots.parameter(lazy, file=0)
    plots.parameter_series(lazy)
    with pytest.raises(AssertionError):
        lazy["covariance"].compute()


def test_errors_say_what_to_do():
    with pytest.raises(ConfigError, match="no dimension 'run'; they have file, qbin"):
        plots.parameter_map(series_fits(), along="run")
    with pytest.raises(ConfigError, match="4 entries along repeat"):
        plots.parameter_map(xr.concat([series_fits()] * 4, "repeat"))
