from __future__ import annotations

from pathlib import Path

import numpy as np

from xpcs_dask.io.reader import hash_curves
from xpcs_dask.io.result import Result

G2 = np.arange(6, dtype="f4").reshape(2, 3)
Q = np.array([0.01, 0.02])


def test_delay_zero_is_left_out_and_noted() -> None:
    result = Result(np.array([0.0, 1.0, 2.0]), Q, G2, 2 * G2, notes=("before",))
    g2, err = result.curves()
    assert result.delay.tolist() == [1.0, 2.0]
    np.testing.assert_array_equal(g2, G2[:, 1:])
    np.testing.assert_array_equal(err, 2 * G2[:, 1:])
    assert result.notes == ("before", "delay 0 is left out: it holds the shot noise")


def test_other_delays_stay() -> None:
    for delay in ([1.0, 2.0, 3.0], [-1.0, 0.0, 1.0], []):
        result = Result(np.array(delay), Q, G2, None)
        assert result.delay.tolist() == delay
        assert result.notes == ()


def test_kinds_of_errors() -> None:
    delay = np.array([1.0, 2.0, 3.0])
    assert Result(delay, Q, G2, None, placeholder=True).error_kind == "none"
    assert Result(delay, Q, G2, G2).error_kind == "quoted"
    assert Result(delay, Q, G2, G2, placeholder=True).error_kind == "placeholder"
    err = Result(delay, Q, G2, None).curves()[1]
    assert (err.shape, err.dtype) == (G2.shape, np.float32)
    assert np.isnan(err).all()


def test_info(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_text("12345")
    result = Result(np.array([0.0, 1.0, 2.0]), Q, G2, None, phi=np.array([3.0, 4.0]), labels=np.array([7, 9]))
    info = result.info(str(path), "some", ("chosen",), entry="here", frames=5.0)
    assert (info.path, info.format, info.entry, info.frames, info.size) == (str(path), "some", "here", 5.0, 5)
    assert (info.labels.tolist(), info.phi.tolist(), info.q.tolist()) == ([7, 9], [3.0, 4.0], Q.tolist())
    assert info.content_hash == hash_curves(G2[:, 1:])
    assert info.error_kind == "none"
    assert info.notes == ("chosen", "delay 0 is left out: it holds the shot noise")
