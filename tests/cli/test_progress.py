from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from xpcs_dask.cli import progress
from xpcs_dask.cluster import connect
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.results import PackedFits


def fits(shape, chunks):
    records = da.zeros(shape, chunks=chunks, dtype=[("status", "i1"), ("value", "f8", (3,))])
    return PackedFits(records=records, dims=("file", "qbin", "delay"), coords={}, model=MODELS["simple"], attrs={})


LAZY = {"/": fits((10, 7), (4, 3))}
TREE = {"/a": LAZY["/"], "/b": fits((3, 5), (3, 5))}


@pytest.mark.parametrize("packed", [LAZY, TREE], ids=["one", "two"])
@pytest.mark.parametrize(
    "scheduler",
    [
        "sync",
        "threads:2",
        pytest.param("processes:1", marks=pytest.mark.cluster),
        pytest.param("local:1", marks=pytest.mark.cluster),
    ],
)
def test_every_curve_is_counted_once(packed, scheduler):
    heard = []
    with connect(scheduler) as connection:
        computed = progress.compute(packed, connection, heard.append)
    assert list(computed) == list(packed)
    assert sum(heard) == sum(fitted.records.size for fitted in computed.values())
    assert max(heard) <= 15
    assert sum(n > 0 for n in heard) == (9 if packed is LAZY else 10)  # blocks of records
    for fitted in computed.values():
        assert type(fitted.records) is np.ndarray
        assert fitted.labelled()["status"].shape == fitted.records.shape


def test_what_is_not_lazy_has_no_blocks():
    eager = LAZY["/"].computed(LAZY["/"].arrays().compute())
    assert progress.block_sizes({"/": eager}) == {}


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


def test_files_that_are_opened_are_counted_on_stderr_and_only_if_asked(capsys):
    with progress.opening(show=False) as advance:
        assert advance is None
    assert capsys.readouterr() == ("", "")
    with progress.opening(show=True) as advance:
        advance(1, 50)
        advance(50, 50)
    out, err = capsys.readouterr()
    assert out == ""
    assert "opening" in err
    assert "50/50" in err
