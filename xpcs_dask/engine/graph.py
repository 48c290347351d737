"""Lazy arrays from block functions; never computes, and knows no science.

Arrays travel with the names of their dimensions (`Named`). If one operand is a Dask array the result is one too, with
one task for each block of the first operand; if all are NumPy arrays the function runs at once. Only public interfaces
of Dask are used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Named", "columns", "map_curves"]


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
    if first.dims[-1:] != (core,):
        raise ValueError(f"the last dimension must be {core!r}, not {first.dims}")
    present = [operand for operand in (first, *others) if operand is not None]
    call = partial(_on_block, function, tuple(_placed(operand, first.dims, own) for operand in (first, *others)))
    if not any(_is_lazy(operand.data) for operand in present):
        return call(*(np.asarray(operand.data) for operand in present))

    import dask.array as da

    chunks = _block_sizes(first, core)
    index = {dim: k for k, dim in enumerate(first.dims)}
    arguments: list[Any] = []
    for operand in present:
        for dim in operand.dims:
            index.setdefault(dim, len(index))
        sizes = tuple(chunks.get(dim, (size,)) for dim, size in zip(operand.dims, operand.data.shape, strict=True))
        array = operand.data.rechunk(sizes) if _is_lazy(operand.data) else da.from_array(operand.data, chunks=sizes)
        arguments += [array, tuple(index[dim] for dim in operand.dims)]
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
            token=f"column-{name}",
        )
        for name, field in fields.items()
    }


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


def _on_block(function: Callable[..., Any], axes: tuple[tuple[int, ...] | None, ...], *blocks: Any) -> Any:
    """Line the blocks of a task up and call its function; runs inside tasks."""
    left = iter(blocks)
    return function(*(None if new is None else np.expand_dims(_only(next(left)), new) for new in axes))


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
