"""Lazy results into a store block by block: the numbers of `save`, whatever stops it on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import dask
import numpy as np
import pytest
import xarray as xr
from engine.stack import stack

import xpcs_dask as xd
from xpcs_dask.cluster.executor import DaemonThreads, InPlace
from xpcs_dask.engine.events import Monitor
from xpcs_dask.engine.lock import Lock, StoreLockedError
from xpcs_dask.engine.stream import Hands
from xpcs_dask.errors import ConfigError, FileRejected, OutputExistsError
from xpcs_dask.results import run as run_module
from xpcs_dask.results import streamed
from xpcs_dask.results.run import Unfinished
from xpcs_dask.streaming import stream, stream_into


def lazy(files=7, **chunks):
    return stack(files, 4).drop_vars("truth").chunk(chunks or {"file": 2})


@pytest.fixture
def out(tmp_path):
    return tmp_path / "fits.zarr"


@pytest.fixture
def expected(tmp_path):
    def make(results):
        return xd.open_results(xd.save(results, tmp_path / "expected.zarr", overwrite=True)).compute()

    return make


@pytest.mark.parametrize("detail", ["core", "full"])
@pytest.mark.parametrize("chunks", [{"file": 2}, {"file": 3, "qbin": 2}, {"file": -1}, {"qbin": 3}], ids=str)
def test_the_store_is_the_one_that_save_writes(out, expected, detail, chunks):
    results = xd.fit(lazy(**chunks), detail=detail)
    with dask.config.set(num_workers=2):
        assert stream(results, out) == out
    found = xd.open_results(out)
    assert found.chi2.chunks is not None
    xr.testing.assert_identical(found.compute(), expected(results))
    assert [item.name for item in out.parent.iterdir() if "expected" not in item.name] == [out.name]


def test_the_last_thing_told_is_the_end(out):
    heard = []
    stream(xd.fit(lazy(6)), out, progress=heard.append)
    assert [state.stage for state in heard[:1] + heard[-1:]] == ["fitting", "done"]
    assert heard[-1].curves_done == heard[-1].curves == 24
    assert heard[-1].blocks_done == heard[-1].blocks == 3


def test_a_tree_of_groups(out, expected):
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"note": "x"}), "/a": lazy(3), "/b": lazy(5, file=1, qbin=2)})
    results = xd.fit(tree)
    stream(results, out)
    found, known = xd.open_results(out), expected(results)
    assert [node.path for node in found.subtree] == [node.path for node in known.subtree]
    for one, other in zip(found.leaves, known.leaves, strict=True):
        xr.testing.assert_identical(one.to_dataset().compute(), other.to_dataset())


def test_blocks_of_all_groups_are_told_apart(out, expected, breaking):
    results = xd.fit(xr.DataTree.from_dict({"/a": lazy(3, file=1), "/b": lazy(4, file=1)}))
    breaking.most = 5
    with pytest.raises(Stop):
        stream_into(results, out, {}, hands())
    breaking.most = -1
    stream_into(results, out, {}, hands())
    assert breaking.done == list(range(7))
    for one, other in zip(xd.open_results(out).leaves, expected(results).leaves, strict=True):
        xr.testing.assert_identical(one.to_dataset().compute(), other.to_dataset())


def test_blocks_that_no_store_can_have_are_made_regular(out, expected):
    data = lazy(7).chunk(file=(1, 3, 2, 1))
    results = xd.fit(data)
    stream(results, out)
    xr.testing.assert_identical(xd.open_results(out).compute(), expected(results))


def test_lazy_coordinates_are_written_with_the_blocks(out):
    data = lazy(6)
    data = data.assign_coords(curve_id=data["curve_id"].chunk(file=4), extra=("file", dask.array.arange(6, chunks=2)))
    stream(xd.fit(data), out)
    found = xd.open_results(out)
    np.testing.assert_array_equal(found["curve_id"], stack(6, 4)["curve_id"])
    np.testing.assert_array_equal(found["extra"], np.arange(6))
    assert found["extra"].dtype == np.int64
    assert {"curve_id", "extra"} <= set(found.coords)


def test_known_coordinates_of_every_kind_are_kept(out, expected):
    kinds = {
        "good": ("file", np.array([True, False, True])),
        "empty": ("file", np.array([np.nan, 0.0, -1.5], ">f4"), {"units": "K"}),
        "number": ((), np.int16(-7)),
        "large": ("qbin", np.array([0, 1, 2, 2**64 - 1], np.uint64)),
        "text": ("file", np.array(["a", "", "ü"])),
        "begun": ("file", np.array(["2026-11-23T10:00", "NaT", "2026-11-24T11:30"], "datetime64[ns]")),
    }
    results = xd.fit(lazy(3).assign_coords(kinds))
    stream(results, out)
    found = xd.open_results(out).compute()
    xr.testing.assert_identical(found, expected(results))
    for name, (dims, values, *attrs) in kinds.items():
        assert found[name].dims == (dims if isinstance(dims, tuple) else (dims,))
        np.testing.assert_array_equal(found[name], values)
        if name != "text":
            assert found[name].dtype == values.dtype.newbyteorder("=")
        assert found[name].attrs == (attrs[0] if attrs else {})


def test_many_names_are_written_in_pieces(out, expected, monkeypatch):
    monkeypatch.setattr(streamed, "TEXTS", 2)
    results = xd.fit(lazy(5).assign_coords(name=("file", np.array(["a", "b", "", "ü", "five"]))))
    stream(results, out)
    assert len(list((out / "name" / "c").iterdir())) == 3
    xr.testing.assert_identical(xd.open_results(out).compute(), expected(results))


@pytest.mark.cluster
def test_threads_processes_and_a_cluster_give_the_same_bits(tmp_path, expected):
    from distributed import Client, LocalCluster

    results = xd.fit(lazy(6, file=1))
    known = expected(results)
    pool = ProcessPoolExecutor(2, get_context("spawn"))
    for name, executor in {"here": InPlace(), "threads": DaemonThreads(3), "processes": pool}.items():
        stream_into(results, tmp_path / f"{name}.zarr", {}, Hands(executor, lambda: 2))
        xr.testing.assert_identical(xd.open_results(tmp_path / f"{name}.zarr").compute(), known)
        executor.shutdown()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        stream(results, tmp_path / "given.zarr", client=client)
        stream(results, tmp_path / "current.zarr")
    for name in ("given", "current"):
        xr.testing.assert_identical(xd.open_results(tmp_path / f"{name}.zarr").compute(), known)


def hands():
    return Hands(InPlace(), lambda: 1)


class Stop(Exception):
    pass


@pytest.fixture
def breaking(monkeypatch):
    """Blocks fail from the n-th on; gives the numbers of all that were worked out."""
    done, fit_block = [], run_module.fit_block

    def limited(task):
        if len(done) == limited.most:
            raise Stop(f"before block {task.number}")
        done.append(task.number)
        return fit_block(task)

    monkeypatch.setattr(run_module, "fit_block", limited)
    limited.done, limited.most = done, -1
    return limited


def test_a_run_that_was_stopped_goes_on_where_it_was(out, expected, breaking):
    results, breaking.most = xd.fit(lazy(9, file=1)), 4
    with pytest.raises(Stop):
        stream_into(results, out, {"a": 1}, hands())
    assert not out.exists()
    partly = xd.open_results(Unfinished(out)._attempts()[0] / "results.zarr").compute()
    assert (partly.status.isel(file=slice(4, None)) == 0).all()
    known = expected(results)
    np.testing.assert_array_equal(partly.value.isel(file=slice(4)), known.value.isel(file=slice(4)))
    breaking.most, heard = -1, []
    monitor = Monitor([heard.append])
    stream_into(results, out, {"a": 1}, hands(), monitor=monitor, nbytes=3600)
    assert breaking.done == list(range(9))
    assert (heard[0].stage, heard[0].blocks, heard[0].curves, heard[0].bytes) == ("fitting", 9, 36, 3600)
    state, counts = monitor.state(), monitor.counts
    assert (state.blocks_before, state.blocks_done, state.curves_done, state.bytes_read) == (4, 9, 36, 3600)
    assert (counts["curves"], counts["ok"], counts["status_counts"]["converged"]) == (36, 36, 36)
    assert sum(worker.blocks for worker in monitor.workers.values()) == 5
    assert 0 < monitor.spent["cpu"] <= monitor.spent["seconds"] * 1.1 + 0.1
    xr.testing.assert_identical(xd.open_results(out).compute(), known)


def test_a_block_that_cannot_be_read_does_not_stop_the_others(out, expected, monkeypatch):
    def broken(g2, block_info=None):
        if broken.on and block_info[0]["chunk-location"][0] in (2, 5):
            raise FileRejected(f"file_{block_info[0]['chunk-location'][0]}.hdf", "it was cut off")
        return g2

    data, broken.on = lazy(9, file=1), True
    read = data["g2"].data.map_blocks(broken, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    results = xd.fit(data.assign(g2=(data["g2"].dims, read)))
    with pytest.raises(
        FileRejected, match=r"file_2.hdf: it was cut off \(and so for 1 more\); all other blocks are done"
    ):
        stream_into(results, out, {}, hands())
    assert not out.exists()
    assert len(Unfinished(out).going_on({"/": results}, {}).ledger.entries()) == 7
    broken.on, monitor = False, Monitor()
    stream_into(results, out, {}, hands(), monitor=monitor)
    assert monitor.before == 7
    xr.testing.assert_identical(xd.open_results(out).compute(), expected(results))


def test_a_chunk_that_is_missing_or_cut_is_made_again(out, expected, breaking):
    results, breaking.most = xd.fit(lazy(9, file=1)), 6
    with pytest.raises(Stop):
        stream_into(results, out, {}, hands())
    store = Unfinished(out)._attempts()[0] / "results.zarr"
    (store / "chi2/c.1.0").unlink()
    with open(store / "value/c.4.0.0", "r+b") as file:
        file.truncate(10)
    breaking.most = -1
    stream_into(results, out, {}, hands())
    assert breaking.done == [*range(6), 1, 4, 6, 7, 8]
    xr.testing.assert_identical(xd.open_results(out).compute(), expected(results))


def test_the_blocks_stay_as_they_were_begun(out, expected, breaking):
    breaking.most = 2
    with pytest.raises(Stop):
        stream_into(xd.fit(lazy(8, file=2)), out, {}, hands())
    breaking.most = -1
    stream_into(xd.fit(lazy(8, file=3)), out, {}, hands())
    assert breaking.done == [0, 1, 2, 3]
    known = expected(xd.fit(lazy(8)))
    np.testing.assert_array_equal(xd.open_results(out).value, known.value)


def test_another_job_is_refused_or_begins_anew(out, breaking):
    results, breaking.most = xd.fit(lazy(4, file=1)), 2
    with pytest.raises(Stop):
        stream_into(results, out, {"loss": "linear"}, hands())
    breaking.most = -1
    with pytest.raises(OutputExistsError, match="made with other loss, and is not finished") as caught:
        stream_into(results, out, {"loss": "huber"}, hands())
    assert caught.value.exit_code == 6
    breaking.done.clear()
    stream_into(results, out, {"loss": "huber"}, hands(), overwrite=True)
    assert breaking.done == [0, 1, 2, 3]


def test_changed_data_or_settings_are_noticed_by_the_call_itself(out, breaking):
    data, breaking.most = lazy(4, file=1), 2
    with dask.config.set(scheduler="sync"):
        with pytest.raises(Stop):
            stream(xd.fit(data), out)
        for other in (xd.fit(data, "simple"), xd.fit(data, loss="huber"), xd.fit(data.assign(g2=data.g2 + 1e-6))):
            with pytest.raises(OutputExistsError):
                stream(other, out)
        breaking.most = -1
        stream(xd.fit(data), out)
    assert breaking.done == [0, 1, 2, 3]


def test_what_is_there_is_replaced_only_if_asked_and_only_results(out, tmp_path):
    results = xd.fit(lazy(3))
    stream(results, out)
    with pytest.raises(OutputExistsError):
        stream(results, out)
    stream(xd.fit(lazy(3), "simple"), out, overwrite=True)
    assert xd.open_results(out).attrs["model"] == "simple"
    other = tmp_path / "notes.zarr"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(OutputExistsError):
        stream(results, other, overwrite=True)
    assert (other / "mine.txt").read_text() == "mine"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["fits.zarr", "notes.zarr"]


def test_a_folder_that_is_being_written_is_locked(out):
    with Lock(Unfinished(out).folder / "lock"), pytest.raises(StoreLockedError):
        stream(xd.fit(lazy(3)), out)
    stream(xd.fit(lazy(3)), out)


def test_a_task_left_over_from_an_earlier_attempt_cannot_write_into_the_next(out, breaking):
    results, breaking.most = xd.fit(lazy(4, file=1)), 1
    with pytest.raises(Stop):
        stream_into(results, out, {"a": 1}, hands())
    old = Unfinished(out).going_on({"/": results}, {"a": 1})
    task = next(iter(old._tasks({0})))
    with pytest.raises(Stop):
        stream_into(results, out, {"a": 2}, hands(), overwrite=True)
    breaking.most = -1
    with pytest.raises(FileNotFoundError):
        run_module.fit_block(task)
    assert not old.store.exists()
    assert Unfinished(out).going_on({"/": results}, {"a": 2}).ledger.entries() == {}


def test_arguments_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="zarr"):
        stream(xd.fit(lazy(3)), tmp_path / "fits.nc")
    with pytest.raises(ConfigError, match="computed already"):
        stream(xd.fit(stack(2, 2)), tmp_path / "fits.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_leaves_a_true_ledger(out, monkeypatch, expected):
    import errno

    from xpcs_dask.results.streamed import Place

    results, write, room = xd.fit(lazy(6, file=1)), Place.write, [25]

    def full(self, index, values):
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= 1
        write(self, index, values)

    monkeypatch.setattr(Place, "write", full)
    with pytest.raises(OSError, match="No space left"):
        stream_into(results, out, {}, hands())
    done = len(Unfinished(out).going_on({"/": results}, {}).ledger.entries())
    assert 0 < done < 6
    room[0] = -1
    stream_into(results, out, {}, hands())
    xr.testing.assert_identical(xd.open_results(out).compute(), expected(results))


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs with &
import xpcs_dask.results.run as run
fit_block, pause = run.fit_block, float(sys.argv[1])
def slow(task):
    time.sleep(pause)
    entry = fit_block(task)
    sys.stdout.write(f"{task.number}\\n")
    sys.stdout.flush()
    return entry
run.fit_block = slow
sys.argv = ["xpcs-dask", *sys.argv[2:]]
from xpcs_dask.cli import main
main()
"""


