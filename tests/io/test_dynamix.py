from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import run_file
import xarray as xr
from run_file import err_of, g2_of

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.dynamix import is_placeholder, read_g2, read_meta, sniff
from xpcs_dask.io.formats import identify


def write(path: Path, data: xr.Dataset, err: np.ndarray | None = None, unit: str = "1/A") -> str:
    """Write what the producer writes: q to five decimals, then delay, g2, error, g2, error, ..."""
    g2 = g2_of(data)
    rows = np.empty((data.sizes["delay"], 1 + 2 * len(g2)))
    rows[:, 0], rows[:, 1::2] = data["delay"], g2.T
    rows[:, 2::2] = (err_of(data) if err is None else err).T
    header = f"q values {unit}: " + " ".join(f"{value:.5f} " for value in data["q"].to_numpy())
    np.savetxt(path / "renamed.txt", rows, header=header, comments="#")
    return str(path / "renamed.txt")


@pytest.mark.parametrize("bins", [1, 12])
def test_everything(tmp_path: Path, bins: int) -> None:
    data = run_file.run(bins)
    path = write(tmp_path, data)
    assert identify(path) == "dynamix"
    info = read_meta(path)
    np.testing.assert_array_equal(info.q, np.round(data["q"], 5))
    np.testing.assert_array_equal(info.delay, data["delay"])
    assert (info.error_kind, info.notes) == ("quoted", ())
    g2, err = read_g2(path)
    np.testing.assert_array_equal(g2, g2_of(data))
    np.testing.assert_array_equal(err, err_of(data))


def test_errors_of_the_gpu_engine_are_a_placeholder(tmp_path: Path) -> None:
    data = run_file.run()
    path = write(tmp_path, data, 1e-4 * g2_of(data))
    assert read_meta(path).error_kind == "placeholder"
    np.testing.assert_allclose(read_g2(path)[1], 1e-4 * g2_of(data), rtol=1e-6)


def test_what_is_no_placeholder() -> None:
    g2 = np.linspace(1, 1.2, 12, dtype="f4").reshape(3, 4)
    assert is_placeholder(g2, 1e-4 * g2)
    one_real = 1e-4 * g2
    one_real[1, 2] *= 1.01
    nothing = np.full_like(g2, np.nan)
    for err in (one_real, 2e-4 * g2, np.full_like(g2, 1e-4), nothing):
        assert not is_placeholder(g2, err)
    partly = np.where(g2 > 1.1, g2, np.nan)
    assert is_placeholder(partly, 1e-4 * partly)


def test_delay_zero_is_left_out(tmp_path: Path) -> None:
    data = run_file.run()
    path = Path(write(tmp_path, data))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], " ".join(["0.0"] + ["9.0"] * 24), *lines[1:]]))
    assert read_meta(str(path)).notes == ("delay 0 is left out: it holds the shot noise",)
    np.testing.assert_array_equal(read_g2(str(path))[0], g2_of(data))


def test_unit_in_the_header(tmp_path: Path) -> None:
    data = run_file.run()
    q = read_meta(write(tmp_path, data, unit="1/nm")).q
    np.testing.assert_allclose(q, 0.1 * np.round(data["q"], 5), rtol=1e-12)
    with pytest.raises(FileRejected, match="the unit 'pixel' of q is not known"):
        read_meta(write(tmp_path, data, unit="pixel"))
    with pytest.raises(FileRejected, match="it does not state the unit of q"):
        read_meta(write(tmp_path, data, unit=""))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#q values 1/A: 0.01 0.02\n1 2 3\n", "it has 3 columns of numbers, 5 are expected: delay and two for"),
        ("#q values 1/A: 0.01\n", "it holds no row of numbers"),
        ("#q values 1/A: 0.01\n1 2 3\n1 2\n", "row 2 has 2 columns, the first has 3"),
        ("#q values 1/A: 0.01\n1 2 3\n1 x 2\n", "row 2 holds 'x', which is not a number"),
        ("#q values 1/A: a b\n1 2 3\n", "its first line must list numbers, found 'a b'"),
        ("#q values 1/A:\n1\n2\n", "it holds 0 curves of 2 delays"),
    ],
)
def test_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a_cf.dat"
    path.write_text(text)
    assert sniff(str(path))
    with pytest.raises(FileRejected, match=reason):
        read_meta(str(path))


def test_sniff_is_by_content(tmp_path: Path) -> None:
    for content in (b"1 2 3\n4 5 6\n", b"\x89HDF\r\n\x1a\n", b"", b"\xff\xfe\xfa"):
        (tmp_path / "a_cf.dat").write_bytes(content)
        assert not sniff(str(tmp_path / "a_cf.dat"))
        with pytest.raises(FileRejected, match="its first line must be '#q values"):
            read_meta(str(tmp_path / "a_cf.dat"))
