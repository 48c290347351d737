"""The whole job as one call: the bits of `fit`, a manifest that adds up, and nothing done twice."""

from __future__ import annotations

import gc
import json
import pickle
import weakref
from pathlib import Path

import numpy as np
import pytest

import xpcs_dask as xd
from tests.conftest import carried
from xpcs_dask import jobs
from xpcs_dask.cluster.connect import Connection
from xpcs_dask.config import RunConfig
from xpcs_dask.errors import ConfigError, OutputExistsError
from xpcs_dask.io import open as open_module
from xpcs_dask.jobs import job as job_module
from xpcs_dask.jobs.job import NothingFitted
from xpcs_dask.jobs.manifest import Manifest, manifest_path
from xpcs_dask.results.run import Unfinished
from xpcs_dask.simulate.files import write_series


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_series(tmp_path_factory.mktemp("files"), 5, seed=3, q=np.array([0.005, 0.007, 0.009]), frames=20_000)


def config_of(inputs, output, **settings):
    return RunConfig.make(inputs=tuple(inputs), output=output, **{"scheduler": "sync"} | settings)


def equal(found, known):
    assert [node.path for node in found.subtree] == [node.path for node in known.subtree]
    for a, b in zip(found.leaves, known.leaves, strict=True):
        one, other = (leaf.to_dataset().compute().drop_attrs(deep=False) for leaf in (a, b))
        assert one.identical(other)


@pytest.mark.parametrize(
    "settings",
    [{}, {"fit": {"detail": "full"}}, {"bootstrap": {"resamples": 50, "over": "delay"}, "cache": False}],
    ids=["core", "full", "bootstrap"],
)
@pytest.mark.parametrize("source", ["series", pytest.param("groups", marks=pytest.mark.slow)])
def test_the_bits_of_the_python_call_whatever_the_blocks(files, tmp_path, source, settings):
    paths = files if source == "series" else [carried("boost_corr")]
    data = xd.open_g2([str(path) for path in paths], on_error="skip", on_mismatch="split")
    fit = {"detail": "core"} | settings.get("fit", {})
    known = xd.bootstrap(data, **settings["bootstrap"], **fit) if "bootstrap" in settings else xd.fit(data, **fit)
    known = xd.open_results(xd.save(known, tmp_path / "known.zarr"))
    for name, chunks in (("one", "auto"), ("other", 2)):
        manifest = xd.run(config_of(paths, tmp_path / f"{name}.zarr", chunks=chunks, **settings))
        equal(xd.open_results(tmp_path / f"{name}.zarr"), known)
    assert manifest.work.blocks == sum(len(node["status"].data.chunks[0]) for node in xd.open_results(
        tmp_path / "other.zarr").leaves)  # fmt: skip


def test_a_netcdf_file_holds_the_same(files, tmp_path):
    for name in ("fits.nc", "fits.zarr"):
        xd.run(config_of(files, tmp_path / name))
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "fits.nc", "fits.nc.manifest.json", "fits.zarr", "fits.zarr.manifest.json",
    ]  # fmt: skip
    equal(xd.open_results(tmp_path / "fits.nc"), xd.open_results(tmp_path / "fits.zarr"))


def test_the_manifest_says_what_was_done(files, tmp_path):
    bad, out = tmp_path / "bad.hdf", tmp_path / "fits.zarr"
    bad.write_bytes(b"")
    heard = []
    manifest = xd.run(config_of([*files, bad], out, chunks=2, fit={"loss": "huber"}), progress=heard.append)
    assert Manifest.read(manifest_path(out)) == manifest
    assert manifest.config.fit.loss == "huber"
    assert (manifest.output, manifest.mode) == (str(out), "standard")
    assert [item.file for item in manifest.inputs] == [str(Path(file).resolve()) for file in files]
    assert [item.size for item in manifest.inputs] == [Path(file).stat().st_size for file in files]
    hashes = xd.open_g2(files)["content_hash"].values
    assert [item.content for item in manifest.inputs] == [f"{int(found):016x}" for found in hashes]
    assert manifest.seed is None  # no random numbers were drawn
    (rejected,) = manifest.rejected
    assert (rejected.file, rejected.size) == (str(bad), 0)
    assert "empty" in rejected.reason
    assert (manifest.counts.files, manifest.counts.files_rejected, manifest.counts.curves) == (6, 1, 15)
    assert (manifest.work.blocks, manifest.work.before) == (3, 0)
    assert list(manifest.work.workers.values()) == [3]
    assert manifest.memory.peak >= manifest.memory.start > 0
    assert manifest.cpu.all >= manifest.cpu.blocks > 0
    assert manifest.cpu.outside == pytest.approx(manifest.cpu.all / manifest.cpu.blocks - 1, rel=0.1)
    assert manifest.begun.endswith("+00:00")
    assert [heard[0].stage, heard[-1].stage] == ["opening", "done"]
    assert (heard[-1].curves_done, heard[-1].curves) == (15, 15)
    data = xd.open_g2(files)
    assert heard[-1].bytes_read == heard[-1].bytes == data["g2"].nbytes + data["g2_err"].nbytes


