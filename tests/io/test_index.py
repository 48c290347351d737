from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import aps_file
import h5py
import numpy as np
import pytest
import xarray as xr
from answers import same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpcs_dask.errors import FileRejected
from xpcs_dask.io import index, index_cache, index_workers
from xpcs_dask.io.index import Question, ask, read, share
from xpcs_dask.io.open import open_g2
from xpcs_dask.io.reader import FileInfo, Told

MANY = 40


@pytest.fixture(autouse=True)
def keep_at_once(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep answers in a folder of the test, however quick they were and however young the files are."""
    folder = tmp_path_factory.mktemp("kept")
    monkeypatch.setenv("XPCS_DASK_CACHE", str(folder))
    monkeypatch.setattr(index, "WORTH_KEEPING", 0.0)
    monkeypatch.setattr(index_cache, "SETTLED", -10.0)
    return folder


COUNT_TIME = {"entry/instrument/detector_1/count_time": 0.5}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of files of which every tenth cannot be read."""
    folder = tmp_path_factory.mktemp("template")
    for i in range(MANY):
        path = folder / f"r{i}.hdf"
        if i % 10 == 7:
            path.write_text(f"no result {i}")
        else:
            aps_file.write(path, COUNT_TIME, seed=i)
    return folder


@pytest.fixture
def series(template: Path, tmp_path: Path) -> list[str]:
    """Paths of files that a test may change."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return [str(tmp_path / f"r{i}.hdf") for i in range(MANY)]


def test_answers_are_in_the_order_of_the_files(series: list[str]) -> None:
    turned = series[::-1]
    answers = ask(turned, Question())
    assert [answer.path for answer in answers] == turned
    assert [isinstance(answer, FileRejected) for answer in answers] == [i % 10 == 7 for i in range(MANY)][::-1]
    for path, answer in zip(turned, answers, strict=True):
        assert same(answer, read(path, Question()).answer)


def test_the_first_rejected_file_is_raised_and_no_later_one_read(
    series: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):  # read, and kept
        reads = aps_file.CountReads(monkeypatch)
        with pytest.raises(FileRejected) as caught:
            ask(series, Question(), stop=True)
        assert caught.value.path == series[7]
        assert not {*series[8:]} & {*reads.paths}
    assert reads.paths == []


def test_the_second_time_no_file_is_opened(series: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask(series, Question())
    reads = aps_file.CountReads(monkeypatch)
    again = ask(series, Question())
    assert reads.paths == []
    assert len(again) == MANY
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    few = series[: index.FEW - 1]
    ask(few, Question())
    assert len(reads.paths) >= len(few) - 3


def test_of_few_files_nothing_is_kept(series: list[str], keep_at_once: Path) -> None:
    ask(series[: index.FEW - 1], Question())
    assert list(keep_at_once.iterdir()) == []
    ask(series[: index.FEW], Question())
    assert len(list(keep_at_once.iterdir())) == 1


def test_what_was_read_quickly_is_not_kept(
    series: list[str], keep_at_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "WORTH_KEEPING", 1e6)
    ask(series, Question())
    assert list(keep_at_once.iterdir()) == []


def test_only_new_and_changed_files_are_read_again(series: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ask(series[:35], Question())
    aps_file.write(Path(series[3]), {**COUNT_TIME, "entry/sample/qnw1_temperature": 31.0}, seed=3)
    state = os.stat(series[4])
    aps_file.write(Path(series[4]), {**COUNT_TIME, "entry/sample/qnw1_temperature": 32.0}, seed=4)
    os.utime(series[4], ns=(state.st_atime_ns, state.st_mtime_ns))  # as tools do that copy times
    assert os.stat(series[4]).st_size == state.st_size
    Path(series[7]).write_bytes(Path(series[8]).read_bytes())
    reads = aps_file.CountReads(monkeypatch)
    answers = ask(series, Question())
    assert {*reads.paths} == {series[i] for i in (3, 4, 7, 35, 36, 38, 39)}
    temperatures = [getattr(answers[i], "scalars", {}).get("temperature") for i in (2, 3, 4, 7)]
    assert temperatures == [25.0, 31.0, 32.0, 25.0]
    reads.paths.clear()
    ask(series, Question())
    assert reads.paths == []


@pytest.mark.parametrize(
    "other",
    [
        Question("aps_nexus"),
        Question(include=frozenset({"temperature", "count_time"})),
        Question(told=Told(entry="x")),
        Question(told=Told(delay_unit="ms")),
        Question(told=Told(q_unit="1/nm")),
    ],
)
def test_another_question_has_another_answer(series: list[str], other: Question) -> None:
    first = ask(series, Question())
    answers = ask(series, other)
    assert all(same(answer, read(path, other).answer) for path, answer in zip(series, answers, strict=True))
    assert all(same(a, b) for a, b in zip(first, ask(series, Question()), strict=True))


def test_what_the_system_refuses_is_asked_again(series: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    true = h5py.File

    def refused(path: str, *args: Any, **kwargs: Any) -> h5py.File:
        if path == series[0]:
            raise PermissionError(13, "Permission denied")
        return true(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(h5py, "File", refused)
        first = ask(series, Question())[0]
        assert isinstance(first, FileRejected)
        assert "no permission" in first.reason
    assert isinstance(ask(series, Question())[0], FileInfo)


@pytest.mark.parametrize("kept", [False, True])
def test_progress(series: list[str], kept: bool) -> None:
    if kept:
        ask(series, Question())
    heard: list[tuple[int, int]] = []
    ask(series, Question(), progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (MANY, MANY)
    assert heard == sorted(heard)
    assert {total for _, total in heard} == {MANY}


def test_long_reading_goes_to_processes(series: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[list[str]] = []

    def instead(paths: list[str], question: Question) -> Any:
        handed.append(paths)
        return (read(path, question) for path in paths)

    monkeypatch.setattr(index_workers, "read_in_workers", instead)
    ask(series[:20], Question())
    assert handed == []
    monkeypatch.setattr(index, "WORTH_WORKERS", 0.0)
    answers = ask(series, Question())
    assert handed == [series[index.FEW // 2 :]]
    assert [answer.path for answer in answers] == series


def test_equal_arrays_are_shared(series: list[str]) -> None:
    seen: dict[bytes, Any] = {}
    a, b = (share(read(path, Question()).answer, seen) for path in series[:2])
    assert isinstance(a, FileInfo)
    assert isinstance(b, FileInfo)
    for name in index.SHARED:
        assert getattr(a, name) is getattr(b, name)
        np.testing.assert_array_equal(getattr(a, name), getattr(read(series[0], Question()).answer, name))
    assert a.q is not a.phi
    c = share(FileInfo(series[0], "x", a.delay.copy(), 2 * a.q, 1), seen)
    assert isinstance(c, FileInfo)
    assert c.delay is a.delay
    np.testing.assert_array_equal(c.q, 2 * a.q)


def test_a_dataset_owns_its_arrays(series: list[str], tmp_path: Path) -> None:
    first = open_g2(tmp_path, on_error="skip").copy(deep=True)
    for _ in range(2):  # read, and kept
        one = open_g2(tmp_path, on_error="skip")
        for name in ("q", "phi", "level"):
            one[name].values[:] = 5
    xr.testing.assert_identical(open_g2(tmp_path, on_error="skip"), first)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of all sorts: good, shorter, of another q-map, without temperature, of another format, and broken."""
    folder = tmp_path_factory.mktemp("zoo")
    good = aps_file.contents()
    short = {name: good[name][:9] for name in good if name.startswith("xpcs/multitau/") and good[name].ndim}
    changes: list[dict[str, Any]] = [
        {},
        short,
        {"xpcs/qmap/dynamic_v_list_dim0": good["xpcs/qmap/dynamic_v_list_dim0"] * 2},
        {"entry/sample/qnw1_temperature": None, "entry/start_time": b"2026-01-02T03:04:05+01:00"},
        {"xpcs/spatial_mean/intensity_vs_time": None, "entry/instrument/detector_1/count_time": 0.5},
        {"xpcs/multitau/normalized_g2": None},
    ]
    for i in range(44):
        aps_file.write(folder / f"a{i}.hdf", changes[i % len(changes)], seed=i)
    (folder / "text.hdf").write_text("nothing")
    (folder / "empty.hdf").write_bytes(b"")
    for i in range(3):
        (folder / f"t{i}.csv").write_text("# delay (s), g2\n" + "".join(f"{k},1.{i}{k}\n" for k in range(1, 9)))
    return sorted(folder.iterdir())


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_same_dataset_kept_or_not(zoo: list[Path], keep_at_once: Path, data: st.DataObject) -> None:
    before = data.draw(st.lists(st.sampled_from(zoo), min_size=index.FEW, unique=True))
    asked = data.draw(st.lists(st.sampled_from(zoo), min_size=index.FEW, unique=True))
    include = data.draw(st.sampled_from([(), ("count_time",)]))
    shutil.rmtree(keep_at_once)

    def opened(paths: list[Path]) -> Any:
        return open_g2(paths, on_error="skip", on_mismatch="split", include=include)

    opened(before)
    assert len(list(keep_at_once.iterdir())) == 1
    kept = opened(asked)
    shutil.rmtree(keep_at_once)
    xr.testing.assert_identical(kept.compute(), opened(asked).compute())
