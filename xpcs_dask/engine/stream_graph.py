"""Lazy arrays as blocks that can be worked out one by one, each from a small graph of its own; knows no science."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from xpcs_dask.engine.allocator import keep_freed_memory
from xpcs_dask.engine.graph import Named
from xpcs_dask.errors import ConfigError

__all__ = ["Block", "Blocks", "Part", "unpacked", "work_out"]

TOGETHER = 16
"""Blocks whose graphs are cut out of the large one in one go."""


@dataclass(frozen=True, slots=True)
class Part:
    """One array's share of a block."""

    name: str
    index: tuple[int, ...]
    """Of the chunk in the array."""


@dataclass(frozen=True, slots=True)
class Block:
    """What one task works out: some chunks, and the graph that gives them."""

    number: int
    parts: tuple[Part, ...]
    work: bytes
    """For `work_out`: a graph and its keys, in the order of the parts, pickled and packed."""


class Blocks:
    """Arrays of one Dataset cut along the dimensions that they share.

    Parameters
    ----------
    arrays : mapping of Named
        Dask arrays by name; each dimension has the same chunks in all of them. A chunk belongs to the block with the
        same place along its dimensions, and with place 0 along those that it lacks: every chunk is in one block.

    Raises
    ------
    ConfigError
        If arrays have different chunks along one dimension.
    """

    def __init__(self, arrays: Mapping[str, Named]) -> None:
        self.arrays = arrays
        chunks: dict[str, tuple[int, ...]] = {}
        for name, array in arrays.items():
            for dim, sizes in zip(array.dims, array.data.chunks, strict=True):
                if chunks.setdefault(dim, sizes) != sizes:
                    raise ConfigError(f"{name} has blocks {sizes[:3]} along {dim}, others have {chunks[dim][:3]}")
        self.grid = {dim: len(sizes) for dim, sizes in chunks.items() if len(sizes) > 1}

    def __len__(self) -> int:
        return math.prod(self.grid.values())

    def parts(self, number: int) -> tuple[Part, ...]:
        """Return what belongs to a block."""
        place = dict(zip(self.grid, np.unravel_index(number, tuple(self.grid.values()) or (1,)), strict=False))
        return tuple(
            Part(name, tuple(int(place.get(dim, 0)) for dim in array.dims))
            for name, array in self.arrays.items()
            if not any(where for dim, where in place.items() if dim not in array.dims)
        )

    def blocks(self, numbers: Iterator[int]) -> Iterator[Block]:
        """Blocks of these numbers; a few are made ahead, so memory does not grow with their count."""
        import cloudpickle
        from dask.optimization import cull
        from numcodecs.lz4 import compress  # type: ignore[import-untyped]

        for some in _batches(numbers, TOGETHER):
            wanted = {number: self.parts(number) for number in some}
            keys = {number: [self._key(part) for part in parts] for number, parts in wanted.items()}
            graph = self._graph.cull({key for row in keys.values() for key in row}).to_dict()
            for number, parts in wanted.items():
                own, _ = cull(graph, keys[number])
                # packed: much of what tasks are told is the same for all curves of a block
                yield Block(number, parts, compress(cloudpickle.dumps((own, keys[number]))))

    @cached_property
    def _graph(self) -> Any:
        from dask.highlevelgraph import HighLevelGraph

        return HighLevelGraph.merge(*(array.data.__dask_graph__() for array in self.arrays.values()))

    def _key(self, part: Part) -> tuple[Any, ...]:
        return (self.arrays[part.name].data.name, *part.index)


def work_out(work: bytes) -> list[Any]:
    """Run the graph of a block in this thread; returns its chunks in the order of its parts."""
    import dask

    keep_freed_memory()
    graph, keys = unpacked(work)
    return list(dask.get(graph, keys))


def unpacked(work: bytes) -> Any:
    """Graph and keys of `Block.work`."""
    import cloudpickle
    from numcodecs.lz4 import decompress

    return cloudpickle.loads(decompress(work))


def _batches(numbers: Iterator[int], length: int) -> Iterator[list[int]]:
    while some := list(itertools.islice(numbers, length)):
        yield some
