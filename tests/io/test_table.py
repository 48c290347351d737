from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run_file
import xarray as xr
from conftest import shared
from run_file import err_of, g2_of

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.formats import identify
from xpcs_dask.io.reader import Told
from xpcs_dask.io.table import read_g2, read_meta, sniff

SECONDS = Told(delay_unit="s")


@pytest.fixture
def data() -> xr.Dataset:
    return run_file.run()


def save(path: Path, columns: list[np.ndarray], header: str = "", separator: str = ",", comments: str = "") -> str:
    np.savetxt(path / "renamed.dat", np.stack(columns, axis=1), "%.17g", separator, header=header, comments=comments)
    return str(path / "renamed.dat")


def long(data: xr.Dataset) -> list[np.ndarray]:
    """One row for each point: q, delay, g2, error."""
    q, delay = np.meshgrid(data["q"], data["delay"], indexing="ij")
    return [q.ravel(), delay.ravel(), g2_of(data).ravel(), err_of(data).ravel()]


def check_curves(path: str, data: xr.Dataset) -> None:
    g2, err = read_g2(path)
    np.testing.assert_array_equal(g2, g2_of(data))
    np.testing.assert_array_equal(err, err_of(data))


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
@pytest.mark.parametrize("bins", [1, 12])
def test_no_header(tmp_path: Path, separator: str, bins: int) -> None:
    data = run_file.run(bins)
    pairs = [curve for both in zip(g2_of(data), err_of(data), strict=True) for curve in both]
    path = save(tmp_path, [data["delay"].to_numpy(), *pairs], separator=separator)
    assert identify(path) == "table"
    with pytest.raises(FileRejected, match=r"it does not state the unit of its delays; tell it with delay_unit= \(s, "):
        read_meta(path)
    info = read_meta(path, told=SECONDS)
    np.testing.assert_array_equal(info.delay, data["delay"])
    assert np.isnan(info.q).all()
    assert (info.shape, info.error_kind) == ((bins, 29), "quoted")
    np.testing.assert_allclose(read_meta(path, told=Told(delay_unit="ms")).delay, 1e-3 * data["delay"], rtol=1e-12)
    check_curves(path, data)
    with pytest.raises(FileRejected, match="q_unit= does not apply: it does not tell q"):
        read_meta(path, told=Told(delay_unit="s", q_unit="1/nm"))


def test_no_header_and_no_errors(tmp_path: Path, data: xr.Dataset) -> None:
    path = save(tmp_path, [data["delay"].to_numpy(), g2_of(data)[0]])
    assert read_meta(path, told=SECONDS).error_kind == "none"
    np.testing.assert_array_equal(read_g2(path)[0], g2_of(data)[:1])
    assert np.isnan(read_g2(path)[1]).all()
    ambiguous = save(tmp_path, [data["delay"].to_numpy(), *g2_of(data)[:3]])
    with pytest.raises(FileRejected, match="it has 4 columns and no header; without one they are delay and g2, or"):
        read_meta(ambiguous, told=SECONDS)


