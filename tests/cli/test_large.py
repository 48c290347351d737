"""A fit that is written block by block says and holds what one in memory says and holds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import xpcs_dask as xd
from tests.conftest import carried
from xpcs_dask.cli import app, large
from xpcs_dask.cli.job import Request
from xpcs_dask.cluster.connect import Connection
from xpcs_dask.config import BootstrapConfig, FitConfig
from xpcs_dask.simulate.files import write_series


@pytest.fixture
def files(tmp_path):
    return write_series(tmp_path / "files", 5, seed=3, q=np.array([0.005, 0.007, 0.009]), frames=20_000)


def fit(*arguments):
    return CliRunner().invoke(app, ["fit", "--scheduler", "sync", "--json", *map(str, arguments)])


@pytest.mark.parametrize("options", [[], ["--detail", "full"], ["--bootstrap", "50", "--over", "delay"]], ids=str)
@pytest.mark.parametrize("source", ["series", "groups"])
def test_the_same_report_and_the_same_bits(files, tmp_path, options, source):
    paths = files if source == "series" else [carried("boost_corr")]
    small = fit(*paths, "-o", tmp_path / "small.zarr", *options)
    big = fit(*paths, "-o", tmp_path / "big.zarr", "--memory", "1GiB", "--chunks", "2", *options)
    assert (small.exit_code, big.exit_code) == (0, 0), big.output
    one, other = (json.loads(result.stdout) for result in (small, big))
    for key in ("seconds", "curves_per_second", "output"):
        del one[key], other[key]
    assert one == other
    first, second = (xd.open_results(tmp_path / name) for name in ("small.zarr", "big.zarr"))
    assert [node.path for node in first.subtree] == [node.path for node in second.subtree]
    for a, b in zip(first.leaves, second.leaves, strict=True):
        xr.testing.assert_identical(a.to_dataset().compute(), b.to_dataset().compute())
    again = fit(*paths, "-o", tmp_path / "big.zarr", *options)
    assert "nothing to do" in again.stderr
    assert again.stdout == big.stdout


def test_overwrite_replaces_a_finished_store(files, tmp_path):
    out = tmp_path / "fits.zarr"
    assert fit(*files, "-o", out, "--memory", "1GiB").exit_code == 0
    refused = fit(*files, "-o", out, "--memory", "1GiB", "--loss", "huber")
    assert refused.exit_code == 6
    assert fit(*files, "-o", out, "--memory", "1GiB", "--loss", "huber", "--overwrite").exit_code == 0
    config = json.loads(xd.open_results(out)["group_0"].attrs["config"])
    assert config["loss"] == "huber"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["files", "fits.zarr"]


def test_little_memory_makes_more_blocks_of_the_same_bits(files, tmp_path, monkeypatch):
    from xpcs_dask.engine import plan

    out, opened = tmp_path / "fits.zarr", []
    monkeypatch.setattr(plan, "BLOCK", 2 * 8 * 3 * xd.open_g2(files).sizes["delay"])
    real = large.planned
    monkeypatch.setattr(large, "planned", lambda *a: opened.append(a[0].chunks) or real(*a))
    assert fit(*files, "-o", out, "--memory", "1GiB").exit_code == 0
    assert opened == ["auto", 2]
    found, known = xd.open_results(out)["group_0"], xd.fit(xd.open_g2(files), detail="core").compute()
    assert found["value"].data.chunks[0] == (2, 2, 1)
    np.testing.assert_array_equal(found["value"], known["value"])


def test_too_little_memory_is_exit_4_and_leaves_nothing(files, tmp_path):
    result = fit(*files, "-o", tmp_path / "fits.zarr", "--memory", "1MB")
    assert result.exit_code == 4
    assert "only 1,000,000 are allowed" in result.stderr
    assert [item.name for item in tmp_path.iterdir()] == ["files"]


def test_what_is_large(files, tmp_path, monkeypatch):
    data = xd.open_g2(files)
    request = Request(paths=tuple(map(str, files)), output=tmp_path / "a.zarr", config=FitConfig.make())
    assert not large.is_large(request, data)
    assert large.is_large(replace(request, memory=10**9), data)
    assert not large.is_large(replace(request, memory=10**9, output=tmp_path / "a.nc"), data)
    assert large.is_large(replace(request, bootstrap=BootstrapConfig.make(resamples=2_000_000)), data)
    assert not large.is_large(replace(request, bootstrap=BootstrapConfig.make(resamples=1000)), data)
    assert large.is_large(request, data.isel(file=np.zeros(90_000, int)))
    (tmp_path / "a.zarr.unfinished").mkdir()
    assert large.is_large(request, data)


def test_the_budget_comes_from_the_workers_of_a_cluster():
    class Client:
        def scheduler_info(self, n_workers):
            assert n_workers == -1
            return {"workers": {"a": {"nthreads": 2, "memory_limit": 10**9}}}

    assert large.budget_of(7, Connection("local", 1, client=Client())) == 7
    assert large.budget_of(None, Connection("local", 1, client=Client())) == int(0.8 * 5 * 10**8) * 2
    assert large.budget_of(None, Connection("threads", 1)) > 10**8


def test_progress_counts_all_curves(files, tmp_path):
    result = fit(*files, "-o", tmp_path / "fits.zarr", "--memory", "1GiB", "--chunks", "1", "--progress")
    assert "15/15" in result.stderr
