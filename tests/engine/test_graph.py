"""Blocks become tasks: lined up by names, never computed while building."""

from __future__ import annotations

from functools import partial
from operator import add

import dask.array as da
import numpy as np
import pytest
from engine.counting import TooManyComputes, computes_at_most

from xpcs_dask.engine.graph import Named, columns, map_curves, map_grid

RECORD = np.dtype([("total", "<f8"), ("ends", "<f4", (2,)), ("count", "i1")])
G2 = np.arange(2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)
DIMS = ("file", "qbin", "delay")


def describe(g2, scale=None, offset=None, *, seen=None):
    """Sum, first and last value, and length of every curve, after scale and offset."""
    if seen is not None:
        seen.append(g2.shape)
    assert type(g2) is np.ndarray
    curves = g2.astype(float) * (1.0 if scale is None else scale) + (0.0 if offset is None else offset)
    out = np.empty(g2.shape[:-1], RECORD)
    out["total"], out["count"] = curves.sum(-1), curves.shape[-1]
    out["ends"] = curves[..., [0, -1]]
    return out


def build(g2, *others, function=describe, **options):
    named = [other if other is None else Named(*other) for other in others]
    return map_curves(
        function, Named(g2, DIMS), *named, **{"core": "delay", "dtype": RECORD, "name": "describe-it"} | options
    )


@pytest.mark.parametrize("chunks", [(1, 1, 5), (2, 2, 2), (2, 3, 5), ((1, 1), (2, 1), (4, 1))])
def test_any_chunks_give_what_numpy_gives(chunks):
    expected = build(G2)
    lazy = build(da.from_array(G2, chunks=chunks))
    assert lazy.dtype == RECORD
    assert lazy.chunks == da.empty((2, 3), chunks=chunks[:2]).chunks
    assert np.array_equal(lazy.compute(scheduler="sync"), expected)


def test_numpy_runs_at_once_without_dask():
    with computes_at_most(0):
        out = build(G2, (np.array(2.0), ()))
    assert type(out) is np.ndarray
    assert out["total"].tolist() == (2 * G2.sum(-1)).tolist()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dims", [(), ("delay",), ("file",), ("file", "delay"), ("qbin",), DIMS])
def test_operands_line_up_by_name(dims, lazy):
    shape = tuple(dict(zip(DIMS, G2.shape, strict=True))[dim] for dim in dims)
    scale = np.arange(1, 1 + np.prod(shape, dtype=int)).reshape(shape)
    by_name = scale.reshape([G2.shape[k] if dim in dims else 1 for k, dim in enumerate(DIMS)])
    expected = (G2 * by_name).sum(-1)
    operand = da.from_array(scale, chunks=1) if lazy and dims else scale
    out = build(da.from_array(G2, chunks=(1, 2, 5)), (operand, dims))
    assert np.array_equal(out["total"].compute(scheduler="sync"), expected)
    assert np.array_equal(build(G2, (scale, dims))["total"], expected)


def test_a_missing_operand_keeps_its_place():
    out = build(da.from_array(G2, chunks=(1, 3, 5)), None, (np.full(5, 10.0), ("delay",)))
    assert np.array_equal(out["total"].compute(scheduler="sync"), (G2 + 10.0).sum(-1))


def test_one_lazy_operand_makes_the_result_lazy():
    out = build(G2, (da.ones(5, chunks=2), ("delay",)))
    assert isinstance(out, da.Array)
    assert np.array_equal(out.compute(scheduler="sync"), build(G2))


def test_building_runs_nothing_and_guesses_nothing():
    seen = []
    with computes_at_most(0):
        lazy = build(da.from_array(G2, chunks=(1, 2, 3)), function=partial(describe, seen=seen))
        columns(lazy)
    assert seen == []
    with computes_at_most(0), pytest.raises(TooManyComputes):
        lazy.compute()


def test_one_call_a_block_whatever_is_asked_for():
    seen = []
    found = columns(build(da.from_array(G2, chunks=(1, 2, 5)), function=partial(describe, seen=seen)))
    da.compute(*found.values(), scheduler="sync")
    assert sorted(seen) == sorted([(1, 2, 5), (1, 1, 5)] * 2)


def test_names_are_readable_and_follow_the_inputs():
    g2 = da.from_array(G2, chunks=(1, 3, 5))
    assert build(g2).name.startswith("describe-it-")
    assert build(g2).name == build(g2).name
    assert build(g2).name != build(g2, (np.array(2.0), ())).name
    assert columns(build(g2))["total"].name.startswith("column-total-")


@pytest.mark.parametrize("dims", [(), ("qbin",), ("segment", "qbin"), ("segment", "age", "file")])
def test_any_leading_dimensions(dims):
    shape = tuple(range(2, 2 + len(dims)))
    curves = np.arange(np.prod((*shape, 5)), dtype=float).reshape(*shape, 5)
    lazy = map_curves(
        describe,
        Named(da.from_array(curves, chunks=(1,) * len(dims) + (2,)), (*dims, "delay")),
        core="delay",
        dtype=RECORD,
        name="any",
    )
    assert np.array_equal(lazy.compute(scheduler="sync")["total"], curves.sum(-1))


