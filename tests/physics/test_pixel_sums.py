"""Sums are read once, whatever their chunks, and memory does not grow with the number of delays."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from tests.physics.pixel_file import speckle_file
from xpcs_dask.errors import FileRejected
from xpcs_dask.io.hdf5 import open_hdf5
from xpcs_dask.physics import pixel_sums
from xpcs_dask.physics.pixel_sums import Finder, block

LAYOUTS = {
    "a frame": (1, 1, 16, 20),
    "all parts": (1, 3, 16, 20),
    "some delays": (4, 1, 16, 20),
    "tiles": (1, 1, 8, 10),
    "delays and tiles": (3, 2, 5, 7),
    "not in chunks": None,
}


class Counted:
    """Stands for a dataset and notes which of its chunks are read."""

    def __init__(self, dataset, read):
        self.dataset, self.read = dataset, read

    @property
    def chunks(self):
        return self.dataset.chunks

    def __getitem__(self, key):
        shape = self.dataset.shape
        chunk = self.dataset.chunks or (1, 1, *shape[2:])
        spans = [range(*item.indices(n)) for item, n in zip(key, shape, strict=False)]
        spans += [range(n) for n in shape[len(spans) :]]
        places = [sorted({k // size for k in span}) for span, size in zip(spans, chunk, strict=True)]
        for place in np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, len(shape)).tolist():
            self.read[tuple(place)] = self.read.get(tuple(place), 0) + 1
        return self.dataset[key]


@pytest.fixture
def read(monkeypatch):
    """How often each chunk of the sums has been read."""
    found: dict[tuple[int, ...], int] = {}

    @contextmanager
    def opened(path):
        with open_hdf5(path) as file:
            plain = file.find
            file.find = lambda name: Counted(plain(name), found) if name.endswith("G2") else plain(name)
            yield file

    monkeypatch.setattr(pixel_sums, "open_hdf5", opened)
    return found


def find(made, by="pixel", **settings):
    labels = settings.pop("labels", range(1, made.q.size + 1))
    return Finder(labels, made.sums.shape[0], by, 4, "linear", **settings).find(str(made.path))


@pytest.mark.parametrize("chunks", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("gathered", [1, 12 * 250 * 3, 2**23])
def test_every_chunk_is_read_once(tmp_path, monkeypatch, read, chunks, gathered):
    monkeypatch.setattr(pixel_sums, "GATHERED", gathered)
    made = speckle_file(tmp_path / "a.hdf", chunks=chunks)
    sums = find(made)
    block(sums, 200, sums.stored)
    sizes = [-(-n // size) for n, size in zip(made.sums.shape, chunks or (1, 1, 16, 20), strict=True)]
    assert len(read) == np.prod(sizes)
    assert set(read.values()) == {1}


@pytest.mark.parametrize("chunks", LAYOUTS.values(), ids=LAYOUTS)
def test_slabs_read_every_chunk_once_too(tmp_path, read, chunks):
    made = speckle_file(tmp_path / "a.hdf", chunks=chunks)
    sums = find(made)
    slabs = sums.slabs(5)
    assert [a for a, _ in slabs[1:]] == [b for _, b in slabs[:-1]]
    assert (slabs[0][0], slabs[-1][1]) == (0, sums.stored)
    for rows in slabs:
        assert rows[0] % (chunks or (1,))[0] == 0
        list(sums.work(rows))
    assert set(read.values()) == {1}


@pytest.mark.parametrize("chunks", LAYOUTS.values(), ids=LAYOUTS)
def test_the_bits_do_not_depend_on_how_it_is_read(tmp_path, monkeypatch, chunks):
    whole = block(find(speckle_file(tmp_path / "a.hdf")), 200, 30)
    sums = find(speckle_file(tmp_path / "b.hdf", chunks=chunks))
    monkeypatch.setattr(pixel_sums, "GATHERED", 1)
    np.testing.assert_array_equal(block(sums, 200, 30), whole)


def test_chunks_that_are_too_large_are_read_in_parts(tmp_path, monkeypatch):
    made = speckle_file(tmp_path / "a.hdf", chunks=(8, 3, 16, 20))
    whole = block(find(made), 200, 30)
    assert find(made).chunk == (8, 3)
    monkeypatch.setattr(pixel_sums, "TILE", 4 * 3 * 16 * 20)
    sums = find(made)
    assert sums.chunk == (1, 1)
    np.testing.assert_array_equal(block(sums, 200, 30), whole)


def test_what_is_held_does_not_grow_with_the_delays(tmp_path):
    few, many = (find(speckle_file(tmp_path / f"{n}.hdf", frames=n), "segment") for n in (64, 1024))
    assert many.stored > 1.5 * few.stored
    assert few.fitting_delays() == many.fitting_delays()
    assert few.nbytes < many.nbytes


def test_files_of_one_map_share_it(tmp_path):
    first, second = (speckle_file(tmp_path / f"{k}.hdf", seed=k) for k in (1, 2))
    finder = Finder((1, 2, 3), first.sums.shape[0], "pixel", 4, "linear")
    assert finder.find(str(first.path)).regions is finder.find(str(second.path)).regions


def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path):
    made = speckle_file(tmp_path / "a.hdf")
    sums = find(made)
    speckle_file(tmp_path / "a.hdf", seed=2, frames=64)
    with pytest.raises(FileRejected, match="changed since it was opened"):
        list(sums.work((0, 1)))
    made.path.unlink()
    with pytest.raises(FileRejected, match="cannot be read any more"):
        list(sums.work((0, 1)))
