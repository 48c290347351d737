from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pytest

from xpcs_dask.engine.graph import Named
from xpcs_dask.engine.stream_graph import TOGETHER, Blocks, unpacked, work_out
from xpcs_dask.errors import ConfigError


def arrays():
    base = da.from_array(np.arange(7 * 5 * 3.0).reshape(7, 5, 3), chunks=(3, 2, 3))
    curves = base + 1
    return {
        "curve": Named(curves, ("file", "qbin", "delay")),
        "total": Named(curves.sum(axis=2), ("file", "qbin")),
        "per_file": Named(da.arange(7, chunks=3), ("file",)),
        "per_bin": Named(da.arange(5, chunks=2), ("qbin",)),
        "alone": Named(da.arange(4, chunks=4), ("other",)),
    }


def test_every_chunk_is_in_one_block_and_has_its_values():
    named = arrays()
    blocks = Blocks(named)
    assert len(blocks) == 3 * 3
    found = {name: np.full(array.data.shape, np.nan) for name, array in named.items()}
    seen = []
    for block in blocks.blocks(iter(range(len(blocks)))):
        for part, values in zip(block.parts, work_out(pickle.loads(pickle.dumps(block)).work), strict=True):
            array = named[part.name].data
            offsets = [np.cumsum((0, *sizes)) for sizes in array.chunks]
            region = tuple(slice(o[k], o[k + 1]) for o, k in zip(offsets, part.index, strict=True))
            assert np.isnan(found[part.name][region]).all()
            found[part.name][region] = values
            seen.append((part.name, part.index))
    assert len(seen) == len(set(seen)) == sum(array.data.npartitions for array in named.values())
    for name, array in named.items():
        np.testing.assert_array_equal(found[name], array.data.compute(), err_msg=name)


def test_only_what_is_asked_for_is_made_and_only_a_few_ahead():
    asked = []

    def numbers():
        for k in [5, 1, 2, *[0] * 100]:
            asked.append(k)
            yield k

    blocks = Blocks(arrays()).blocks(numbers())
    assert [next(blocks).number for _ in range(3)] == [5, 1, 2]
    assert len(asked) == TOGETHER


def test_the_graph_of_a_block_is_its_own():
    """However many blocks there are, one of them holds no more than its share."""
    rng = np.random.default_rng(0)
    lengths = []
    for count in (2, 40):
        data = da.from_array(rng.random((count * 10, 50)), chunks=(10, 50)) * 2
        (block,) = Blocks({"x": Named(data, ("a", "b"))}).blocks(iter([1]))
        lengths.append(len(block.work))
    assert lengths[1] < lengths[0] + 200
    assert lengths[1] > 10 * 50 * 8


def test_what_is_the_same_for_all_curves_travels_once():
    data = da.from_array(np.full((40, 5000), 0.1), chunks=(10, 5000)) + da.from_array(
        np.ones((40, 5000)), chunks=(10, 5000)
    )
    (block,) = Blocks({"x": Named(data, ("a", "b"))}).blocks(iter([1]))
    assert len(block.work) < 10 * 5000 * 8 / 20
    np.testing.assert_array_equal(work_out(block.work)[0], 1.1)


def test_shared_work_is_done_once():
    calls = []

    def slow(x):
        calls.append(1)
        return x

    base = da.map_blocks(slow, da.arange(6, chunks=3), dtype=int, meta=np.empty(0, int))
    (block,) = Blocks({"a": Named(base + 1, ("x",)), "b": Named(base + 2, ("x",))}).blocks(iter([1]))
    import dask

    graph, keys = unpacked(block.work)
    assert [values.tolist() for values in dask.get(graph, keys)] == [[4, 5, 6], [5, 6, 7]]
    assert len(graph) <= 5


def test_different_chunks_are_refused():
    with pytest.raises(ConfigError, match="b has blocks"):
        Blocks({"a": Named(da.arange(6, chunks=3), ("x",)), "b": Named(da.arange(6, chunks=2), ("x",))})


def test_one_block():
    blocks = Blocks({"a": Named(da.arange(6, chunks=6), ("x",))})
    assert len(blocks) == 1
    (block,) = blocks.blocks(iter([0]))
    assert work_out(block.work)[0].tolist() == list(range(6))
