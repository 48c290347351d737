from __future__ import annotations

import pickle
from pathlib import Path

import aps_file
import numpy as np
import pytest

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.reader import FileInfo, curve_ids, hash_curves


def info(**changed: object) -> FileInfo:
    known = {"path": "some.dat", "format": "table", "delay": [0.1, 0.2], "q": [1.0, 2.0, 3.0], "content_hash": 7}
    return FileInfo(**{**known, "size": 10, **changed})  # type: ignore[arg-type]


def test_what_a_format_lacks_is_nan() -> None:
    plain = info()
    assert plain.shape == (3, 2)
    assert np.isnan([*plain.phi, *plain.n_pixels, *plain.rate, *plain.level, *plain.n_products]).all()
    assert [len(plain.phi), len(plain.rate), len(plain.level), len(plain.n_products)] == [3, 3, 2, 2]
    np.testing.assert_array_equal(plain.labels, [1, 2, 3])
    np.testing.assert_array_equal(info(labels=[4, 8, 9], phi=[5.0, 6.0, 7.0]).labels, [4, 8, 9])
    np.testing.assert_array_equal(info(n_products=9.0).n_products, [9, 9])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"delay": []}, "3 curves of 0 delays"),
        ({"q": []}, "0 curves of 2 delays"),
        ({"delay": [0.0, 1.0]}, "delays must be positive numbers, found 0 s"),
        ({"delay": [1.0, np.inf]}, "delays must be positive numbers"),
        ({"delay": [1.0, np.nan]}, "delays must be positive numbers"),
        ({"delay": [2.0, 2.0]}, "delays do not increase: number 2 is 2 s after 2 s"),
        ({"q": [1.0, np.nan]}, "q of bin 2 is not a number"),
        ({"phi": [1.0, 2.0]}, "phi has 2 values where 3 are expected"),
        ({"n_products": [1.0, 2.0, 3.0]}, "n_products has 3 values where 2 are expected"),
        ({"labels": [1, 2]}, "2 labels for 3 bins"),
    ],
)
def test_refused_whatever_the_format(changed: dict, reason: str) -> None:
    with pytest.raises(FileRejected, match=reason):
        info(**changed)


def test_q_may_be_unknown_but_not_here_and_there() -> None:
    assert np.isnan(info(q=[np.nan] * 3).q).all()
    for q in ([np.inf] * 3, [np.nan, np.nan, np.inf]):
        with pytest.raises(FileRejected, match="q of bin 1 is not a number"):
            info(q=q)


def test_size_comes_from_the_file_system(tmp_path: Path) -> None:
    path = aps_file.write(tmp_path / "a.hdf")
    assert info(path=str(path), size=-1).size == path.stat().st_size


def test_hash_is_of_values_and_shape() -> None:
    g2 = np.arange(12, dtype="f4").reshape(3, 4)
    assert hash_curves(g2) == hash_curves(g2.copy(order="F")) == hash_curves(g2.astype(">f4"))
    others = [g2.reshape(4, 3), g2 + 1, g2[:, ::-1], np.nextafter(g2, np.float32(9))]
    assert len({hash_curves(other) for other in [g2, *others]}) == 5
    assert 0 <= hash_curves(g2) < 2**64


def test_curve_ids_follow_splitmix64() -> None:
    """Known answers of the reference implementation (Vigna, prng.di.unimi.it/splitmix64.c), seed 1234567."""
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert curve_ids(1234567, np.arange(1, 6)).tolist() == known
    assert curve_ids(2**64 - 1, np.arange(1, 4)).dtype == np.uint64


def test_curve_ids_depend_on_file_and_label_alone() -> None:
    ids = curve_ids(99, np.arange(1, 1001))
    assert len(set(ids.tolist())) == 1000
    np.testing.assert_array_equal(curve_ids(99, np.array([7, 500])), ids[[6, 499]])
    assert not set(ids.tolist()) & set(curve_ids(100, np.arange(1, 1001)).tolist())


def test_pickles() -> None:
    again = pickle.loads(pickle.dumps(info()))
    np.testing.assert_array_equal(again.delay, info().delay)
    assert again.content_hash == 7
