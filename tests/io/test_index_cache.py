from __future__ import annotations

import logging
import os
import shutil
import stat
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import aps_file
import numpy as np
import pytest
from answers import same
from conftest import CARRIED

from xpcs_dask.errors import FileRejected
from xpcs_dask.io import index, index_cache
from xpcs_dask.io.index import Question, ask, read
from xpcs_dask.io.index_cache import folder, load, save
from xpcs_dask.io.reader import FileInfo

STATE = (5, 2**60, 2**60 + 1)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    where = tmp_path / "kept"
    monkeypatch.setenv("XPCS_DASK_CACHE", str(where))
    monkeypatch.setattr(index, "WORTH_KEEPING", 0.0)
    monkeypatch.setattr(index_cache, "SETTLED", -10.0)
    return where


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    for i in range(index.FEW):
        aps_file.write(folder / f"r{i}.hdf", seed=i)
    return folder


@pytest.fixture
def series(template: Path, tmp_path: Path) -> list[str]:
    """Paths of files that a test may change."""
    where = shutil.copytree(template, tmp_path / "series")
    return [str(where / f"r{i}.hdf") for i in range(index.FEW)]


def everything() -> FileInfo:
    """Return an answer with something unusual in every field."""
    return FileInfo(
        path="",
        format="some_format",
        delay=np.array([1e-300, 0.1, 1 / 3]),
        q=np.array([0.1, 0.3]),
        content_hash=2**64 - 3,
        phi=np.array([-0.0, np.nan]),
        labels=np.array([7, 2**62]),
        entry="größe/3",
        level=np.array([0.0, np.inf, np.nan]),
        n_products=np.array([9.0, 8.0, 0.0]),
        n_pixels=np.array([1.0, np.nan]),
        rate=np.array([0.1, 0.2]),
        frames=np.float64(np.nan),
        stride=np.int64(3),
        average=2,
        frame_time=np.float64(2e-5),
        runs=11,
        error_kind="placeholder",
        start_time=datetime(2026, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=-6))),
        scalars={"temperature": float("nan"), "count_time": 0.1},
        notes=("one", "two\nlines"),
        size=2**40,
    )


def test_every_field_comes_back(tmp_path: Path) -> None:
    plain = FileInfo("", "x", np.array([1.0]), np.array([np.nan]), 0, size=1, start_time=datetime(2026, 1, 2))
    entries = {"a": everything(), "b": plain, "c": FileRejected("", "it is\nbroken: ß"), "\udcff.hdf": plain}
    save(tmp_path / "s.npz", {name: (STATE, answer) for name, answer in entries.items()})
    again = load(tmp_path / "s.npz")
    assert list(again) == list(entries)
    for name, answer in entries.items():
        assert again[name][0] == STATE
        assert same(again[name][1], answer)
    first = again["a"][1]
    assert isinstance(first, FileInfo)
    assert first.start_time is not None
    assert first.start_time.utcoffset() == timedelta(hours=-6)
    assert first.labels.dtype == np.int64
    assert np.signbit(first.phi[0])


def test_every_file_that_the_repository_carries(tmp_path: Path) -> None:
    paths = [path for path in sorted((CARRIED / "boost_corr").iterdir()) if path.is_file()]
    answers = {path.name: read(str(path), Question()).answer for path in paths}
    save(tmp_path / "s.npz", {name: (STATE, answer) for name, answer in answers.items()})
    again = load(tmp_path / "s.npz")
    for path in paths:
        assert same(index_cache._named(again[path.name][1], str(path)), answers[path.name])
    assert any(isinstance(answer, FileRejected) for answer in answers.values())


def test_shared_arrays_are_stored_once(tmp_path: Path) -> None:
    long = np.arange(1.0, 5001.0)
    infos = [FileInfo(f"{i}", "x", long.copy(), np.array([1.0 + i]), i, size=1) for i in range(50)]
    save(tmp_path / "s.npz", {info.path: (STATE, info) for info in infos})
    assert (tmp_path / "s.npz").stat().st_size < 4 * long.nbytes
    again = [answer for _, answer in load(tmp_path / "s.npz").values()]
    assert [one.q[0] for one in again] == [1.0 + i for i in range(50)]  # type: ignore[union-attr]
    assert len({one.delay.ctypes.data for one in again}) == 1  # type: ignore[union-attr]


