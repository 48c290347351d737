"""What tasks are called on the dashboard, and that whoever fits a block writes it."""

from __future__ import annotations

import json
import os
import re

import pytest
from distributed import get_task_stream

import xpcs_dask as xd
from xpcs_dask.cluster import connect
from xpcs_dask.simulate import speckle, write_series

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::ResourceWarning")]

PLAIN = {"array", "getitem", "where", "concatenate", "mul", "pow", "finalize-hlgfinalizecompute", "rechunk-merge"}
"""Names that Dask gives to steps of its own; those of xarray follow."""
CLEAR = re.compile(r"(xpcs|fit|bootstrap|refits|quality|column|dispersion|xarray)(-[a-z]+)*")


@pytest.fixture(scope="module")
def connection():
    with connect("local:2") as found:
        yield found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_series(folder, 6, seed=1, frames=5000)
    return xd.open_g2(folder / "*.hdf", chunks=2)


def names_of(client, compute):
    """Names under which the dashboard gathers the tasks of a computation."""
    from dask.utils import key_split

    with get_task_stream(client) as stream:
        compute()
    return {key_split(task["key"]) for task in stream.data}


def pixels():
    return speckle(2, pixels=12, frames=256, clusters=True, normalization="pixel").chunk(file=1)


def a_slow_decay(t, rate, top):
    return 1 + top / (1 + rate * t) ** 2


CASES = {
    "fit": (xd.fit, {"xpcs-read", "fit-single", "fit-single-block", "column-value"}),
    "simple": (lambda data: xd.fit(data, "simple", detail="core"), {"fit-simple", "fit-simple-block"}),
    "function": (
        lambda data: xd.fit(data, a_slow_decay, bounds={"rate": (1, 1e4)}),
        {"fit-a-slow-decay-block", "column-n-used"},
    ),
    "quality": (xd.quality, {"quality", "column-quality"}),
    "bootstrap": (lambda _: xd.bootstrap(pixels(), model="simple", resamples=20), {"bootstrap-simple-block"}),
    "dispersion": (lambda data: xd.dispersion(xd.fit(data)), {"dispersion-diffusion-block"}),
}


@pytest.mark.parametrize("case", CASES)
def test_tasks_are_called_by_what_they_do(connection, files, case):
    make, expected = CASES[case]
    lazy = make(files)
    names = names_of(connection.client, lazy.compute)
    assert expected <= names
    assert {name for name in names - PLAIN if not CLEAR.fullmatch(name)} == set()
    assert not any(re.search("lambda|partial|_on_|with|without|[0-9a-f]{8}", name) for name in names)


def test_streamed_blocks_are_called_fit_block(connection, files, tmp_path):
    names = names_of(connection.client, lambda: xd.stream(xd.fit(files), tmp_path / "fits.zarr"))
    assert names == {"fit_block"}


def record_work(log):
    """On a worker: note who works a block out and who writes it. Undone by what this returns next time."""
    from xpcs_dask.results import run
    from xpcs_dask.results.streamed import Place

    work_out, write = run.work_out, Place.write

    def note(**said):
        with open(log, "a") as file:  # lines this short are appended whole
            file.write(json.dumps({"pid": os.getpid(), **said}) + "\n")

    def noted_work(work):
        note(did="fit")
        return work_out(work)

    def noted_write(place, index, value):
        note(did="write", index=index)
        return write(place, index, value)

    run.work_out, Place.write = noted_work, noted_write
    return os.getpid()


def test_whoever_fits_a_block_writes_it(files, tmp_path):
    """No result travels: neither to the scheduler nor to the process that asked for it."""
    log, heard = tmp_path / "log", []
    with connect("local:2") as connection:
        workers = set(connection.client.run(record_work, str(log)).values())
        results = xd.fit(files, detail="core")
        xd.stream(results, tmp_path / "fits.zarr", progress=heard.append)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    fitted, written, writer = {}, {}, {}
    for pid in workers:
        own = [line for line in lines if line["pid"] == pid]
        fitted[pid] = sum(line["did"] == "fit" for line in own)
        written[pid] = {line["index"][0] for line in own if line["did"] == "write"}
        at = [line["did"] for line in own]
        assert not at or at[0] == "fit"
        writer |= dict.fromkeys(written[pid], pid)
    assert {line["pid"] for line in lines} <= workers  # not this process, not the scheduler
    assert sum(fitted.values()) == heard[-1].blocks == 3
    assert sorted(writer) == [0, 1, 2]
    told = {int(name.split(":")[1].split("/")[0]): worker.blocks for name, worker in heard[-1].workers.items()}
    assert told == {pid: number for pid, number in fitted.items() if number}
    assert told == {pid: len(blocks) for pid, blocks in written.items() if blocks}
