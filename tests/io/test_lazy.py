from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import aps_file
import dask
import dask.array as da
import numpy as np
import pytest
from dask.callbacks import Callback

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.aps_nexus import read_g2, read_meta
from xpcs_dask.io.lazy import _token, curves, files_per_block, read_block, stored_curves
from xpcs_dask.io.reader import FileInfo


@pytest.fixture
def infos(tmp_path: Path) -> list[FileInfo]:
    return [read_meta(str(aps_file.write(tmp_path / f"r{i}.hdf", seed=i))) for i in range(7)]


def plain(infos: list[FileInfo], part: int) -> np.ndarray:
    return np.stack([read_g2(info.path)[part] for info in infos])


@pytest.mark.parametrize("chunks", [1, 3, 7, 100, "auto", None])
def test_same_values_whatever_the_blocks(infos: list[FileInfo], chunks: int | str | None) -> None:
    g2, err = curves(infos, (3, 13), chunks)
    assert g2.dtype == err.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(g2), plain(infos, 0))
    np.testing.assert_array_equal(np.asarray(err), plain(infos, 1))


def test_blocks(infos: list[FileInfo]) -> None:
    g2, err = curves(infos, (3, 13), 3)
    assert isinstance(g2, da.Array)
    assert g2.chunks == err.chunks == ((3, 3, 1), (3,), (13,))
    assert g2.name == curves(infos, (3, 13), 3)[0].name
    assert len({a.name for a in (g2, err, curves(infos, (3, 13), 2)[0], curves(infos[1:], (3, 13), 3)[0])}) == 4


def test_one_task_reads_the_files_of_a_block_once(infos: list[FileInfo], monkeypatch: pytest.MonkeyPatch) -> None:
    reads = aps_file.CountReads(monkeypatch)
    g2, err = curves(infos, (3, 13), 3)
    assert reads.paths == []
    total = (g2 / err).sum()
    assert reads.paths == []
    total.compute(scheduler="sync")
    assert sorted(reads.paths) == sorted(info.path for info in infos)
    reads.paths.clear()
    g2[4].compute(scheduler="sync")
    assert sorted(reads.paths) == sorted(info.path for info in infos[3:6])


def test_reading_is_one_task_a_block(infos: list[FileInfo]) -> None:
    ran: list[str] = []
    g2, err = curves(infos, (3, 13), 3)
    with Callback(pretask=lambda key, *_: ran.append(str(key))):
        dask.compute(g2, err, scheduler="sync")
    assert len([key for key in ran if "xpcs-read" in key]) == 3
    assert not [key for key in ran if "xpcs-files" in key and "xpcs-read" not in key]


def test_auto_blocks_are_of_about_8_mb_in_float64() -> None:
    assert files_per_block((1, 64)) == 16384
    for shape in [(36, 61), (27, 61), (500, 100)]:
        megabytes = files_per_block(shape) * shape[0] * shape[1] * 8 / 1e6
        assert 7.5 < megabytes < 8.4
    assert files_per_block((20000, 100)) == 1


def test_shorter_files_are_padded(tmp_path: Path, infos: list[FileInfo]) -> None:
    good = aps_file.contents(5)
    short = {name: good[name][:9] for name in good if name.startswith("xpcs/multitau/") and good[name].ndim}
    other = read_meta(str(aps_file.write(tmp_path / "short.hdf", short)))
    block = read_block(stored_curves([infos[0], other]), (3, 13))
    assert block.shape == (2, 2, 3, 13)
    assert np.isnan(block[1, :, :, 9:]).all()
    assert np.isfinite(block[0]).all()
    np.testing.assert_array_equal(block[1, 0, :, :9], good["xpcs/multitau/normalized_g2"][:9].T)


@pytest.mark.parametrize("what", ["values", "shape", "gone"])
def test_a_file_that_changed_is_refused(tmp_path: Path, what: str) -> None:
    path = aps_file.write(tmp_path / "a.hdf")
    g2, _ = curves([read_meta(str(path))], (3, 13), "auto")
    path.unlink()
    if what != "gone":
        aps_file.write(path, seed=1, bins=3 if what == "values" else 4)
    reason = "no such file" if what == "gone" else "g2 has changed since the file was opened; open it again"
    with pytest.raises(FileRejected, match=reason) as caught:
        g2.compute(scheduler="sync")
    assert caught.value.path == str(path)


def test_what_a_task_needs_is_small(infos: list[FileInfo]) -> None:
    stored = stored_curves(infos)
    assert len(pickle.dumps(stored[0])) < 500
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stored))[2].read()[0], plain(infos, 0)[2])


def test_the_name_tells_what_is_read(infos: list[FileInfo]) -> None:
    stored = stored_curves(infos)
    others = []
    for changed in ({"path": "x"}, {"format": "x"}, {"entry": "x"}, {"content_hash": 5}):
        other = stored.copy()
        other[3] = replace(stored[3], **changed)
        others.append(_token(other, (3, 13)))
    names = [_token(stored, (3, 13)), _token(stored, (3, 14)), _token(stored[::-1], (3, 13)), *others]
    assert len(set(names)) == len(names)
    assert names[0] == _token(stored_curves(infos), (3, 13))
    strange = stored.copy()
    strange[0] = replace(stored[0], path="name\udcff.hdf")
    assert _token(strange, (3, 13)) not in names
