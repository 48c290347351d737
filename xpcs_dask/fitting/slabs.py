"""Blocks cut into slabs of curves: float64 copies stay in the processor's cache, and tasks need little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

SLAB_POINTS = 131_072
"""Points fitted in one go: 1 MiB for each of g2 and its weights, 2,048 curves of 64 delays."""

PIECE = 256
"""Curves of a slab that steps with much to remember about each look at in one go."""


def pieces(number: int) -> Iterator[slice]:
    """Cut that many rows into pieces of `PIECE`."""
    return (slice(first, first + PIECE) for first in range(0, number, PIECE))


def slabs(g2: Any, *others: Any, points: int | None = None, **wide: Any) -> Iterator[tuple[slice, list[Any]]]:
    """Yield pieces of about `points` points (`SLAB_POINTS`), after the rows of the flattened block that they are.

    The last ones are `wide`: they have a dimension of their own before that of the points.
    """
    takers = [_rows(array, g2.shape) for array in (g2, *others)]
    takers += [_rows(array, (*g2.shape[:-1], *np.shape(array)[-2:]), core=2) for array in wide.values()]
    step = max(1, (points or SLAB_POINTS) // max(g2.shape[-1], 1))
    for first in range(0, prod(g2.shape[:-1]), step):
        part = slice(first, first + step)
        yield part, [take(part) for take in takers]


def _rows(array: Any, shape: tuple[int, ...], core: int = 1) -> Callable[[slice], Any]:
    """Return what takes rows of an array as if it were broadcast to `shape` and flattened, without doing either.

    The last `core` dimensions are not broadcast.
    """
    if array is None:
        return lambda part: None
    array = np.asarray(array)
    array = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    lead = array.shape[:-core]
    flat = array.reshape(prod(lead), *array.shape[-core:])
    if lead == shape[:-core]:
        return lambda part: flat[part]
    if len(flat) == 1 and core == 1:
        return lambda part: flat
    index = np.broadcast_to(np.arange(len(flat)).reshape(lead), shape[:-core]).reshape(-1)
    return lambda part: flat[index[part]]
