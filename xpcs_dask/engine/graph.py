"""Lazy arrays from block functions; never computes, and knows no science.

Arrays travel with the names of their dimensions (`Named`). If one operand is a Dask array the result is one too, with
one task for each block of the first operand; if all are NumPy arrays the function runs at once. Only public interfaces
of Dask are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Named", "columns", "map_curves", "map_grid"]


class Named(NamedTuple):
    """An array, NumPy or Dask, and the names of its dimensions."""

    data: Any
    dims: tuple[str, ...]


def map_curves(
    function: Callable[..., Any],
    first: Named,
    *others: Named | None,
    core: str,
    dtype: Any,
    name: str,
    keep_core: bool = False,
    own: tuple[str, ...] = (),
) -> Any:
    """Call ``function(first, *others)`` on every block of curves.

    Parameters
    ----------
    function : callable
        Takes NumPy blocks with the leading dimensions of `first` (length 1 where an operand lacks one) and `core` last;
        returns a block with the leading dimensions, and `core` if `keep_core`. Module-level or a partial of such, so
        that it can be sent to workers.
    first : Named
        Decides the blocks and the order of the dimensions; `core` is its last one.
    others : Named or None
        Further operands, with any subset of the dimensions of `first`, and of `own` just before `core`; None is passed
        on as None.
    core : str
        The dimension that curves run along; always one block.
    dtype : dtype
        Of the result.
    name : str
        Readable name of the tasks.
    keep_core : bool
        Whether the result has `core` too.
    own : tuple of str
        Dimensions that operands may have beside those of `first`; one block each.

    Returns
    -------
    array
        Lazy if and only if an operand is.
    """
    present, call, chunks = _lined_up(function, first, others, core, own)
    if not any(_is_lazy(operand.data) for operand in present):
        return call(*(np.asarray(operand.data) for operand in present))

    import dask.array as da

    name = _spoken(name)
    index, arguments = _arguments(present, chunks)
    # The result keeps `core` with length 1 until the end: Dask fuses no task that drops a dimension with those that
    # read its input, and every block would travel through the scheduler.
    full = da.blockwise(
        call if keep_core else partial(_with_core, call),
        tuple(index[dim] for dim in first.dims),
        *arguments,
        token=name if keep_core else f"{name}-block",
        dtype=np.dtype(dtype),
        meta=np.empty((0,) * len(first.dims), dtype=dtype),
        adjust_chunks=None if keep_core else {index[core]: 1},
        concatenate=None,
        align_arrays=False,
    )
    if keep_core:
        return full
    meta = np.empty((0,) * (len(first.dims) - 1), dtype=dtype)
    return da.map_blocks(_without_core, full, drop_axis=full.ndim - 1, dtype=full.dtype, meta=meta, token=name)


def map_grid(
    function: Callable[..., Any],
    first: Named,
    *others: Named | None,
    core: str,
    sizes: tuple[int, ...],
    width: int,
    name: str,
    own: tuple[str, ...] = (),
) -> Any:
    """Call ``function(first, *others, first=a, last=b)`` on every block of curves and every piece of a range.

    Parameters
    ----------
    function : callable
        Returns float64 ``(..., b - a, width)``, the leading dimensions of its first block and then its piece.
    first, others, core, name, own
        As for `map_curves`.
    sizes : tuple of int
        Lengths of the pieces; their sum is the range.
    width : int
        Length of the last dimension of the result.

    Returns
    -------
    array
        ``(..., sum of sizes, width)``; lazy if and only if an operand is, one task for each block and piece.
    """
    ends = np.cumsum((0, *sizes))
    pieces = list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
    present, call, chunks = _lined_up(function, first, others, core, own)
    if not any(_is_lazy(operand.data) for operand in present):
        blocks = [np.asarray(operand.data) for operand in present]
        return np.concatenate([call(*blocks, first=a, last=b) for a, b in pieces], axis=-2)

    import dask.array as da

    axes, arguments = _arguments(present, chunks)
    lead = tuple(axes[dim] for dim in first.dims[:-1])
    piece, last = len(axes), len(axes) + 1
    return da.blockwise(
        partial(_on_piece, call),
        (*lead, piece, last),
        da.from_array(np.array(pieces), chunks=(1, 2)),
        (piece, last + 1),
        *arguments,
        new_axes={last: width},
        adjust_chunks={piece: sizes},
        token=_spoken(name),
        dtype=np.float64,
        meta=np.empty((0,) * (len(lead) + 2)),
        concatenate=None,
        align_arrays=False,
    )


def columns(packed: Any) -> dict[str, Any]:
    """Fields of an array of records as arrays of their own, lazy if `packed` is; each curve is still worked out once.

    Fields with a shape of their own, ``(k,)``, get it as last dimension.
    """
    fields: dict[str, Any] = {name: packed.dtype[name] for name in packed.dtype.names}
    if not _is_lazy(packed):
        return {name: _column(packed, name) for name in fields}

    import dask.array as da

    return {
        name: da.map_blocks(
            _column,
            packed,
            name,
            chunks=packed.chunks + tuple((k,) for k in field.shape),
            new_axis=list(range(packed.ndim, packed.ndim + len(field.shape))),
            dtype=field.base,
            meta=np.empty((0,) * (packed.ndim + len(field.shape)), dtype=field.base),
            token=_spoken(f"column-{name}"),
        )
        for name, field in fields.items()
    }


def _lined_up(
    function: Callable[..., Any], first: Named, others: tuple[Named | None, ...], core: str, own: tuple[str, ...]
) -> tuple[list[Named], Callable[..., Any], dict[str, tuple[int, ...]]]:
    """Operands that are there, what calls the function with their blocks in place, and sizes of blocks by dimension."""
    if first.dims[-1:] != (core,):
        raise ValueError(f"the last dimension must be {core!r}, not {first.dims}")
    present = [operand for operand in (first, *others) if operand is not None]
    call = partial(_on_block, function, tuple(_placed(operand, first.dims, own) for operand in (first, *others)))
    return present, call, _block_sizes(first, core)


def _arguments(present: list[Named], chunks: dict[str, tuple[int, ...]]) -> tuple[dict[str, int], list[Any]]:
    """Axis of each dimension, and arrays with their axes as `dask.array.blockwise` takes them."""
    import dask.array as da

    index = {dim: k for k, dim in enumerate(present[0].dims)}
    arguments: list[Any] = []
    for operand in present:
        for dim in operand.dims:
            index.setdefault(dim, len(index))
        sizes = tuple(chunks.get(dim, (size,)) for dim, size in zip(operand.dims, operand.data.shape, strict=True))
        array = operand.data.rechunk(sizes) if _is_lazy(operand.data) else da.from_array(operand.data, chunks=sizes)
        arguments += [array, tuple(index[dim] for dim in operand.dims)]
    return index, arguments


def _spoken(name: str) -> str:
    """Words with dashes: what the dashboard calls a task ends at the first that is not of letters alone."""
    return re.sub(r"[^A-Za-z]+", "-", name).strip("-")


def _is_lazy(array: Any) -> bool:
    from dask.base import is_dask_collection

    return bool(is_dask_collection(array))


def _block_sizes(first: Named, core: str) -> dict[str, tuple[int, ...]]:
    """Block sizes by dimension: those of the first operand, one block along `core`."""
    sizes = dict(zip(first.dims, first.data.chunks if _is_lazy(first.data) else _one(first.data), strict=True))
    return {**sizes, core: (first.data.shape[-1],)}


def _one(array: Any) -> tuple[tuple[int, ...], ...]:
    return tuple((n,) for n in array.shape)


def _placed(operand: Named | None, dims: tuple[str, ...], own: tuple[str, ...]) -> tuple[int, ...] | None:
    """Axes of length 1 that an operand needs to line up with `dims`; None for an operand that is not there."""
    if operand is None:
        return None
    order = [*dims[:-1], *(dim for dim in own if dim in operand.dims), dims[-1]]
    if [dim for dim in order if dim in operand.dims] != list(operand.dims):
        raise ValueError(f"dimensions {operand.dims} must be among {order}, in that order")
    return tuple(k for k, dim in enumerate(order) if dim not in operand.dims)


def _on_block(function: Callable[..., Any], axes: tuple[tuple[int, ...] | None, ...], *blocks: Any, **more: Any) -> Any:
    """Line the blocks of a task up and call its function; runs inside tasks."""
    left = iter(blocks)
    return function(*(None if new is None else np.expand_dims(_only(next(left)), new) for new in axes), **more)


def _on_piece(call: Callable[..., Any], piece: Any, *blocks: Any) -> Any:
    ((first, last),) = _only(piece)
    return call(*blocks, first=int(first), last=int(last))


def _with_core(call: Callable[..., Any], *blocks: Any) -> Any:
    return call(*blocks)[..., np.newaxis]


def _without_core(block: Any) -> Any:
    return block[..., 0]


def _only(block: Any) -> Any:
    """Unwrap the one block along the core dimension."""
    while isinstance(block, list):
        (block,) = block
    return block


def _column(packed: Any, name: str) -> Any:
    """One field, copied: a view would keep the whole record array alive."""
    return np.array(packed[name], order="C")
