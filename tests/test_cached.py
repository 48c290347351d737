"""`fit` and `bootstrap` with the cache of results: the same bits, and nothing is fitted twice."""

from __future__ import annotations

import pytest
import xarray as xr
from engine.stack import stack

import xpcs_dask as xd
from xpcs_dask.engine.cache import counting

DATA = stack(files=6, bins=3)
VERBS = {
    "fit": lambda data, **options: xd.fit(data, "simple", **options),
    "core": lambda data, **options: xd.fit(data, "single", detail="core", interval="covariance", **options),
    "bootstrap": lambda data, **options: xd.bootstrap(data, model="simple", resamples=30, **options),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XPCS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_second_time_comes_from_the_cache(verb):
    plain = verb(DATA)
    with counting() as first:
        once = verb(DATA, cache=True)
    with counting() as second:
        lazy = verb(DATA.chunk(file=4), cache=True).compute(scheduler="sync")
    xr.testing.assert_identical(once, plain)
    xr.testing.assert_identical(lazy, plain)
    assert (first.hits, first.misses) == (0, 6)
    assert (second.hits, second.misses) == (6, 0)


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_one_changed_bit_is_fitted_again(verb):
    verb(DATA, cache=True)
    touched = DATA.copy(deep=True)
    touched["g2"].values.view("u4")[2, 1, 5] ^= 1
    with counting() as counts:
        found = verb(touched, cache=True)
    assert (counts.hits, counts.misses) == (5, 1)
    xr.testing.assert_identical(found, verb(touched))


def test_other_settings_are_other_results():
    xd.fit(DATA, "simple", cache=True)
    for options in ({"model": "single"}, {"errors": "quoted"}, {"robust": "clip"}, {"level": 0.9}):
        with counting() as counts:
            xd.fit(DATA, **{"model": "simple", **options}, cache=True)
        assert counts.hits == 0


def test_without_it_nothing_is_kept(folder):
    xd.fit(DATA, "simple")
    assert not folder.exists()