def test_real_tables(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        path = str(shared("burst") / f"burst_plot_{number}.csv")
        assert identify(path) == "table"
        expected = np.loadtxt(path, delimiter=",")
        info = read_meta(path, told=SECONDS)
        np.testing.assert_array_equal(info.delay, expected[:, 0])
        g2, err = read_g2(path)
        np.testing.assert_array_equal(g2[0], expected[:, 1].astype("f4"))
        np.testing.assert_array_equal(err[0], expected[:, 2].astype("f4"))
        assert err[0, -1] == 0


@pytest.mark.parametrize("comments", ["", "# "])
@pytest.mark.parametrize("header", ["q_1/nm,tau_ms,g2,err", "q (1/nm),Delay [ms],g2,g2_err"])
def test_header_with_units(tmp_path: Path, data: xr.Dataset, comments: str, header: str) -> None:
    path = save(tmp_path, long(data), header, comments=comments)
    info = read_meta(path)
    np.testing.assert_allclose(info.delay, 1e-3 * data["delay"], rtol=1e-12)
    np.testing.assert_allclose(info.q, 0.1 * data["q"], rtol=1e-12)
    check_curves(path, data)
    with pytest.raises(FileRejected, match="it states 'ms' as unit of its delays, but delay_unit= says 's'"):
        read_meta(path, told=SECONDS)


def test_header_without_units(tmp_path: Path, data: xr.Dataset) -> None:
    path = save(tmp_path, long(data), "q,tau,g2,sigma")
    with pytest.raises(FileRejected, match="unit of its delays; tell it with delay_unit="):
        read_meta(path)
    with pytest.raises(FileRejected, match="unit of q; tell it with q_unit="):
        read_meta(path, told=SECONDS)
    info = read_meta(path, told=Told(delay_unit="s", q_unit="1/angstrom"))
    np.testing.assert_array_equal(info.delay, data["delay"])
    np.testing.assert_array_equal(info.q, data["q"])


def test_any_order_of_rows_of_curves_and_of_columns(tmp_path: Path, data: xr.Dataset) -> None:
    q, delay, g2, err = long(data)
    by_delay = np.lexsort((q, delay))
    path = save(tmp_path, [column[by_delay] for column in (err, g2, delay, q)], "err,g2,tau_s,q_1/A")
    np.testing.assert_array_equal(read_meta(path).q, data["q"])
    check_curves(path, data)


def test_labels_and_azimuths_tell_curves_of_one_q_apart(tmp_path: Path, data: xr.Dataset) -> None:
    _, delay, g2, err = long(data)
    curve = np.repeat(np.arange(12), 29)
    columns = [5 + curve, np.full(curve.size, 0.01), np.pi / 12 * curve, delay, g2, err]
    info = read_meta(save(tmp_path, columns, "qbin,q_1/A,phi_rad,tau_s,g2,err"))
    np.testing.assert_array_equal(info.labels, np.arange(5, 17))
    np.testing.assert_allclose(info.phi, 15.0 * np.arange(12), rtol=1e-12)
    degrees = save(tmp_path, columns[1:], "q_1/A,phi,tau_s,g2,err")
    np.testing.assert_array_equal(read_meta(degrees).phi, np.pi / 12 * np.arange(12))
    check_curves(degrees, data)
    with pytest.raises(FileRejected, match="the unit 'turn' of phi is not known; known are deg"):
        read_meta(save(tmp_path, columns[1:], "q_1/A,phi_turn,tau_s,g2,err"))


def test_one_curve_with_header(tmp_path: Path, data: xr.Dataset) -> None:
    path = save(tmp_path, [data["delay"].to_numpy(), g2_of(data)[4]], "lag (us),g2")
    info = read_meta(path)
    np.testing.assert_allclose(info.delay, 1e-6 * data["delay"], rtol=1e-12)
    assert (info.error_kind, info.shape) == ("none", (1, 29))
    np.testing.assert_array_equal(read_g2(path)[0], g2_of(data)[4:5])


def test_twin_of_pychx(tmp_path: Path, data: xr.Dataset) -> None:
    """What pandas writes: an unnamed index, tau from 0, and a column for each q."""
    delay = np.insert(data["delay"].to_numpy(), 0, 0.0)
    g2 = np.insert(g2_of(data), 0, 9.0, axis=1)
    header = ",tau," + ",".join(f"{q:.17g}" for q in data["q"].to_numpy())
    path = save(tmp_path, [np.arange(30), delay, *g2], header)
    info = read_meta(path, told=Told(delay_unit="s", q_unit="1/angstrom"))
    np.testing.assert_array_equal(info.delay, data["delay"])
    np.testing.assert_array_equal(info.q, data["q"])
    assert info.error_kind == "none"
    assert info.notes == ("delay 0 is left out: it holds the shot noise",)
    np.testing.assert_array_equal(read_g2(path)[0], g2_of(data))


def test_twin_of_pychx_with_two_numbers_a_bin(tmp_path: Path, data: xr.Dataset) -> None:
    header = ",tau_s," + ",".join(f"{q:.17g}_0.3" for q in data["q"].to_numpy())
    path = save(tmp_path, [np.arange(29), data["delay"].to_numpy(), *g2_of(data)], header)
    info = read_meta(path, told=Told(q_unit="1/A"))
    np.testing.assert_array_equal(info.q, data["q"])
    assert info.notes == ("only the first number of the names of columns is read as q",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x,g2\n1,2\n3,4\n5,6\n", r"the column 'x' is not known; known are delay, tau.*'tau \(ms\)'"),
        ("tau_s,err\n1,2\n3,4\n5,6\n", "its header must name delay and g2, and each column once"),
        ("tau_s,g2,g2\n1,2,3\n3,4,5\n5,6,7\n", "and each column once"),
        ("tau_s,g2,err\n1,2\n3,4\n5,6\n", "its header names 3 columns, but rows have 2"),
        ("tau_s,0.01,err\n1,2,3\n3,4,5\n5,6,7\n", "named by their q go with one column of delays and no other"),
        ("0.02,0.01,0.03 a\n1,2,3\n3,4,5\n5,6,7\n", "the column '0.03 a' is not known"),
        (",0.01,0.03\n1,2,3\n3,4,5\n5,6,7\n", "named by their q go with one column of delays"),
        ("q_1/A,tau_s,g2\n1,1,3\n1,2,5\n2,1,7\n2,3,7\n", "the delays of curve 2 are not those of the first"),
        ("q_1/A,tau_s,g2\n1,1,3\n1,2,5\n2,1,7\n", "the delays of curve 2 are not those of the first"),
        ("tau_frames,g2\n1,2\n3,4\n5,6\n", "the unit 'frames' of its delays is not known"),
        ("tau_s,g2\n1,2\n3,4\n5,6\nx,8\n", "row 4 holds 'x', which is not a number"),
        ("tau_s,g2\n3,2\n2,4\n5,6\n", "delays do not increase: number 2 is 2 s after 3 s"),
    ],
)
def test_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert sniff(str(tmp_path / "a.csv"))
    with pytest.raises(FileRejected, match=reason):
        read_meta(str(tmp_path / "a.csv"))