def test_a_second_call_does_nothing_and_a_lost_manifest_comes_back(files, tmp_path, monkeypatch):
    config = config_of(files, tmp_path / "fits.zarr")
    first = xd.run(config)
    manifest_path(tmp_path / "fits.zarr").unlink()
    monkeypatch.setattr(job_module, "stream_into", None)
    again, made = jobs.carry_out(pickle.loads(pickle.dumps(config)))
    assert (again, made) == (first, False)
    assert Manifest.read(manifest_path(tmp_path / "fits.zarr")) == first
    with pytest.raises(OutputExistsError, match=r"other settings \(loss\)"):
        xd.run(config, fit={"loss": "huber"})


@pytest.mark.cluster
def test_it_runs_on_processes_as_it_is(files, tmp_path):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    config = config_of(files, tmp_path / "fits.zarr")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        manifest = pool.submit(xd.run, config).result()
    assert manifest.counts.ok == 15


def test_overwrite_replaces_a_finished_store(files, tmp_path):
    xd.run(config_of(files, tmp_path / "fits.zarr"))
    xd.run(config_of(files, tmp_path / "fits.zarr", fit={"loss": "huber"}, overwrite=True))
    config = json.loads(xd.open_results(tmp_path / "fits.zarr")["group_0"].attrs["config"])
    assert config["loss"] == "huber"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["fits.zarr", "fits.zarr.manifest.json"]


def test_unfinished_work_is_gone_on_with_and_counted(files, tmp_path, monkeypatch):
    from xpcs_dask.results import run as run_module

    out, fit_block = tmp_path / "fits.zarr", run_module.fit_block

    def stopped(task):
        if task.number == 3:
            raise KeyboardInterrupt
        return fit_block(task)

    monkeypatch.setattr(run_module, "fit_block", stopped)
    with pytest.raises(KeyboardInterrupt, match="what is finished is kept in"):
        xd.run(config_of(files, out, chunks=1))
    with pytest.raises(OutputExistsError, match=r"other settings \(model\); it is not finished"):
        xd.run(config_of(files, out, chunks=1, model="simple"))
    monkeypatch.setattr(run_module, "fit_block", fit_block)
    manifest = xd.run(config_of(files, out))
    assert (manifest.work.blocks, manifest.work.before, manifest.counts.curves) == (5, 3, 15)


def test_little_memory_makes_more_blocks_of_the_same_bits(files, tmp_path, monkeypatch):
    from xpcs_dask.engine import plan

    data = xd.open_g2(files)
    out, opened = tmp_path / "fits.zarr", []
    monkeypatch.setattr(plan, "BLOCK", 2 * 8 * 3 * data.sizes["delay"])
    real = open_module.open_g2

    def watched(*args, chunks, **more):
        opened.append(chunks)
        return real(*args, chunks=chunks, **more)

    monkeypatch.setattr(open_module, "open_g2", watched)
    xd.run(config_of(files, out))
    assert opened == ["auto", 2]
    found, known = xd.open_results(out)["group_0"], xd.fit(data, detail="core").compute()
    assert found["value"].data.chunks[0] == (2, 2, 1)
    np.testing.assert_array_equal(found["value"], known["value"])


def test_what_is_cut_anew_is_not_held_twice(files, tmp_path, monkeypatch):
    source = job_module.Source(config_of(files, tmp_path / "fits.zarr"))
    before, first, real, held = source.files(), weakref.ref(source.data), open_module.open_g2, []

    def watched(*args, **more):
        held.append(first() is not None)
        return real(*args, **more)

    monkeypatch.setattr(open_module, "open_g2", watched)
    gc.disable()  # else it may come by itself, in time or too late
    try:
        source.cut(2)
    finally:
        gc.enable()
    assert held == [False]
    assert source.data["group_0"]["g2"].data.chunks[0] == (2, 2, 1)
    assert source.files() == before


