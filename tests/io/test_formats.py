from __future__ import annotations

import os
from pathlib import Path

import aps_file
import h5py
import pytest

from xpcs_dask.errors import ConfigError, FileRejected
from xpcs_dask.io import formats
from xpcs_dask.io.formats import READERS, check_told, identify, reader, suffixes
from xpcs_dask.io.reader import Told


def test_identify_by_content(tmp_path: Path) -> None:
    assert identify(str(aps_file.write(tmp_path / "results.of.today"))) == "aps_nexus"


def test_unknown_contents(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        file["something/else"] = 1
    (tmp_path / "b.hdf").write_text("tau,g2\n1,2\n")
    (tmp_path / "c.hdf").write_bytes(b"")
    os.mkfifo(tmp_path / "d.hdf")
    for name, reason in {
        "a.hdf": r"it is HDF5, but of none of the formats known here \(aps_nexus",
        "b.hdf": r"it is not HDF5 and of none of the formats known here \(aps_nexus",
        "c.hdf": r"the file is empty \(0 bytes\)",
        "d.hdf": "it is a pipe or a device",
        "e.hdf": "there is no such file",
        ".": "it is a folder",
    }.items():
        with pytest.raises(FileRejected, match=reason) as caught:
            identify(str(tmp_path / name))
        assert caught.value.path == str(tmp_path / name)


def test_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = aps_file.write(tmp_path / "a.hdf")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(formats, "open", refuse, raising=False)
    with pytest.raises(FileRejected, match="no permission to read it; ask its owner"):
        identify(str(path))


def test_reader_by_name() -> None:
    assert reader("aps_nexus").SUFFIXES
    with pytest.raises(ConfigError, match=r"format: 'spec' is not known; known are aps_nexus"):
        reader("spec")


def test_a_folder_stands_for_tables_only_if_they_are_asked_for() -> None:
    assert {".hdf", ".h5", ".nxs", "_cf.dat"} <= set(suffixes())
    assert not {".csv", ".npz", ".dat"} & set(suffixes())
    assert suffixes("table") == (".csv", ".npz")


def test_what_a_format_tells_by_itself_cannot_be_told() -> None:
    for name, known in READERS.items():
        for option in ("entry", "delay_unit", "q_unit"):
            if option in known.OPTIONS:
                check_told("a", name, Told(**{option: "s"}))
            else:
                with pytest.raises(FileRejected, match=f"a: {option}= does not apply to a file of format {name}"):
                    check_told("a", name, Told(**{option: "s"}))
    check_told("a", "aps_nexus", Told())
