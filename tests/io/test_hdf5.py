from __future__ import annotations

import os
from pathlib import Path

import aps_file
import h5py
import numpy as np
import pytest
from conftest import carried

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.aps_nexus import read_g2, read_meta
from xpcs_dask.io.hdf5 import fingerprint, is_hdf5, open_hdf5, opened_once

GOOD = "boost_corr/S0006_short_a0000_f000012_r00001_results.hdf"


def test_a_truncated_file_never_ends_in_another_error(tmp_path: Path) -> None:
    whole, path = carried(GOOD).read_bytes(), tmp_path / "cut.hdf"
    for length in [1, 7, 8, 96, 511, *range(1000, len(whole), 4000), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(FileRejected) as caught:
            read_g2(str(path))
        assert "\n" not in caught.value.reason
        assert ("truncated" in caught.value.reason) == (length >= 96)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(13, "Permission denied"), "no permission to read it"),
        (
            OSError("Unable to open file (unable to open file: errno = 13, error message = 'Permission denied')"),
            "no perm",
        ),
        (OSError("Unable to open file (unable to lock file, errno = 11)"), "another program is writing it"),
        (
            OSError("Can't open directory or file (required filter 'lz4' is not registered)"),
            r"install xpcs-dask\[plugins\]",
        ),
        (FileNotFoundError(2, "no such file"), "there is no such file"),
        (IsADirectoryError(21, "Is a directory"), "it is a folder"),
        (KeyError("Unable to open object\n(bad heap)"), r"may be damaged \('Unable to open object.*\(bad heap\)'\)"),
    ],
)
def test_reasons(monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(FileRejected, match=reason) as caught, open_hdf5("x.hdf"):
        pass
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileRejected, match="there is no such file"), open_hdf5(str(tmp_path / "none.hdf")):
        pass
    with pytest.raises(FileRejected, match="it is a folder"), open_hdf5(str(tmp_path)):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = aps_file.write(tmp_path / "a.hdf")
    path.chmod(0)
    with pytest.raises(FileRejected, match="no permission to read it"), open_hdf5(str(path)):
        pass


def test_is_hdf5(tmp_path: Path) -> None:
    assert is_hdf5(str(carried(GOOD)))
    with h5py.File(tmp_path / "block.hdf", "w", userblock_size=512):
        pass
    assert is_hdf5(str(tmp_path / "block.hdf"))
    (tmp_path / "text.hdf").write_text("q,g2")
    assert not is_hdf5(str(tmp_path / "text.hdf"))
    assert not is_hdf5(str(tmp_path / "none.hdf"))


def test_links_inside_the_file_are_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        file["real/group/x"] = 5.0
        file["whole"] = h5py.SoftLink("/real")
        file["real/near"] = h5py.SoftLink("./group/x")
        file["gone"] = h5py.SoftLink("/nowhere")
        file["loop"] = h5py.SoftLink("/loop")
    with open_hdf5(str(tmp_path / "a.hdf")) as found:
        assert found.scalar("whole/group/x") == found.scalar("real/near") == found.scalar("whole/near") == 5
        assert found.find("gone") is None
        assert found.find("real/group/x/deeper") is None
        with pytest.raises(FileRejected, match="/loop is a link that leads out"):
            found.find("loop")


def test_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    other = aps_file.write(tmp_path / "other.hdf")
    g2 = "xpcs/multitau/normalized_g2"
    path = aps_file.write(tmp_path / "a.hdf", {g2: h5py.ExternalLink(str(other), "/" + g2)})
    with pytest.raises(FileRejected, match="normalized_g2 is a link that leads out of the file"):
        read_meta(str(path))
    virtual = aps_file.write(tmp_path / "b.hdf", {g2: None})
    layout = h5py.VirtualLayout((13, 3), "f4")
    layout[:] = h5py.VirtualSource(other, g2, (13, 3))
    with h5py.File(virtual, "a") as file:
        file.create_virtual_dataset(g2, layout)
    with pytest.raises(FileRejected, match="normalized_g2 keeps its values in other files"):
        read_meta(str(virtual))
    raw = aps_file.write(tmp_path / "c.hdf", {g2: None})
    (tmp_path / "raw.bin").write_bytes(bytes(156))
    with h5py.File(raw, "a") as file:
        file.create_dataset(g2, (13, 3), "f4", external=[(str(tmp_path / "raw.bin"), 0, 156)])
    with pytest.raises(FileRejected, match="normalized_g2 keeps its values in other files"):
        read_meta(str(raw))


