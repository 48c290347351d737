"""A parameter over q: values, intervals, and those that are doubtful or failed."""

import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.plots.figures import series, series_fits
from tests.plots.test_curve_figure import texts
from xpcs_dask import plots
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import Flag


def groups(axes):
    return {line.get_gid(): line for line in axes.lines if line.get_gid()}


def test_values_and_standard_errors_are_those_of_the_fit():
    fits = series_fits().isel(file=[4])
    axes = plots.parameter(fits, "contrast", log=False)
    own = fits.sel(parameter="contrast").isel(file=0)
    good = groups(axes)["good"]
    at = np.isin(fits["q"].values, good.get_xdata())
    np.testing.assert_allclose(good.get_ydata(), own["value"].values[at])
    segments = np.array([segment for bars in axes.collections for segment in bars.get_segments()])
    half = {round(float(x), 9): (high - low) / 2 for (x, low), (_, high) in segments}
    for q, error in zip(fits["q"].values[at], own["stderr"].values[at], strict=True):
        assert half[round(float(q), 9)] == pytest.approx(error)
    assert "standard error" in texts(axes)


def test_intervals_are_drawn_where_there_are_some():
    fits = xd.fit(series().isel(file=[2]), "single", interval="profile", level=0.9)
    axes = plots.parameter(fits)
    assert "90 % interval" in texts(axes)
    ends = {(round(x, 9), low, high) for bars in axes.collections for (x, low), (_, high) in bars.get_segments()}
    for q, (low, high) in zip(fits["q"].values, fits["interval"].sel(parameter="tau").values[0], strict=True):
        if np.isfinite([low, high]).all():
            assert (round(q, 9), low, high) in ends


def test_every_curve_is_there_the_doubtful_hollow_and_the_failed_as_crosses():
    data = series().isel(file=[11]).copy(deep=True)
    data["g2"][0, 3] = np.nan
    fits = xd.fit(data, "single")
    axes = plots.parameter(fits)
    found = groups(axes)
    drawn = sum(np.size(line.get_xdata()) for line in found.values())
    assert drawn == 12
    assert found["failed"].get_marker() == "x"
    np.testing.assert_allclose(found["failed"].get_xdata(), fits["q"].values[3])
    bits = fits["flags"].values[0]
    weak = found["weak"].get_xdata() if "weak" in found else []
    for q in weak:
        assert bits[np.argmin(np.abs(fits["q"].values - q))] & Flag.WEAK
    names = set(found) - {"good", "failed", "good, beyond the axis"}
    assert names
    assert all(found[name].get_fillstyle() == "none" for name in names)
    assert "failed" in texts(axes)


def test_doubtful_values_stand_at_their_height():
    """They are put there in units of the axes, on a logarithmic axis too."""
    fits = series_fits().isel(file=[0])
    axes = plots.parameter(fits)
    line = groups(axes)["slow"]
    height = line.get_transform().transform(np.stack([line.get_xdata(), line.get_ydata()], axis=-1))[:, 1]
    back = axes.transData.inverted().transform(np.stack([np.zeros(height.size), height], axis=-1))[:, 1]
    at = np.isin(fits["q"].values, line.get_xdata())
    np.testing.assert_allclose(back, fits["value"].sel(parameter="tau").values[0, at], rtol=1e-9)


def test_a_wild_value_does_not_make_the_axis():
    fits = series_fits().isel(file=[0]).copy(deep=True)
    fits["value"][0, 5, 1] = 1e6
    fits["flags"][0, 5] = int(Flag.NO_SIGNAL)
    axes = plots.parameter(fits)
    assert axes.get_ylim()[1] < 10
    assert groups(axes)["no_signal"].get_ydata() == pytest.approx([1.0])


def test_other_coordinates_and_files():
    axes = plots.parameter(series_fits(), "stretch", against="qbin", file=["run00001", "run00002"])
    assert axes.get_xlabel() == "qbin"
    assert {"run00001", "run00002"} <= set(texts(axes))
    assert axes.get_xscale() == "linear"
    many = plots.parameter(series_fits())
    assert sum(text.startswith("run") for text in texts(many)) == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plots.parameter(series_fits(), "tau1"),
            "no parameter 'tau1'; they have contrast, tau",
        ),
        (lambda: plots.parameter(series_fits(), against="phase"), "no coordinate 'phase'"),
        (lambda: plots.parameter(series()), "have no value; it takes the results of fit"),
        (lambda: plots.parameter(xr.DataTree()), "a DataTree"),
        (lambda: plots.parameter(3), "must be a Dataset, not int"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
