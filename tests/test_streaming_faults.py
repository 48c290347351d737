"""What a cluster can do to a run: each fault ends with the bits of the undisturbed run, or can be gone on after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from engine.stack import stack

import xpcs_dask as xd
from xpcs_dask.cluster import connect
from xpcs_dask.cluster.connect import Connection
from xpcs_dask.cluster.executor import InPlace, executor
from xpcs_dask.engine.events import Monitor
from xpcs_dask.engine.stream import Hands
from xpcs_dask.errors import FileRejected, SchedulerError
from xpcs_dask.results import run as run_module
from xpcs_dask.results.run import Unfinished
from xpcs_dask.streaming import stream, stream_into

pytestmark = pytest.mark.cluster


def slow_block(g2):
    """Pause inside a task."""
    time.sleep(0.3)
    return g2


@pytest.fixture
def results(tmp_path):
    """From a stack on disk, as workers would read it, a third of a second a block."""
    data = stack(12, 4).drop_vars("truth")
    data.attrs["rejected"] = "[]"
    xd.pack(data.chunk(file=1), tmp_path / "stack.zarr")
    opened = xd.open_g2(tmp_path / "stack.zarr", chunks=1)
    paused = opened["g2"].data.map_blocks(slow_block, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    return xd.fit(opened.assign(g2=(opened["g2"].dims, paused)))


def client_of(workers):
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    return cluster, Client(cluster)


def test_workers_killed_in_the_middle_of_blocks(results, tmp_path):
    out, known = tmp_path / "fits.zarr", results.compute(scheduler="threads")
    cluster, client = client_of(2)
    with cluster, client:

        def kill():
            for _ in range(2):
                time.sleep(1.0)
                victim = next(iter(client.run(os.getpid).values()))
                os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        stream(results, out, client=client)
        killer.join()
    found = xd.open_results(out).compute()
    for name in known.data_vars:
        np.testing.assert_array_equal(found[name], known[name], err_msg=name)


def test_all_workers_lost_is_an_error_and_can_be_gone_on_after(results, tmp_path, monkeypatch):
    out, done = tmp_path / "fits.zarr", []
    cluster, client = client_of(1)

    class Counting(Monitor):
        def add(self, entry, **how):
            super().add(entry, **how)
            done.append(entry)
            if len(done) == 3:
                cluster.scale(0)

    def run():
        with executor(Connection("local", 1, client=client)) as (pool, workers):
            stream_into(results, out, {}, Hands(pool, workers), monitor=Counting())

    monkeypatch.setattr(run_module, "stream", partial(run_module.stream, patience=2.0))
    with cluster, client, pytest.raises(SchedulerError, match="no worker for 2 s") as caught:
        run()
    assert caught.value.exit_code == 7
    before = Unfinished(out).going_on({"/": results}, {}).ledger.entries().keys()
    assert 3 <= len(before) < 12
    again, fit_block = [], run_module.fit_block
    monkeypatch.setattr(run_module, "fit_block", lambda task: again.append(task.number) or fit_block(task))
    stream_into(results, out, {}, Hands(InPlace(), lambda: 1))
    assert sorted([*before, *again]) == list(range(12))
    np.testing.assert_array_equal(xd.open_results(out)["value"], results["value"].compute(scheduler="threads"))


def test_a_scheduler_that_is_lost_is_exit_7_and_the_command_goes_on(tmp_path):
    from xpcs_dask.simulate.files import write_series

    files = write_series(tmp_path / "files", 8, seed=3, q=np.array([0.005, 0.009]), frames=20_000)
    cluster, client = client_of(1)
    client.close()
    command = [
        sys.executable, "-c", PROGRAM, "fit", *map(str, files), "-o", str(tmp_path / "fits.zarr"),
        "--memory", "1GiB", "--chunks", "1",
    ]  # fmt: skip
    run = subprocess.Popen(
        [*command, "--scheduler", cluster.scheduler_address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with cluster:
        end = time.monotonic() + 60
        while not _entries(tmp_path / "fits.zarr") and time.monotonic() < end:
            time.sleep(0.01)
    _, err = run.communicate(timeout=90)
    assert run.returncode == 7, err
    again = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert again.returncode == 0, again.stderr
    found, known = xd.open_results(tmp_path / "fits.zarr")["group_0"], xd.fit(xd.open_g2(files), detail="core")
    np.testing.assert_array_equal(found["value"], known["value"].compute())


PROGRAM = """
import time
import xpcs_dask.results.streamed as streamed
from xpcs_dask.engine.ledger import Ledger
import xpcs_dask.results.run as run
rest = run.Run.rest
def slowly(self, done, hands, beat):
    for entry in rest(self, done, hands, beat):
        time.sleep(0.3)
        yield entry
run.Run.rest = slowly
from xpcs_dask.cli import main
main()
"""


def _entries(out):
    return [*Unfinished(out).folder.glob("run-*/ledger/[0-9]*.json")]


def test_input_that_changes_after_opening_stops_the_run(tmp_path):
    from xpcs_dask.simulate.files import write_series

    files = write_series(tmp_path / "files", 4, seed=3, q=np.array([0.005, 0.009]), frames=20_000)
    results = xd.fit(xd.open_g2(files, chunks=1))
    whole = Path(files[2]).read_bytes()
    with open(files[2], "r+b") as file:
        file.truncate(5000)
    with connect("threads:1"), pytest.raises(FileRejected, match=os.path.basename(files[2])):
        stream(results, tmp_path / "fits.zarr")
    assert not (tmp_path / "fits.zarr").exists()
    Path(files[2]).write_bytes(whole)
    stream(results, tmp_path / "fits.zarr")
    xr.testing.assert_equal(xd.open_results(tmp_path / "fits.zarr")["value"].compute(), results["value"].compute())


def greedy_block(g2, nbytes):
    """Take some memory for longer than the scheduler, and then the run, take to hear of it."""
    held = np.ones(nbytes, np.uint8)
    time.sleep(1.2)
    return g2 + np.float32(0) * held[0]


def resident_after_a_fit():
    from xpcs_dask.engine.memory import resident

    xd.fit(stack(1, 4)).compute(scheduler="sync")
    return resident()


def test_workers_with_little_memory_get_fewer_blocks_and_live(tmp_path, caplog):
    from distributed import Client, LocalCluster

    limit, data = 10**9, stack(12, 4).drop_vars("truth")
    data.attrs["rejected"] = "[]"
    xd.pack(data.chunk(file=1), tmp_path / "stack.zarr")
    opened = xd.open_g2(tmp_path / "stack.zarr", chunks=1)
    with (
        LocalCluster(n_workers=1, threads_per_worker=4, memory_limit=limit, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        (worker, before), *_ = client.run(resident_after_a_fit).items()
        pid = client.run(os.getpid)
        each = int(0.88 * limit - before) // 4  # four at once are above the threshold, but not yet killed
        greedy = opened["g2"].data.map_blocks(greedy_block, each, dtype="f4", meta=np.empty((0, 0, 0), "f4"))
        results = xd.fit(opened.assign(g2=(opened["g2"].dims, greedy)))
        stream(results, tmp_path / "fits.zarr", client=client)
        assert client.run(os.getpid) == pid, f"{worker} was killed"
    assert "blocks at once instead of" in caplog.text
    known = xd.fit(opened)["value"].compute(scheduler="threads")
    np.testing.assert_array_equal(xd.open_results(tmp_path / "fits.zarr")["value"], known)