def test_scalars_and_texts(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        file["single"] = np.full((1, 1), 2e-05, "f4")
        file["double"] = np.float64(1.9230769230769232e-05)
        file["many"] = [1.0, 2.0]
        file["text"] = b"5"
        file["fixed"] = np.array([b"q", b"phi"])
        file["names"] = ["q", "Å⁻¹"]
        file["empty"] = h5py.Empty("f8")
    with open_hdf5(str(tmp_path / "a.hdf")) as found:
        assert found.scalar("single") == 2e-05
        assert found.scalar("double") == 1.9230769230769232e-05
        assert [found.scalar(name) for name in ("many", "text", "empty", "none")] == [None] * 4
        assert found.texts("fixed") == ["q", "phi"]
        assert found.texts("names") == ["q", "Å⁻¹"]
        assert found.texts("many") == found.texts("none") == []
        with pytest.raises(FileRejected, match="/text does not hold numbers"):
            found.array("text")


def test_fingerprint_tells_maps_apart(tmp_path: Path) -> None:
    labels = np.arange(4096, dtype="u2").reshape(64, 64)
    other = labels.copy()
    other[63, 63] += 1
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        for name, values in {"a": labels, "b": labels, "c": other, "d": labels.T.copy()}.items():
            file.create_dataset(f"lzf/{name}", data=values, compression="lzf", chunks=(16, 32))
            file.create_dataset(f"plain/{name}", data=values)
        file.create_dataset("lzf/u1", data=labels.view("u1"), compression="lzf", chunks=(16, 64))
        for kind in ("lzf", "plain"):
            prints = [fingerprint(file[f"{kind}/{name}"]) for name in "abcd"]
            assert prints[0] == prints[1]
            assert len(set(prints)) == 3
        assert fingerprint(file["lzf/u1"]) != fingerprint(file["lzf/a"])
        for row in (0, 48):  # the same one chunk in two places, the others never written
            file.create_dataset(f"sparse/{row}", (64, 32), "u2", compression="lzf", chunks=(16, 32))[row : row + 16] = 5
        assert fingerprint(file["sparse/0"]) != fingerprint(file["sparse/48"])


def test_a_file_is_opened_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, other = (str(aps_file.write(tmp_path / name)) for name in ("a.hdf", "b.hdf"))
    reads = aps_file.CountReads(monkeypatch)
    with opened_once(path):
        assert reads.paths == []
        for _ in range(3):
            with open_hdf5(path) as found:
                assert found.scalar("entry/sample/qnw1_temperature") == 25
        assert reads.paths == [path]
        read_meta(other)
        read_meta(other)
        assert reads.paths == [path, other, other]
    assert not found.find("")  # closed
    read_g2(path)
    assert reads.paths[3:] == [path]


def test_a_file_opened_once_is_closed_after_an_error(tmp_path: Path) -> None:
    path = str(aps_file.write(tmp_path / "a.hdf", {"out": h5py.ExternalLink("b.hdf", "/x")}))
    with pytest.raises(FileRejected, match="is a link"), opened_once(path), open_hdf5(path) as found:
        found.find("out")
    assert not found.find("")  # closed
    with opened_once(str(tmp_path / "none.hdf")), pytest.raises(FileRejected, match="there is no such file"):
        read_g2(str(tmp_path / "none.hdf"))


def test_values_are_read_as_h5py_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    held: dict[str, np.ndarray] = {
        f"{kind}{'x'.join(map(str, shape))}": (100 * rng.random(shape)).astype(kind)
        for kind in ("<f4", ">f4", "<f8", ">f8", "<i2", ">i8", "i1", "u1", "?", "<f2")
        for shape in ((), (1, 1), (0, 3), (3, 5), (2, 3, 4))
    }
    with h5py.File(tmp_path / "a.hdf", "w", userblock_size=512) as file:
        for name, values in held.items():
            file[f"plain/{name}"] = values
            if values.size and values.ndim:
                file.create_dataset(f"packed/{name}", data=values, compression="gzip", shuffle=True)
            file.create_dataset(f"none/{name}", values.shape, values.dtype, fillvalue=3)
        for name in ("enum", "zenum"):  # before and after plain numbers of the same size
            file.create_dataset(name, data=[1, 0], dtype=h5py.enum_dtype({"no": 0, "yes": 1}, "i1"))
        for name, encoding in (("a", "ascii"), ("b", "utf-8"), ("c", "ascii")):
            text = "Å" if encoding == "utf-8" else "A"
            file.create_dataset(f"text/{name}", data=[text], dtype=h5py.string_dtype(encoding))
    with h5py.File(tmp_path / "a.hdf") as file, open_hdf5(str(tmp_path / "a.hdf")) as found:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert [found.texts(name) for name in names if name.startswith("text/")] == [["A"], ["Å"], ["A"]]
        names = [name for name in names if not name.startswith("text/")]
        assert len(names) > 100
        for name in names:
            values, expected = found.array(name), file[name][()]
            assert values is not None
            assert (values.dtype, values.shape) == (expected.dtype, np.shape(expected))
            np.testing.assert_array_equal(values, expected)
            stored = found.stored(name)
            assert stored is not None
            assert (stored.shape, stored.ndim, stored.size) == (file[name].shape, file[name].ndim, file[name].size)


def test_values_elsewhere_are_refused_behind_a_user_block(tmp_path: Path) -> None:
    (tmp_path / "raw.bin").write_bytes(bytes(24))
    with h5py.File(tmp_path / "a.hdf", "w", userblock_size=512) as file:
        file.create_dataset("x", (3,), "f8", external=[(str(tmp_path / "raw.bin"), 0, 24)])
    with open_hdf5(str(tmp_path / "a.hdf")) as found, pytest.raises(FileRejected, match="in other files"):
        found.array("x")