def test_a_damaged_store_is_read_over(
    kept: Path, series: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    first = ask(series, Question())
    [store] = kept.iterdir()
    whole = store.read_bytes()
    assert len(load(store)) == len(series)
    cuts = [whole[:n] for n in (0, 1, 100, len(whole) // 2, len(whole) - 1)]
    flips = [whole[:n] + bytes([whole[n] ^ 255]) + whole[n + 1 :] for n in range(40, len(whole) - 200, 1501)]
    assert len(flips) > 5
    for number, content in enumerate([*cuts, *flips, b"not a store" * 100]):
        store.write_bytes(content)
        caplog.clear()
        found = load(store)
        if found:  # the damage is where it does not matter
            answers = [index_cache._named(found[Path(path).name][1], path) for path in series]
            assert all(same(a, b) for a, b in zip(answers, first, strict=True))
        assert found == {} or number >= len(cuts)
        assert bool(found) != ("cannot be read, the files are read again" in caplog.text)
    answers = ask(series, Question())
    assert all(same(a, b) for a, b in zip(answers, first, strict=True))
    reads = aps_file.CountReads(monkeypatch)
    ask(series, Question())
    assert reads.paths == []


def test_a_store_that_holds_something_else(tmp_path: Path) -> None:
    for held in ({"other": np.ones(3)}, {"head": np.frombuffer(b"[[], [[1]]]", "u1"), "body": np.ones(0, "u1")}):
        np.savez(tmp_path / "s.npz", **held)
        assert load(tmp_path / "s.npz") == {}
    np.savez(tmp_path / "s.npz", head=np.array([{}], object), body=np.ones(1))
    assert load(tmp_path / "s.npz") == {}


def test_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("XPCS_DASK_CACHE", raising=False)
    assert folder() == tmp_path / "xdg" / "xpcs_dask" / "index"
    assert stat.S_IMODE((tmp_path / "xdg/xpcs_dask/index").stat().st_mode) == 0o700
    monkeypatch.setenv("XPCS_DASK_CACHE", str(tmp_path / "mine"))
    assert folder() == tmp_path / "mine"
    monkeypatch.setenv("XPCS_DASK_CACHE", "off")
    assert folder() is None
    assert caplog.text == ""
    monkeypatch.setenv("XPCS_DASK_CACHE", "some/folder")
    assert folder() is None
    assert "not an absolute path" in caplog.text
    assert not Path("some/folder").exists()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_is_refused(
    kept: Path, series: list[str], mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    kept.mkdir()
    kept.chmod(mode)
    assert len(ask(series, Question())) == len(series)
    assert list(kept.iterdir()) == []
    assert "others can write it" in caplog.text
    kept.chmod(0o755)
    ask(series, Question())
    [store] = kept.iterdir()
    assert stat.S_IMODE(store.stat().st_mode) == 0o600


def test_a_folder_of_somebody_else_is_refused(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder() == kept
    monkeypatch.setattr(os, "getuid", lambda: kept.stat().st_uid + 1)
    assert folder() is None


def test_no_place_to_keep_anything(
    tmp_path: Path, series: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XPCS_DASK_CACHE", str(tmp_path / "file" / "kept"))
    assert len(ask(series, Question())) == len(series)
    assert "what files tell is not kept for the next time" in caplog.text


def test_a_full_disk(
    kept: Path, series: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def full(file: Any, **_: object) -> None:
        file.write(b"some")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(ask(series, Question())) == len(series)
    assert list(kept.iterdir()) == []
    assert "No space left on device" in caplog.text


def test_what_has_just_changed_is_not_kept(kept: Path, series: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_cache, "SETTLED", 3600.0)
    ask(series, Question())
    [store] = kept.iterdir()
    assert load(store) == {}


def test_the_folder_counts_not_how_it_is_called(kept: Path, series: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    above = Path(series[0]).parent
    ask(series, Question())
    (above.parent / "link").symlink_to(above)
    reads = aps_file.CountReads(monkeypatch)
    monkeypatch.chdir(above)
    for paths in ([f"../link/{Path(path).name}" for path in series], [Path(path).name for path in series]):
        assert [answer.path for answer in ask(paths, Question())] == paths
    assert reads.paths == []


def test_another_version_reads_again(kept: Path, series: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ask(series, Question())
    monkeypatch.setattr(index_cache, "_readers", lambda: "another")
    reads = aps_file.CountReads(monkeypatch)
    ask(series, Question())
    assert len(reads.paths) == len(series)


def test_what_was_kept_of_other_files_stays(kept: Path, series: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    more = [str(aps_file.write(Path(series[0]).with_name(f"s{i}.hdf"), seed=i)) for i in range(index.FEW)]
    ask(series, Question())
    ask(more, Question())
    reads = aps_file.CountReads(monkeypatch)
    ask(series + more, Question())
    assert reads.paths == []
    monkeypatch.setattr(index_cache, "MOST_FILES", 10)
    Path(more[-1]).touch()
    ask(series + more, Question())
    [store] = kept.iterdir()
    assert len(load(store)) == 10


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_cache, "MOST_STORES", 3)
    for number, name in enumerate([*(f"{n}.npz" for n in range(4)), f"{index_cache.UNFINISHED}old"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (number, number))
    (tmp_path / f"{index_cache.UNFINISHED}new").touch()
    save(tmp_path / "now.npz", {})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"2.npz", "3.npz", "now.npz", f"{index_cache.UNFINISHED}new"}


def test_two_that_write_at_once_do_no_harm(tmp_path: Path) -> None:
    store, wrong = tmp_path / "s.npz", []
    sets = [{f"{letter}{i}": (STATE, FileRejected("", letter)) for i in range(200)} for letter in "ab"]
    save(store, sets[0])
    done = threading.Event()

    def reads() -> None:
        while not done.is_set():
            found = load(store)
            if [*found] not in ([*sets[0]], [*sets[1]]):
                wrong.append(found)

    reader = threading.Thread(target=reads)
    writers = [threading.Thread(target=lambda held=held: [save(store, held) for _ in range(40)]) for held in sets]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert wrong == []
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


def test_times_with_a_zone_are_the_same_instant(tmp_path: Path) -> None:
    at = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
    save(tmp_path / "s.npz", {"a": (STATE, FileInfo("", "x", np.ones(1), np.ones(1), 1, start_time=at, size=1))})
    answer = load(tmp_path / "s.npz")["a"][1]
    assert isinstance(answer, FileInfo)
    assert answer.start_time == at
