from __future__ import annotations

import os
from pathlib import Path

import pytest

from xpcs_dask.errors import NoUsableInputError
from xpcs_dask.io import sources
from xpcs_dask.io.sources import list_files, natural_key

ENDINGS = (".hdf", ".h5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("r10.hdf", "r9.hdf", "R1.H5", "notes.txt", ".r3.hdf", "deep/r2.hdf"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def names(*sources: object) -> list[str]:
    files, rejected = list_files([str(source) for source in sources], ENDINGS)
    assert not rejected
    return [Path(path).name for path in files]


def test_folder_glob_path_and_list(folder: Path) -> None:
    assert names(folder) == ["R1.H5", "r9.hdf", "r10.hdf"]
    assert names(folder / "*.hdf") == ["r9.hdf", "r10.hdf"]
    assert names(folder / "**" / "r?.hdf") == ["r2.hdf", "r9.hdf"]
    assert names(folder / "notes.txt") == ["notes.txt"]
    assert names(folder / "r10.hdf", folder / "deep", folder / "R*") == ["r2.hdf", "R1.H5", "r10.hdf"]


def test_home_and_odd_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert names("~/r9.hdf") == ["r9.hdf"]
    (folder / "uid=[1].hdf").touch()
    assert names(folder / "uid=[1].hdf") == ["uid=[1].hdf"]


def test_natural_order() -> None:
    order = ["2", "10", "a", "a09", "a9", "a10", "B1"]
    assert sorted(["a10", "a9", "B1", "a09", "a", "10", "2"], key=natural_key) == order


def test_what_leads_nowhere(folder: Path) -> None:
    (folder / "bare").mkdir()
    files, rejected = list_files([str(folder / name) for name in ("none*.hdf", "none.hdf", "bare", "r9.hdf")], ENDINGS)
    assert [Path(path).name for path in files] == ["r9.hdf"]
    assert [(Path(error.path).name, error.reason) for error in rejected] == [
        ("none*.hdf", "no file matches this pattern"),
        ("none.hdf", "there is no such file; check the path"),
        ("bare", "the folder holds no file that ends in .hdf, .h5"),
    ]
    with pytest.raises(NoUsableInputError, match="no file was named"):
        list_files([], ENDINGS)


def test_duplicates(folder: Path) -> None:
    (folder / "s1.hdf").symlink_to(folder / "r9.hdf")
    files, rejected = list_files([str(folder), str(folder / "deep" / ".." / "r10.hdf")], ENDINGS)
    assert [Path(path).name for path in files] == ["r10.hdf", "R1.H5", "r9.hdf"]
    assert [error.path for error in rejected] == [str(folder / "r10.hdf"), str(folder / "s1.hdf")]
    assert rejected[1].reason == f"duplicated: it is the same file as {folder / 'r9.hdf'}; name it once"


def test_files_are_resolved_as_the_system_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "a.hdf").touch()
    (tmp_path / "real" / "b.hdf").symlink_to("../link/a.hdf")
    (tmp_path / "c.hdf").symlink_to("real/b.hdf")
    monkeypatch.chdir(tmp_path / "real")
    names = ["a.hdf", "./a.hdf", "b.hdf", "../link/a.hdf", "../link/b.hdf", "../c.hdf", "/"]
    names += [f"{tmp_path}/{name}" for name in ("real/a.hdf", "link/a.hdf", "link/../real/a.hdf", "c.hdf", "real/..")]
    folders: dict[str, str] = {}
    for name in names:
        assert sources._resolved(name, folders) == os.path.realpath(name)
    files, rejected = sources.list_files(names[:6], [".hdf"])
    assert files == ["../c.hdf"]
    assert len(rejected) == 5
