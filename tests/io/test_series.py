from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpcs_dask.io.reader import FileInfo, curve_ids
from xpcs_dask.io.series import Series, group, to_dataset


def info(number: int = 0, **changed: Any) -> FileInfo:
    known = {"delay": np.array([1.0, 2.0, 3.0]), "q": np.array([0.1, 0.2]), "frame_time": 1.0, "n_products": [5, 4, 3]}
    return FileInfo(**{"path": f"f{number}", "format": "x", "content_hash": number, "size": 1, **known, **changed})


KINDS: list[dict[str, Any]] = [
    {},
    {"delay": np.array([1.0, 2.0]), "n_products": [5, 4]},
    {"delay": np.array([1.0, 2.0, 3.0, 4.0]), "n_products": [5, 4, 3, 2]},
    {"delay": np.array([1.0, 2.0, 4.0])},
    {"q": np.array([0.1, 0.2 * (1 + 1e-9)])},
    {"q": np.array([0.1, 0.21])},
    {"q": np.array([0.11, 0.2])},
    {"q": np.array([np.nan, np.nan])},
    {"q": np.array([0.1, 0.2, 0.3])},
    {"phi": np.array([0.0, 90.0])},
    {"phi": np.array([np.nan, np.nan])},
    {"labels": np.array([1, 3])},
    {"frame_time": 2.0},
    {"frame_time": np.nan},
    {"q": np.array([0.1 * (1 + 1e-9), 0.2])},
]


def one_by_one(infos: Sequence[FileInfo]) -> list[list[str]]:
    """Group as DESIGN says it, without any short cut."""
    found: list[Series] = []
    for one in infos:
        for series in found:
            if not series.difference(one):
                series.add(one)
                break
        else:
            found.append(Series([one], one))
    return [[one.path for one in series.infos] for series in found]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(range(len(KINDS))), min_size=1, max_size=25))
def test_files_are_grouped_as_if_each_was_compared(kinds: list[int]) -> None:
    infos = [info(number, **KINDS[kind]) for number, kind in enumerate(kinds)]
    found = group(infos)
    assert [[one.path for one in series.infos] for series in found] == one_by_one(infos)
    for series in found:
        assert series.longest.delay.size == max(one.delay.size for one in series.infos)


@pytest.mark.parametrize(
    ("kind", "what"),
    [(0, ""), (1, ""), (2, ""), (3, "delay grid"), (4, ""), *((k, "q-map") for k in range(5, 10)), (10, ""),
     (11, "q-map"), (12, "frame time"), (13, "frame time"), (14, "")],
)  # fmt: skip
def test_what_keeps_a_file_out(kind: int, what: str) -> None:
    assert Series([info()], info()).difference(info(1, **KINDS[kind])) == what


def test_unknown_q_is_the_same_as_unknown_q() -> None:
    first = info(q=np.array([np.nan, np.nan]))
    assert Series([first], first).difference(info(1, q=np.array([np.nan, np.nan]))) == ""
    assert Series([first], first).difference(info()) == "q-map"


def test_thousands_of_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    true = np.allclose
    monkeypatch.setattr(np, "allclose", lambda *a, **k: compared.append(1) or true(*a, **k))  # type: ignore[func-returns-value]
    infos = [info(n, q=np.array([1.0 + (n % 500), 2000.0])) for n in range(1500)]
    found = group(infos)
    assert [len(series.infos) for series in found] == [3] * 500
    assert len(compared) == 0
    compared.clear()
    group([info(n) for n in range(1000)])
    assert len(compared) == 0


def test_the_dataset_of_files_of_several_lengths() -> None:
    infos = [info(1), info(2, **KINDS[1]), info(3, **KINDS[2]), info(4, n_products=np.nan)]
    [series] = group(infos)
    data = to_dataset(series, np.zeros((4, 2, 4), "f4"), np.zeros((4, 2, 4), "f4"))
    np.testing.assert_array_equal(data.delay, [1, 2, 3, 4])
    np.testing.assert_array_equal(data.n_products[:3], [[5, 4, 3, 0], [5, 4, 0, 0], [5, 4, 3, 2]])
    assert np.isnan(data.n_products[3]).all()
    assert data.path.values.tolist() == ["f1", "f2", "f3", "f4"]
    for row, one in enumerate(infos):
        np.testing.assert_array_equal(data.curve_id[row], curve_ids(one.content_hash, one.labels))
    assert data.curve_id.dtype == np.uint64
    assert np.unique(data.curve_id).size == 8


def test_the_dataset_does_not_share_its_arrays_with_the_files(tmp_path: Path) -> None:
    one = info()
    data = to_dataset(Series([one], one), np.zeros((1, 2, 3), "f4"), np.zeros((1, 2, 3), "f4"))
    data["q"].values[:] = 7
    np.testing.assert_array_equal(one.q, [0.1, 0.2])
