"""Regrouped sums in a stack: the bits of `regroup` whatever the blocks, one pass, bounded memory, bad files named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dask
import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

import xpcs_dask as xd
from tests.conftest import carried
from tests.physics.pixel_file import large_file, speckle_file
from xpcs_dask.engine.plan import MemoryBudgetError
from xpcs_dask.errors import ConfigError, FileRejected, NoUsableInputError, OutputExistsError
from xpcs_dask.io.stack import inputs_of, packed_from
from xpcs_dask.physics import pixel_sums, regroup_store, slabs
from xpcs_dask.physics.regroup import regroup
from xpcs_dask.physics.regroup_store import regrouping, write_regrouped
from xpcs_dask.physics.slabs import task_bytes

CURVES = ("g2", "g2_err", "g2_cluster")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speckle")
    for k in range(3):
        speckle_file(folder / f"run{k}_results.hdf", seed=k)
    return folder


@pytest.fixture
def streamed(monkeypatch):
    """Limits by which these small files are done a few delays at a time."""

    def set_to(delays=2, piece=50, together=100):
        monkeypatch.setattr(slabs, "SMALL", 0)
        monkeypatch.setattr(slabs, "PIECE", piece)
        monkeypatch.setattr(slabs, "TOGETHER", together)
        monkeypatch.setattr(pixel_sums, "GATHERED", 12 * 300 * delays)

    return set_to


def same(found, expected):
    for name in CURVES:
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], expected[name])
    xr.testing.assert_identical(*(data.drop_vars(CURVES).drop_attrs() for data in (found.compute(), expected)))
    assert found.attrs == expected.attrs


@pytest.mark.parametrize("by", ["pixel", "segment", "static"])
def test_a_stack_holds_what_regroup_gives(folder, tmp_path, by):
    stack = write_regrouped(folder, tmp_path / "s.zarr", by)
    same(xd.open_g2(stack), regroup(folder, by).compute(scheduler="sync"))


@pytest.mark.parametrize("kind", ["linear", "ratio"])
@pytest.mark.parametrize(
    ("delays", "piece"), [pytest.param(1, 60, marks=pytest.mark.slow), (3, 50), (5, 1000), (100, 64)]
)
def test_the_bits_do_not_depend_on_blocks_or_scheduler(folder, tmp_path, streamed, kind, delays, piece):
    expected = regroup(folder, "pixel", kind=kind).compute(scheduler="sync")
    streamed(delays, piece)
    for number, settings in enumerate([{"scheduler": "sync"}, {"scheduler": "threads", "num_workers": 3}]):
        with dask.config.set(settings):
            stack = write_regrouped(folder, tmp_path / f"{number}.zarr", "pixel", kind=kind)
        same(xd.open_g2(stack), expected)


def test_large_clusters_are_stored_in_pieces_and_read_bin_by_bin(folder, tmp_path, streamed):
    streamed()
    stack = write_regrouped(folder, tmp_path / "s.zarr", "pixel")
    stored, data = zarr.open_array(stack, path="g2_cluster"), xd.open_g2(stack)
    assert stored.chunks == (1, 1, 50, 2)
    most = int(data.n_clusters.max())
    assert data.g2.data.chunks == ((1, 1, 1), (1, 1, 1), (data.sizes["delay"],))
    assert data.g2_cluster.data.chunks == ((1, 1, 1), (1, 1, 1), (most,), (data.sizes["delay"],))
    assert xd.open_g2(stack, chunks=3).g2_cluster.data.chunks[:2] == ((3,), (1, 1, 1))
    few = int(data.n_clusters.values.argmin())
    held = {
        tuple(map(int, item.relative_to(stack / "g2_cluster" / "c").parts))
        for item in (stack / "g2_cluster" / "c").rglob("*")
        if item.is_file()
    }
    assert max(place[2] for place in held if place[1] == few) == (int(data.n_clusters[few]) - 1) // 50  # no padding


def test_clusters_that_are_small_are_read_many_files_at_a_time(folder, tmp_path, streamed):
    each = 4 * 10 * xd.open_g2(folder).sizes["delay"]
    for together, chunks in (
        (each, ((1, 1, 1), (1, 1, 1))),
        (2 * each, ((1, 1, 1), (2, 1))),
        (6 * each, ((2, 1), (3,))),
    ):
        streamed(together=together)
        data = xd.open_g2(write_regrouped(folder, tmp_path / f"{together}.zarr", "segment", segments=10))
        assert data.g2.data.chunks[:2] == data.g2_cluster.data.chunks[:2] == chunks


def test_fits_of_the_stack_are_fits_of_the_files(folder, tmp_path, streamed):
    streamed()
    stack = write_regrouped(folder, tmp_path / "s.zarr", "segment", segments=10)
    settings = {"model": "simple", "covariance": "cluster"}
    found, expected = xd.fit(xd.open_g2(stack), **settings), xd.fit(regroup(folder, "segment", segments=10), **settings)
    assert found.status.chunks == ((1, 1, 1), (1, 1, 1))
    for name in ("value", "stderr", "chi2"):
        np.testing.assert_array_equal(found[name].compute(scheduler="sync"), expected[name].compute(scheduler="sync"))
    assert (found.errors_from == xd.ErrorsFrom.CLUSTER).all()


def test_every_chunk_is_read_once(folder, tmp_path, monkeypatch, streamed):
    from tests.physics.test_pixel_sums import Counted
    from xpcs_dask.io.hdf5 import ResultFile

    read, plain = {}, ResultFile.find
    monkeypatch.setattr(
        ResultFile,
        "find",
        lambda file, name: Counted(plain(file, name), read) if name.endswith("G2") else plain(file, name),
    )
    monkeypatch.setattr("xpcs_dask.io.places._dataset", plain)
    streamed()
    with dask.config.set(scheduler="sync"):
        stack = write_regrouped(folder / "run1_results.hdf", tmp_path / "s.zarr", "pixel")
    assert len(read) == 3 * xd.open_g2(stack).sizes["delay"]
    assert set(read.values()) == {1}


def test_another_map(folder, tmp_path, streamed):
    streamed()
    labels = np.zeros((16, 20), int)
    labels[4:8], labels[10:15, 5:] = 1, 2
    given = (labels, [0.05, 0.07])
    stack = write_regrouped(folder, tmp_path / "s.zarr", "pixel", qmap=given)
    same(xd.open_g2(stack), regroup(folder, "pixel", qmap=given).compute(scheduler="sync"))


def test_data_that_are_open_already(folder, tmp_path):
    data = xd.open_g2(folder).isel(file=[2, 0], qbin=[1]).assign_coords(sample=("file", ["a", "b"]))
    found = xd.open_g2(write_regrouped(data, tmp_path / "s.zarr", "segment"))
    assert found.sample.values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(found.g2_cluster, regroup(data, "segment").g2_cluster)
    again = write_regrouped(tmp_path / "s.zarr", tmp_path / "t.zarr", "segment", segments=5)  # a stack names its files
    assert xd.open_g2(again).sizes["cluster"] == 5


def test_files_of_two_kinds_become_groups(folder, tmp_path, streamed):
    streamed()
    other = speckle_file(tmp_path / "other.hdf", bins=2)
    stack = write_regrouped([folder, other.path], tmp_path / "s.zarr", "segment")
    tree = xd.open_g2(stack, on_mismatch="split")
    assert [group["g2"].shape[:2] for group in tree.children.values()] == [(3, 3), (1, 2)]
    np.testing.assert_array_equal(tree["group_1"].g2_cluster, regroup(other.path, "segment").g2_cluster)
    assert len(packed_from(stack)) == 4


def test_the_stack_remembers_its_files(folder, tmp_path):
    stack = write_regrouped(folder, tmp_path / "s.zarr", "segment")
    assert packed_from(stack) == inputs_of(xd.open_g2(folder))


def test_files_that_cannot_be_used_are_listed_and_the_others_done(folder, tmp_path):
    bad = tmp_path / "bad.hdf"
    bad.write_text("nothing")
    without = carried("boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf")
    sources = [folder, bad, without]
    with pytest.raises(FileRejected):
        write_regrouped(sources, tmp_path / "s.zarr", "segment")
    assert not (tmp_path / "s.zarr").exists()
    data = xd.open_g2(write_regrouped(sources, tmp_path / "s.zarr", "segment", on_error="skip"))
    assert data.sizes["file"] == 3
    told = {Path(item["file"]).name: item["reason"] for item in json.loads(data.attrs["rejected"])}
    assert "holds no unnormalized_G2" in told[without.name]
    assert "bad.hdf" in told
    with pytest.raises(NoUsableInputError, match="save_G2") as caught:
        write_regrouped(without, tmp_path / "t.zarr", "segment", on_error="skip")
    assert [error.path for error in caught.value.rejected] == [str(without)]


@pytest.fixture
def damaged(folder, tmp_path):
    """A file whose last chunk is no LZF data, beside a good one."""
    made = speckle_file(tmp_path / "damaged.hdf", seed=9)
    with h5py.File(made.path, "r+") as file:
        sums = file["xpcs/multitau/unnormalized_G2"]
        sums.id.write_direct_chunk((sums.shape[0] - 1, 2, 0, 0), b"\xff" * 100)
    return [folder / "run0_results.hdf", made.path, folder / "run2_results.hdf"]


def test_a_file_that_is_damaged_inside_is_left_out(damaged, tmp_path, streamed, caplog):
    streamed()
    with pytest.raises(FileRejected, match=r"damaged\.hdf: HDF5 cannot read it"):
        write_regrouped(damaged, tmp_path / "s.zarr", "pixel")
    assert not list(tmp_path.glob("*s.zarr*"))
    data = xd.open_g2(write_regrouped(damaged, tmp_path / "s.zarr", "pixel", on_error="skip"))
    expected = regroup([damaged[0], damaged[2]], "pixel").compute(scheduler="sync")
    for name in CURVES:
        np.testing.assert_array_equal(data[name], expected[name])
    (told,) = json.loads(data.attrs["rejected"])
    assert told["file"].endswith("damaged.hdf")
    assert "done again without it" in caplog.text
    with pytest.raises(NoUsableInputError, match="no file is left"):
        write_regrouped(damaged[1], tmp_path / "t.zarr", "pixel", on_error="skip")


def test_what_is_there_stays_unless_told(folder, tmp_path):
    stack = write_regrouped(folder, tmp_path / "s.zarr", "segment")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_regrouped(folder, stack, "static")
    write_regrouped(folder, stack, "static", overwrite=True)
    assert xd.open_g2(stack).attrs["regrouped_by"] == "static"
    (tmp_path / "foreign.zarr").mkdir()
    with pytest.raises(OutputExistsError, match="something else"):
        write_regrouped(folder, tmp_path / "foreign.zarr", "static", overwrite=True)
    with pytest.raises(ConfigError, match=r"\.zarr"):
        write_regrouped(folder, tmp_path / "s.nc")
    with pytest.raises(ConfigError, match="by: 'row'"):
        write_regrouped(folder, tmp_path / "t.zarr", "row")


def test_memory_decides_how_many_delays_are_done_together(folder, monkeypatch):
    monkeypatch.setattr(slabs, "BASE", 1000)
    work = regrouping(folder, "pixel", 16, "linear", None)
    sums, delays = work.parts["/"].sums[0], work.parts["/"].delays
    need = [task_bytes(sums, n) for n in (1, 4)]
    assert delays > 4
    assert regrouping(folder, "pixel", 16, "linear", None, memory=need[1]).parts["/"].delays == 4
    assert regrouping(folder, "pixel", 16, "linear", None, memory=2 * need[1], workers=2).parts["/"].delays == 4
    assert regrouping(folder, "pixel", 16, "linear", None, memory=need[0]).parts["/"].delays == 1
    with pytest.raises(MemoryBudgetError, match=rf"needs {3 * need[0]:,} bytes .*threads:1, or raise --memory"):
        regrouping(folder, "pixel", 16, "linear", None, memory=need[0], workers=3)


def test_slabs_are_whole_chunks_of_every_file(tmp_path, monkeypatch):
    monkeypatch.setattr(pixel_sums, "GATHERED", 12 * 300 * 7)
    paths = [speckle_file(tmp_path / f"{n}.hdf", chunks=(n, 1, 16, 20)).path for n in (2, 3)]
    part = regrouping(paths, "pixel", 16, "linear", None).parts["/"]
    assert part.delays == 6


@pytest.mark.cluster
@pytest.mark.parametrize("spec", ["processes:2", "local:2"])
def test_other_processes_do_the_same(folder, tmp_path, streamed, spec):
    from xpcs_dask.cluster import connect
    from xpcs_dask.cluster.executor import executor
    from xpcs_dask.engine.stream import Hands

    streamed()
    work = regrouping(folder, "pixel", 16, "linear", None)
    with connect(spec) as connection, executor(connection) as (pool, workers):
        stack, _ = regroup_store.write(work, tmp_path / "s.zarr", Hands(pool, workers))
    same(xd.open_g2(stack), regroup(folder, "pixel").compute(scheduler="sync"))


MEASURE = """
import sys
import dask, h5py, zarr
import xpcs_dask as xd
from xpcs_dask.physics.regroup_store import write_regrouped

def peak():  # of this process alone: getrusage would begin with that of its parent
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

xd.open_g2(sys.argv[1])
before = peak()
with dask.config.set(scheduler="threads", num_workers=2):
    write_regrouped(sys.argv[1], sys.argv[2], sys.argv[3])
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("by", ["pixel", "segment"])
def test_memory_is_bounded_whatever_the_number_of_delays(tmp_path, by):
    """Sums of 150 and 450 MB, a megapixel at a time: the peak is that of a few frames, and the same."""
    peaks = []
    for delays in (25, 75):
        path = large_file(tmp_path / f"{delays}.hdf", (700, 720), delays)
        command = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / f"{delays}.zarr"), by]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
        work = regrouping(path, by, 16, "linear", None, workers=2)
        bound = 2 * task_bytes(work.parts["/"].sums[0], work.parts["/"].delays)
        assert peaks[-1] < bound < 160e6
        path.unlink()
    assert peaks[1] < 1.25 * peaks[0] + 10e6
