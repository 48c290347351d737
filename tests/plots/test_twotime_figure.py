"""Two-time maps: of files, and of plain arrays."""

import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.conftest import carried
from tests.plots.figures import ageing
from xpcs_dask import plots
from xpcs_dask.errors import ConfigError
from xpcs_dask.plots.twotime_figure import thinned, without_diagonal

FILE = "boost_corr/S0005_twotime_a0000_f000200_r00001_twotime_results.hdf"


def shown(axes):
    return np.asarray(axes.images[0].get_array())


def test_t1_is_along_and_t2_up():
    c2 = ageing().copy()
    c2[20, 70] = 1.15
    axes = plots.twotime(c2, diagonal=True)
    np.testing.assert_array_equal(shown(axes), c2.values.T)
    assert axes.images[0].get_extent() == pytest.approx((-0.015, 2.985, -0.015, 2.985))
    assert axes.images[0].origin == "lower"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$t_1$ (s)", "$t_2$ (s)")


def test_the_diagonal_is_replaced_unless_asked_for():
    values = ageing().values
    found = without_diagonal(values)
    off = ~np.eye(100, dtype=bool)
    np.testing.assert_array_equal(found[off], values[off])
    assert found[0, 0] == values[0, 1]
    assert found[50, 50] == pytest.approx((values[49, 50] + values[50, 51]) / 2)
    assert shown(plots.twotime(ageing())).diagonal().max() < 1.4
    assert shown(plots.twotime(ageing(), diagonal=True)).diagonal().min() == 1.8


def test_large_maps_are_means_of_squares():
    values = np.arange(49.0).reshape(7, 7)
    found = thinned(values, 4)
    assert found.shape == (4, 4)
    assert found[0, 1] == values[:2, 2:4].mean()
    assert found[3, 3] == values[6, 6]
    assert shown(plots.twotime(ageing(), largest=40)).shape == (34, 34)


def test_colours_span_what_is_told_or_most_of_the_values():
    assert plots.twotime(ageing(), limits=(1.0, 1.2)).images[0].get_clim() == (1.0, 1.2)
    axes = plots.twotime(ageing())
    np.testing.assert_allclose(axes.images[0].get_clim(), np.quantile(shown(axes), [0.01, 0.99]))
    assert axes.images[0].colorbar.extend == "both"


def test_maps_of_files_are_read_one_by_one(monkeypatch):
    from xpcs_dask.io import extras

    read, real = [], extras.read_block

    def noted(stored, rows, *others, **options):
        read.append(rows.tolist())
        return real(stored, rows, *others, **options)

    monkeypatch.setattr(extras, "read_block", noted)
    monkeypatch.setattr(extras, "BLOCK_BYTES", 1)  # one map a block
    maps = xd.open_arrays(carried(FILE), ["c2"])
    labels = maps["c2_bin"].values
    read.clear()
    axes = plots.twotime(maps, c2_bin=int(labels[1]), diagonal=True)
    assert read == [[labels[1]]]
    np.testing.assert_allclose(shown(axes), maps["c2"].values[0, 1].T)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.twotime(xd.open_arrays(carried(FILE), ["c2"])), "entries along c2_bin; say which one: c2_bin="),
        (lambda: plots.twotime(xr.DataArray(np.ones((3, 4)))), "a two-time map is square; c2 has 3 x 4 times"),
        (lambda: plots.twotime(xr.DataArray(np.ones(3))), "two dimensions of time"),
        (lambda: plots.twotime(ageing(), limits=(2, 1)), "is empty; give"),
        (lambda: plots.twotime(xr.Dataset()), r"have no c2; it takes what open_arrays\(path, \['c2'\]\) returns"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_without_times_frames_are_counted():
    axes = plots.twotime(xr.DataArray(np.random.default_rng(0).normal(1, 0.1, (20, 20))))
    assert axes.get_xlabel() == "$t_1$ (frames)"
