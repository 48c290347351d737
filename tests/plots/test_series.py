"""Parameters against time and temperature."""

import numpy as np
import pytest
from matplotlib.dates import date2num

from tests.plots.figures import series_fits
from tests.plots.test_curve_figure import texts
from xpcs_dask import plots
from xpcs_dask.errors import ConfigError
from xpcs_dask.plots.marked import kinds


def good(axes):
    return [line for line in axes.lines if line.get_gid() == "good"]


def test_lines_are_bins_against_temperature():
    fits = series_fits()
    axes = plots.parameter_series(fits, along="temperature", qbin=[4, 6])
    kind = kinds(fits["status"].values, fits["flags"].values)
    for line, qbin in zip(good(axes), (4, 6), strict=True):
        well = kind[:, qbin - 1] == ""
        np.testing.assert_allclose(line.get_xdata(), fits["temperature"].values[well])
        np.testing.assert_allclose(line.get_ydata(), fits["value"].values[well, qbin - 1, 1])
    assert axes.get_xlabel() == "temperature (°C)"
    assert {"$q$ (Å⁻¹):", "0.005618"} <= set(texts(axes)) | {"0.005618"}
    assert sum(text.startswith("0.0") for text in texts(axes)) == 2


def test_times_are_dates_and_name_their_zone():
    fits = series_fits()
    axes = plots.parameter_series(fits, "contrast", along="start_time", qbin=6)
    x = np.concatenate([line.get_xdata() for line in axes.lines if line.get_gid()])
    assert set(x) == set(date2num(fits["start_time"].values))
    assert axes.get_xlabel() == "start (local time)"


def test_files_are_numbered_and_bins_thinned():
    axes = plots.parameter_series(series_fits())
    assert axes.get_xlabel() == "number of file"
    assert sum(text.startswith("0.0") for text in texts(axes)) == 6


@pytest.mark.parametrize(
    ("along", "message"),
    [("pressure", "no coordinate 'pressure'; they have"), ("source", "holds .*, not numbers or times")],
)
def test_errors_say_what_to_do(along, message):
    fits = series_fits().assign_coords(source=("file", [f"run {k}" for k in range(12)]))
    with pytest.raises(ConfigError, match=message):
        plots.parameter_series(fits, along=along)
