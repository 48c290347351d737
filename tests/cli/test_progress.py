from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xpcs_dask.cli import progress
from xpcs_dask.cluster import connect


def fits(shape, chunks):
    packed = da.zeros(shape, chunks=chunks, dtype=[("status", "i1"), ("value", "f8", (3,))])
    dims = ("file", "qbin")
    return xr.Dataset({"status": (dims, packed["status"] + 1), "value": ((*dims, "parameter"), packed["value"])})


LAZY = fits((10, 7), (4, 3))
TREE = xr.DataTree.from_dict({"/": xr.Dataset(), "/a": LAZY, "/b": fits((3, 5), (3, 5))})


@pytest.mark.parametrize("data", [LAZY, TREE], ids=["dataset", "tree"])
@pytest.mark.parametrize(
    "scheduler",
    [
        "sync",
        "threads:2",
        pytest.param("processes:1", marks=pytest.mark.cluster),
        pytest.param("local:1", marks=pytest.mark.cluster),
    ],
)
def test_every_curve_is_counted_once(data, scheduler):
    heard = []
    with connect(scheduler) as connection:
        computed = progress.compute(data, connection, heard.append)
    datasets = [computed] if isinstance(computed, xr.Dataset) else [computed[name].to_dataset() for name in "ab"]
    assert sum(heard) == sum(part["status"].size for part in datasets)
    assert max(heard) <= 15
    assert sum(n > 0 for n in heard) == (9 if data is LAZY else 10)  # blocks of status
    for part in datasets:
        assert part["status"].chunks is None
        np.testing.assert_array_equal(part["status"], 1)


def test_what_is_not_lazy_has_no_blocks():
    assert progress.block_sizes(LAZY.compute()) == {}


def test_the_bar_is_on_stderr_and_only_if_asked(capsys):
    with progress.bar(50, show=False) as advance:
        advance(50)
    assert capsys.readouterr() == ("", "")
    with progress.bar(50, show=True) as advance:
        advance(20)
        advance(30)
    out, err = capsys.readouterr()
    assert out == ""
    assert "50/50" in err