def test_what_cannot_work_is_refused_before_a_file_is_opened(files, tmp_path, monkeypatch):
    monkeypatch.setattr(open_module, "open_g2", None)
    out = tmp_path / "fits.zarr"
    for settings in ({"memory": "much"}, {"model": "triple"}, {"scheduler": "moon"}, {"delay_unit": "years"}):
        with pytest.raises(ConfigError):
            xd.run(RunConfig.make(config_of(files, out), **settings))
    with pytest.raises(ConfigError, match="told by the suffix"):
        xd.run(config_of(files, tmp_path / "fits.hdf"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_fit_says_which_files_and_why(files, tmp_path):
    gone = tmp_path / "gone.hdf"
    with pytest.raises(NothingFitted, match="no usable file") as caught:
        xd.run(config_of([gone], tmp_path / "fits.zarr"))
    manifest = pickle.loads(pickle.dumps(caught.value)).manifest
    assert (manifest.output, manifest.mode, manifest.counts.files, manifest.counts.curves) == (None, None, 1, 0)
    assert [item.file for item in manifest.rejected] == [str(gone)]
    with pytest.raises(NothingFitted, match="q_range") as caught:
        xd.run(config_of(files, tmp_path / "fits.zarr", fit={"q_range": (0.5, 0.6)}))
    assert (len(caught.value.manifest.inputs), caught.value.manifest.counts.curves) == (5, 0)
    assert list(tmp_path.iterdir()) == []


def test_the_budget_comes_from_the_workers_of_a_cluster(files):
    class Client:
        def scheduler_info(self, n_workers):
            assert n_workers == -1
            return {"workers": {"a": {"nthreads": 2, "memory_limit": 10**9}}}

    config = config_of(files, "fits.zarr")
    budget = job_module._budget
    assert budget(RunConfig.make(config, memory=7), Connection("local", 1, client=Client())) == 7
    assert budget(RunConfig.make(config, memory="1kB"), Connection("local", 1, client=Client())) == 1000
    assert budget(config, Connection("local", 1, client=Client())) == int(0.8 * 5 * 10**8) * 2
    assert budget(config, Connection("slurm", 6, client=Client()), 6) == int(0.8 * 5 * 10**8) * 6  # 4 are to come
    assert budget(config, Connection("threads", 1)) > 10**8


def test_workers_that_are_still_in_the_queue_are_planned_for():
    assert job_module.asked(Connection("slurm", 6), 1) == 6
    assert job_module.asked(Connection("pbs", 6), 7) == 7
    assert job_module.asked(Connection("local", 6), 5) == 5
    assert job_module.asked(Connection("threads", None), 2) == 2


def test_a_stack_is_told_as_such(files, tmp_path):
    xd.pack(xd.open_g2(files), tmp_path / "stack.zarr")
    manifest = xd.run(config_of([tmp_path / "stack.zarr"], tmp_path / "fits.zarr"))
    assert manifest.stack.file == str(tmp_path / "stack.zarr")
    assert manifest.counts.files == 5
    assert all(item.size is None for item in manifest.inputs)
    assert not Unfinished(tmp_path / "fits.zarr").folder.exists()


def test_memory_pressure_decides_how_many_blocks_are_under_way(files, tmp_path, monkeypatch):
    asked = []

    class Pressure:
        def limited(self, workers):
            return lambda: asked.append(workers()) or 1

    def pressure_on(client, relieve):
        assert client is None
        return asked.append(len(relieve)) or Pressure()

    monkeypatch.setattr(job_module, "pressure_on", pressure_on)
    monkeypatch.setenv("XPCS_CACHE_DIR", str(tmp_path / "kept"))
    xd.run(config_of(files, tmp_path / "a.zarr", scheduler="threads:3"))
    assert (asked[0], set(asked[1:])) == (0, {3})
    asked.clear()
    manifest = xd.run(config_of(files, tmp_path / "b.zarr", bootstrap={"resamples": 20, "over": "delay", "seed": 7}))
    assert manifest.seed == 7
    assert asked[0] == 1  # the cache is asked to give memory back


@pytest.mark.parametrize("living", [False, True])
def test_cpu_time_of_children_counts_also_while_they_live(living):
    import subprocess
    import sys

    from xpcs_dask.jobs.account import _cpu_seconds

    begun = _cpu_seconds()
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        if not living:
            child.communicate(b"\n")
        assert _cpu_seconds() - begun > 0.45
        if living:
            child.communicate(b"\n")