@pytest.fixture
def program():
    """Start the program with a pause before each block; what still runs in the end is killed."""
    started = []

    def start(seconds, *arguments):
        command = [sys.executable, "-c", SLOW, str(seconds), "fit", *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for run in started:
        run.kill()
        run.communicate()


def states(out):
    folder = Unfinished(out)._attempts()[0] / "ledger"
    return {item.name: item.stat().st_mtime_ns for item in folder.glob("[0-9]*.json")}


@pytest.fixture
def job(tmp_path):
    from xpcs_dask.simulate.files import write_series

    files = write_series(tmp_path / "files", 8, seed=3, q=np.array([0.005, 0.009]), frames=20_000)
    return [*files, "-o", tmp_path / "fits.zarr", "--memory", "1GiB", "--chunks", 1, "--scheduler", "threads:2"]


@pytest.mark.cluster
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_program_goes_on_after_any_signal(program, job, tmp_path, signum):
    out = tmp_path / "fits.zarr"
    run = program(0.3, *job)
    first = [int(run.stdout.readline()) for _ in range(3)]
    begun = time.monotonic()
    run.send_signal(signum)
    printed, err = run.communicate(timeout=30)
    if signum != signal.SIGKILL:
        assert time.monotonic() - begun < 10
        assert run.returncode == 75, err
        assert "fits.zarr.unfinished" in err
        assert "Traceback" not in err
    before = states(out)
    assert {f"{k}.json" for k in first} <= before.keys()
    assert len(before) < 8
    again = program(0, *job, "--json")
    printed, err = again.communicate(timeout=100)
    assert again.returncode == 0, err
    *numbers, report = printed.splitlines()
    assert sorted([*map(int, numbers), *(int(name.split(".")[0]) for name in before)]) == list(range(8))
    assert json.loads(report)["curves"] == json.loads(report)["ok"] == 16
    known = xd.fit(xd.open_g2(job[:8]), detail="core").compute()
    found = xd.open_results(out)["group_0"].to_dataset()
    for name in known.data_vars:
        np.testing.assert_array_equal(found[name], known[name], err_msg=name)


@pytest.mark.cluster
def test_the_program_refuses_changed_files_and_a_second_owner(program, job, tmp_path):
    run, end = program(100, *job), time.monotonic() + 60
    while Unfinished(tmp_path / "fits.zarr").head() is None and time.monotonic() < end:
        time.sleep(0.05)
    second = program(0, *job)
    _, err = second.communicate(timeout=50)
    assert second.returncode == 8
    assert f"process {run.pid} on" in err
    run.kill()
    run.communicate()
    os.utime(job[2], ns=(1, 1))
    third = program(0, *job)
    _, err = third.communicate(timeout=50)
    assert third.returncode == 6
    assert f"an earlier state of {os.path.realpath(job[2])}" in err
    assert "--overwrite" in err
    redone = program(0, *job, "--overwrite")
    printed, err = redone.communicate(timeout=50)
    assert redone.returncode == 0, err
    assert sorted(int(line) for line in printed.splitlines()[:8]) == list(range(8))
    assert not Unfinished(tmp_path / "fits.zarr").folder.exists()
    shutil.rmtree(tmp_path / "fits.zarr")


def test_what_is_lazy_and_no_number_is_refused_by_name(out):
    results = xd.fit(lazy())
    times = results["status"].data.astype("M8[ns]")
    with pytest.raises(ConfigError, match=r"when is lazy and holds datetime64\[ns\].*load it first"):
        stream(results.assign_coords(when=(results["status"].dims, times)), out)
    assert not out.exists()