def test_what_is_no_table(tmp_path: Path) -> None:
    texts = (b"tau,g2\n1,2\n3,4\n", b"1\n2\n3\n", b"some words\nand more\n", b"1 2\n3 4\nx y\n")
    for content in (*texts, b"\x89HDF\r\n\x1a\n"):
        (tmp_path / "a.csv").write_bytes(content)
        assert not sniff(str(tmp_path / "a.csv"))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("other.npy", "")
    assert not sniff(str(tmp_path / "a.npz"))


def arrays(data: xr.Dataset) -> dict[str, Any]:
    return {
        "delay": 1e3 * data["delay"].to_numpy(),
        "g2": g2_of(data),
        "g2_err": err_of(data),
        "q": 10 * data["q"].to_numpy(),
        "phi": np.arange(12.0),
        "delay_unit": "ms",
        "q_unit": "1/nm",
    }


def save_npz(path: Path, data: xr.Dataset, **changed: Any) -> str:
    held = {name: value for name, value in {**arrays(data), **changed}.items() if value is not None}
    with (path / "renamed.dat").open("wb") as file:
        np.savez(file, **held)
    return str(path / "renamed.dat")


def test_npz(tmp_path: Path, data: xr.Dataset) -> None:
    path = save_npz(tmp_path, data)
    assert identify(path) == "table"
    info = read_meta(path)
    np.testing.assert_allclose(info.delay, data["delay"], rtol=1e-12)
    np.testing.assert_allclose(info.q, data["q"], rtol=1e-12)
    np.testing.assert_array_equal(info.phi, np.arange(12))
    assert info.error_kind == "quoted"
    check_curves(path, data)


def test_npz_that_lacks_what_it_may(tmp_path: Path, data: xr.Dataset) -> None:
    path = save_npz(tmp_path, data, g2_err=None, q=None, phi=None, delay_unit=None, q_unit=None)
    with pytest.raises(FileRejected, match="unit of its delays; tell it with delay_unit="):
        read_meta(path)
    info = read_meta(path, told=Told(delay_unit="ms"))
    assert info.error_kind == "none"
    assert np.isnan([*info.q, *info.phi]).all()
    assert np.isnan(read_g2(path)[1]).all()


def test_npz_of_one_curve(tmp_path: Path, data: xr.Dataset) -> None:
    path = save_npz(tmp_path, data, g2=g2_of(data)[0], g2_err=err_of(data)[0], q=0.1, phi=None)
    assert read_meta(path).shape == (1, 29)
    np.testing.assert_allclose(read_meta(path).q, 0.01, rtol=1e-12)
    np.testing.assert_array_equal(read_g2(path)[0], g2_of(data)[:1])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"g2": np.ones((29, 12))}, r"g2 has shape \(29, 12\); \(q, delay\) = \(12, 29\) is expected: it is tr"),
        ({"g2": np.ones((11, 29))}, r"g2 has shape \(11, 29\); \(q, delay\) = \(12, 29\) is expected$"),
        ({"g2_err": np.ones((12, 3))}, r"g2_err has shape \(12, 3\)"),
        ({"delay": None}, "it has no array delay; it has g2, "),
        ({"g2": np.array(["a", "b"])}, "g2 does not hold numbers but <U1"),
        ({"q": np.array([{}] * 12)}, "its arrays cannot be read, it may be damaged"),
        ({"phi": np.ones(3)}, "phi has 3 values where 12 are expected"),
    ],
)
def test_npz_refused(tmp_path: Path, data: xr.Dataset, changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(FileRejected, match=reason):
        read_meta(save_npz(tmp_path, data, **changed))


def test_damaged_npz(tmp_path: Path, data: xr.Dataset) -> None:
    path = Path(save_npz(tmp_path, data))
    content = bytearray(path.read_bytes())
    middle = content.index(b"\x93NUMPY", 2000) + 200
    content[middle : middle + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(FileRejected, match="its arrays cannot be read, it may be damaged"):
        read_meta(str(path))


def test_npz_that_claims_too_much(tmp_path: Path, data: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpcs_dask.io.table.MOST_POINTS", 100)
    with pytest.raises(FileRejected, match=r"it claims \d+ bytes, more than 1600"):
        read_meta(save_npz(tmp_path, data))