def test_core_dimension_can_stay():
    lazy = build(da.from_array(G2, chunks=(1, 2, 3)), (G2, DIMS), function=add, dtype="f4", keep_core=True)
    assert lazy.chunks == ((1, 1), (2, 1), (5,))
    assert np.array_equal(lazy.compute(scheduler="sync"), 2 * G2)


def test_blocks_without_curves():
    assert build(G2[:, :0]).shape == (2, 0)
    lazy = build(da.from_array(G2, chunks=(1, 2, 5))[:, :0])
    assert lazy.compute(scheduler="sync").shape == (2, 0)


@pytest.mark.parametrize("lazy", [False, True])
def test_columns_are_the_fields(lazy):
    packed = build(G2)
    found = columns(da.from_array(packed, chunks=(1, 2)) if lazy else packed)
    assert list(found) == ["total", "ends", "count"]
    for name, column in found.items():
        assert isinstance(column, da.Array) == lazy
        assert (column.shape, column.dtype) == (packed[name].shape, packed[name].dtype)
        computed = np.asarray(column)
        assert computed.flags.c_contiguous
        assert np.array_equal(computed, packed[name])
        assert not np.shares_memory(computed, packed)


@pytest.mark.parametrize(
    ("first", "other"),
    [(("file", "delay", "qbin"), None), (DIMS, ("delay", "file")), (DIMS, ("segment",))],
    ids=["core not last", "other order", "unknown"],
)
def test_dimensions_out_of_order_are_refused(first, other):
    others = () if other is None else (Named(np.ones((1,) * len(other)), other),)
    with pytest.raises(ValueError, match="dimension"):
        map_curves(describe, Named(G2, first), *others, core="delay", dtype=RECORD, name="x")


def spread(g2, shift=None, own=None, *, first, last):
    """Mean of every curve plus numbers first..last, and these numbers; clusters add their own number."""
    assert type(g2) is np.ndarray
    number = np.arange(first, last, dtype=float)
    mean = g2.mean(-1) + (0.0 if shift is None else shift[..., 0]) + (0.0 if own is None else own.shape[-2])
    return np.stack(np.broadcast_arrays(mean[..., None] + number, number), axis=-1)


@pytest.mark.parametrize("chunks", [(1, 1, 5), (2, 2, 2), (2, 3, 5)])
@pytest.mark.parametrize("sizes", [(7,), (3, 3, 1), (1,) * 7])
def test_a_grid_of_blocks_and_pieces_is_one_array(chunks, sizes):
    shift = np.array([10.0, 20.0])
    others = (Named(shift, ("file",)), Named(np.ones((3, 4, 5)), ("qbin", "cluster", "delay")))
    settings = {"core": "delay", "sizes": sizes, "width": 2, "name": "spread", "own": ("cluster",)}
    expected = (G2.mean(-1) + shift[:, None])[..., None] + np.arange(7) + 4
    now = map_grid(spread, Named(G2, DIMS), *others, **settings)
    assert type(now) is np.ndarray
    np.testing.assert_allclose(now[..., 0], expected)
    with computes_at_most(0):
        lazy = map_grid(spread, Named(da.from_array(G2, chunks=chunks), DIMS), *others, **settings)
    assert lazy.chunks == (*da.empty((2, 3), chunks=chunks[:2]).chunks, sizes, (2,))
    assert np.array_equal(lazy.compute(scheduler="sync"), now)


def test_a_grid_has_one_task_for_each_block_and_piece():
    seen = []

    def noted(g2, *, first, last):
        seen.append((g2.shape, first, last))
        return spread(g2, first=first, last=last)

    blocks = Named(da.from_array(G2, chunks=(1, 3, 5)), DIMS)
    map_grid(noted, blocks, core="delay", sizes=(3, 4), width=2, name="spread").compute(scheduler="sync")
    assert sorted(seen) == [((1, 3, 5), 0, 3)] * 2 + [((1, 3, 5), 3, 7)] * 2


def test_operands_may_have_a_dimension_of_their_own():
    own = np.arange(3 * 4 * 5, dtype=float).reshape(3, 4, 5)
    seen = []

    def largest(g2, clusters):
        seen.append(clusters.shape)
        out = np.zeros(g2.shape[:-1], RECORD)
        out["total"] = clusters.max(axis=(-2, -1))
        return out

    named = [(own, ("qbin", "cluster", "delay"))]
    now = build(G2, *named, function=largest, own=("cluster",))
    assert now["total"].tolist() == [own.max(axis=(1, 2)).tolist()] * 2
    lazy = build(da.from_array(G2, chunks=(1, 2, 5)), *named, function=largest, own=("cluster",))
    assert np.array_equal(lazy.compute(scheduler="sync"), now)
    assert set(seen) == {(1, 3, 4, 5), (1, 2, 4, 5), (1, 1, 4, 5)}
