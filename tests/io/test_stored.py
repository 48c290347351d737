from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import run_file

from xpcs_dask.errors import FileRejected
from xpcs_dask.io import stored
from xpcs_dask.io.hdf5 import open_hdf5


def test_needed_keeps_axes_of_length_one_in_a_row(tmp_path: Path) -> None:
    path = run_file.write(tmp_path / "a.h5", {"row": np.ones((1, 3), "f4"), "one": [[5]], "none": np.empty(0)})
    with open_hdf5(str(path)) as file:
        np.testing.assert_array_equal(stored.needed(file, "row"), [1, 1, 1])
        assert stored.needed(file, "one").tolist() == [5.0]
        for name in ("none", "missing"):
            with pytest.raises(FileRejected, match=f"/{name} is missing: the file is not complete"):
                stored.needed(file, name)


def test_curves_in_both_orders(tmp_path: Path) -> None:
    g2 = np.arange(6.0).reshape(2, 3)
    path = run_file.write(tmp_path / "a.h5", {"g2": g2, "square": np.ones((2, 2)), "text": np.full((2, 3), b"a")})
    with open_hdf5(str(path)) as file:
        np.testing.assert_array_equal(stored.curves(file, "g2", 2, 3, delay_first=False), g2)
        turned = stored.curves(file, "g2", 3, 2, delay_first=True)
        np.testing.assert_array_equal(turned, g2.T)
        assert turned.dtype == np.float32
        assert turned.flags.c_contiguous
        with pytest.raises(
            FileRejected, match=r"for 2 delays and 3 q bins; \(q, delay\) is expected: it is transposed"
        ):
            stored.curves(file, "g2", 3, 2, delay_first=False)
        with pytest.raises(FileRejected, match=r"for 2 delays and 3 q bins; \(q, delay\) is expected$"):
            stored.curves(file, "square", 3, 2, delay_first=False)
        with pytest.raises(FileRejected, match=r"/text does not hold numbers but \|S1"):
            stored.curves(file, "text", 2, 3, delay_first=False)
        assert stored.optional_curves(file, "missing", 2, 3, delay_first=False) is None


def test_curves_of_an_absurd_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MOST_POINTS", 5)
    path = run_file.write(tmp_path / "a.h5", {"g2": np.ones((2, 3))})
    with open_hdf5(str(path)) as file, pytest.raises(FileRejected, match="/g2 claims 6 points, more than 5"):
        stored.curves(file, "g2", 2, 3, delay_first=False)


def test_children_are_in_natural_order_and_no_links(tmp_path: Path) -> None:
    links = {"a/0": h5py.ExternalLink("other.h5", "/x"), "a/1": h5py.SoftLink("/a/10")}
    path = run_file.write(tmp_path / "a.h5", {"a/10": 1, "a/9": 1, **links})
    with open_hdf5(str(path)) as file:
        assert stored.children(file, "a") == ["9", "10"]
        assert stored.children(file, "") == ["a"]
        assert stored.children(file, "a/9") == stored.children(file, "missing") == []


def test_attributes(tmp_path: Path) -> None:
    contents = {
        "a": 1,
        "a@text": "µm",
        "a@bytes": np.bytes_("mm"),
        "a@number": 2.5,
        "a@one": ["s"],
        "a@two": ["s", "m"],
    }
    with open_hdf5(str(run_file.write(tmp_path / "a.h5", contents))) as file:
        found = {name: stored.attribute(file, "a", name) for name in ("text", "bytes", "number", "one", "two", "none")}
        assert found == {"text": "µm", "bytes": "mm", "number": "2.5", "one": "s", "two": "", "none": ""}
        assert stored.attribute(file, "a", "none", "bytes") == "mm"
        assert stored.attribute(file, "missing", "text") == ""


def test_pixels(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(4), [5, 2, 0, 7])
    maps = {"good": labels, "other": labels + 1, "negative": labels - 1, "float": labels * 1.0, "empty": labels[:0]}
    with open_hdf5(str(run_file.write(tmp_path / "a.h5", maps))) as file:
        for _ in range(2):
            np.testing.assert_array_equal(stored.pixels(file, "good", 3), [2, 0, 7])
        for name, bins in (
            ("good", 2),
            ("good", 4),
            ("other", 3),
            ("negative", 3),
            ("float", 3),
            ("empty", 3),
            ("no", 3),
        ):
            counts = stored.pixels(file, name, bins)
            assert counts.shape == (bins,)
            assert np.isnan(counts).all()
