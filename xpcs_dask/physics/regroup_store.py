"""Regrouped sums of many gigabytes into a packed stack: a few delays at a time, each stored chunk read once."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr

from xpcs_dask.cluster.executor import executor_here
from xpcs_dask.engine.budget import allowed
from xpcs_dask.engine.plan import MemoryBudgetError
from xpcs_dask.engine.stream import Hands, stream
from xpcs_dask.errors import FileRejected, NoUsableInputError
from xpcs_dask.io.sources import Source
from xpcs_dask.io.stack import check_place
from xpcs_dask.io.stack_fill import fill_stack
from xpcs_dask.physics.clusters import By, Kind
from xpcs_dask.physics.pixel_sums import PixelSums
from xpcs_dask.physics.qmaps import Given, as_qmap
from xpcs_dask.physics.rebinned import opened
from xpcs_dask.physics.regroup import check_settings, prepared
from xpcs_dask.physics.slabs import Part, run_slab, task_bytes

__all__ = ["Regrouping", "regrouping", "write", "write_regrouped"]

logger = logging.getLogger(__name__)

OnError: TypeAlias = Literal["raise", "skip"]
Advance: TypeAlias = Callable[[int], None]


@dataclass(frozen=True)
class Regrouping:
    """What is to be written: files that have sums, by group, and those that were rejected."""

    parts: Mapping[str, Part]
    attrs: Mapping[str, str]
    """``rejected`` and ``notes`` of all, as `open_g2` gives them."""

    @property
    def nbytes(self) -> int:
        """Bytes of all sums, unpacked."""
        return sum(sums.nbytes for part in self.parts.values() for sums in part.sums)

    def result(self) -> xr.Dataset | xr.DataTree:
        """Give what comes out, with nothing in its curves."""
        if list(self.parts) == ["/"]:
            return self.parts["/"].template().assign_attrs(self.attrs)
        groups = {name: part.template() for name, part in self.parts.items()}
        return xr.DataTree.from_dict({"/": xr.Dataset(attrs=dict(self.attrs)), **groups})

    def without(self, error: FileRejected) -> Regrouping:
        """Leave out a file that could not be read to its end; raises `error` if it is none of these."""
        parts: dict[str, Part] = {}
        for name, part in self.parts.items():
            kept = [k for k, path in enumerate(part.data["path"].values) if str(path) != error.path]
            if kept:
                parts[name] = replace(part, data=part.data.isel(file=kept), sums=[part.sums[k] for k in kept])
        if sum(len(part.sums) for part in parts.values()) == sum(len(part.sums) for part in self.parts.values()):
            raise error
        return Regrouping(_renamed(parts), _with_rejected(self.attrs, [error]))


def write_regrouped(
    source: Source | xr.Dataset,
    path: str | os.PathLike[str],
    by: By = "pixel",
    *,
    segments: int = 16,
    kind: Kind = "linear",
    qmap: Given | None = None,
    memory: int | str | None = None,
    overwrite: bool = False,
    on_error: OnError = "raise",
    client: Any = None,
) -> Path:
    """Write what `regroup` gives as a stack that `open_g2` opens and `fit` reads a few bins at a time.

    Every stored chunk of the sums is read and unpacked once. Memory does not depend on the number of delays, nor on the
    size of the result, which may be as large as the sums are.

    Parameters
    ----------
    source, by, segments, kind, qmap
        As `regroup` takes them. Files that differ in bins, frame time or delays become groups of the stack.
    path : path
        Of the stack; ends in ``.zarr``. It is complete or not there.
    memory : int or str, optional
        Bytes that all tasks at work may take, such as ``"1GiB"``; default: 80 % of what is free.
    overwrite : bool
        Replace a stack that is already there; anything else is never replaced.
    on_error : "raise" or "skip"
        What to do with a file that cannot be used. "skip" lists it in the attribute `rejected`; one that turns out to
        be damaged while it is read costs the work done so far.
    client : distributed.Client, optional
        Whose workers do it. Without one the current client of `distributed`, or threads of this process.

    Returns
    -------
    pathlib.Path
        Of the stack. With ``by="pixel"`` the clusters of one bin of one file are read together when it is fitted.

    Raises
    ------
    OutputExistsError
        If something is at `path` and `overwrite` is False, or what is there is no stack.
    FileRejected, ConfigError, NoUsableInputError
        As `regroup` and `open_g2` raise them.
    MemoryBudgetError
        If not even one row of chunks fits into `memory`.
    """
    path = check_place(path, overwrite)
    with executor_here(client) as (executor, workers):
        work = regrouping(source, by, segments, kind, qmap, memory=memory, workers=workers(), on_error=on_error)
        return write(work, path, Hands(executor, workers), overwrite=overwrite, on_error=on_error)[0]


def regrouping(
    source: Source | xr.Dataset,
    by: By,
    segments: int,
    kind: Kind,
    qmap: Given | None,
    *,
    memory: int | str | None = None,
    workers: int = 1,
    on_error: OnError = "raise",
    progress: Callable[[int, int], None] | None = None,
) -> Regrouping:
    """Look into the files and decide how they are cut, so that `workers` tasks at once fit into `memory` bytes."""
    check_settings(by, segments, kind)
    bins = None if qmap is None else as_qmap(qmap)
    series, attrs = _series(source, bins, on_error, progress)
    limit = allowed(memory)
    parts, errors = [], []
    for one in series:
        data, sums, bad = prepared(one, bins, by, segments, kind, on_error)
        errors += bad
        if sums:
            parts.append(Part(data, sums, _delays(sums, limit, workers)))
    if not parts:
        shown = "; ".join(str(error) for error in errors[:3])
        raise NoUsableInputError(f"no file has sums that can be regrouped: {shown}", errors)
    return Regrouping(_renamed({str(k): part for k, part in enumerate(parts)}), _with_rejected(attrs, errors))


def write(
    work: Regrouping,
    path: Path,
    hands: Hands,
    *,
    overwrite: bool = False,
    on_error: OnError = "raise",
    advance: Advance = lambda done: None,
) -> tuple[Path, Regrouping]:
    """Write the stack; returns its path, and `work` without the files that turned out to be damaged."""
    while True:
        chunks = {name: part.chunks() for name, part in work.parts.items()}
        try:
            done = fill_stack(work.result(), path, chunks, _Filling(work, hands, advance), overwrite=overwrite)
        except FileRejected as error:
            if on_error == "raise":
                raise
            logger.warning("%s; the others are done again without it", error)
            work = work.without(error)
            if not work.parts:
                raise NoUsableInputError(f"no file is left: {error}", [error]) from error
            advance(0)
        else:
            return done, work


class _Filling:
    """Fills a stack: clusters by tasks, g2 and errors, which are small, at the end."""

    def __init__(self, work: Regrouping, hands: Hands, advance: Advance) -> None:
        self.work, self.hands, self.advance = work, hands, advance

    def __call__(self, store: Path) -> None:
        import zarr

        curves = {
            name: np.full((2, *(part.data.sizes[dim] for dim in ("file", "qbin", "delay"))), np.nan, np.float32)
            for name, part in self.work.parts.items()
        }
        slabs = (slab for name, part in self.work.parts.items() for slab in part.slabs(store, name))
        done = 0
        for slab, found in stream(slabs, run_slab, self.hands):
            curves[slab.group][:, slab.file, :, slice(*slab.rows)] = found
            done += slab.sums.nbytes * (slab.rows[1] - slab.rows[0]) // slab.sums.stored
            self.advance(done)
        for name, values in curves.items():
            for key, part in zip(("g2", "g2_err"), values, strict=True):
                zarr.open_array(store, path=f"{name}/{key}".lstrip("/"), mode="r+")[...] = part


def _delays(sums: Sequence[PixelSums], limit: int, workers: int) -> int:
    """Delays in a slab, whole chunks of every file: as many as are worked on together, or as memory allows."""
    least = math.lcm(*(one.chunk[0] for one in sums))
    wanted = min(one.fitting_delays() for one in sums)
    shown = max(sums, key=lambda one: task_bytes(one, least))
    if workers * task_bytes(shown, least) > limit:
        raise MemoryBudgetError(
            f"regrouping {least} delays of {shown.place.path} in each of {workers} tasks",
            workers * task_bytes(shown, least),
            limit,
            "use fewer workers, such as --scheduler threads:1, or raise --memory",
        )
    delays = max(wanted // least, 1) * least
    while delays > least and workers * max(task_bytes(one, delays) for one in sums) > limit:
        delays -= least
    return delays


def _series(
    source: Source | xr.Dataset, bins: xr.Dataset | None, on_error: OnError, progress: Any
) -> tuple[list[xr.Dataset], dict[str, str]]:
    """Datasets that make groups, and what all have to tell."""
    if isinstance(source, xr.Dataset):
        found, attrs = [source], source.attrs
    else:
        found = opened(source, bins, split=True, on_error=on_error, progress=progress)
        attrs = found[0].attrs
    return found, {name: str(attrs.get(name, "[]")) for name in ("rejected", "notes")}


def _renamed(parts: Mapping[str, Part]) -> dict[str, Part]:
    """One part as the root, several as groups."""
    values = list(parts.values())
    return {"/": values[0]} if len(values) == 1 else {f"/group_{k}": part for k, part in enumerate(values)}


def _with_rejected(attrs: Mapping[str, str], errors: Sequence[FileRejected]) -> dict[str, str]:
    listed = json.loads(attrs["rejected"]) + [{"file": error.path, "reason": error.reason} for error in errors]
    return {**attrs, "rejected": json.dumps(listed, ensure_ascii=False)}
