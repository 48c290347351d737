"""What there is to look at: the files of a results store, with the data that these name, or data files alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError, XpcsError
from xpcs_dask.io.open import open_g2
from xpcs_dask.io.stack_mark import is_stack
from xpcs_dask.prepare import known
from xpcs_dask.results import open_results

__all__ = ["Entry", "Missing", "Opened", "Origin", "open_all"]

logger = logging.getLogger(__name__)

CURVE_DIMS = ("qbin", "delay", "parameter", "pair", "bound", "cluster", "resample")
"""Dimensions that one entry keeps; every other one tells entries apart."""


class Missing(XpcsError):
    """The curves of one entry cannot be had; the message says what is missing."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Origin:
    """Where curves can be read again: what the call that repeats a fit names."""

    path: str
    told: Mapping[str, str]
    """Those of ``entry``, ``delay_unit`` and ``q_unit`` that are not empty."""
    at: Mapping[str, str | int]
    """Which of several: labels of texts or positions, by dimension; empty where the path holds nothing else."""
    group: str = ""
    """Of a stack with several groups."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """All curves of one file (and of one segment, age or repeat where there are several)."""

    label: str
    read: Callable[[], tuple[xr.Dataset, Origin]]
    """Give its curves, (qbin, delay), in memory, and where they are from; raises `Missing`."""
    stored: xr.Dataset | None = None
    """Its results in the store, (qbin, ...), lazy."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """All that was opened."""

    entries: tuple[Entry, ...]
    store: Path | None = None
    rejected: tuple[str, ...] = ()
    """Files that cannot be used, each with its reason."""


def open_all(paths: Sequence[str], **told: str) -> Opened:
    """Open one results store, data files, or a store together with its data.

    Parameters
    ----------
    paths : sequence of str
        One store of results (``.zarr``, ``.nc``) at most; all others are result files, folders, patterns or one packed
        stack. With a store they are where its curves are looked for first, by content.
    **told
        ``entry``, ``delay_unit``, ``q_unit`` as `open_g2` takes them.

    Raises
    ------
    ConfigError
        For several stores.
    FileRejected, NoUsableInputError
        If the store cannot be read, or no data file can be used.
    """
    stores = [path for path in paths if Path(path).suffix in (".zarr", ".nc") and not is_stack(path)]
    if len(stores) > 1:
        raise ConfigError(f"one store of results is shown at a time, not {len(stores)}: {', '.join(stores)}")
    files = [path for path in paths if path not in stores]
    told = {name: value for name, value in told.items() if value}
    found = list(_of_files(files, told)) if files else []
    rejected = tuple(dict.fromkeys(line for data, _, _ in found for line in _rejected(data)))
    if not stores:
        entries = tuple(entry for data, group, source in found for entry in _entries(data, group, source, told))
        return Opened(entries, rejected=rejected)
    store = Path(stores[0])
    return Opened(tuple(_of_store(store, found, told)), store, rejected)


def settings_of(results: xr.Dataset) -> tuple[str, FitConfig]:
    """Model and settings that results were made with."""
    return str(results.attrs.get("model", "")), FitConfig.make(**json.loads(results.attrs.get("config", "{}")))


Group = tuple[xr.Dataset, str, str]
"""Curves, the path of their group, and the path of the stack (empty for files)."""


def _of_files(paths: Sequence[str], told: Mapping[str, str]) -> Iterator[Group]:
    stack = paths[0] if len(paths) == 1 and is_stack(paths[0]) else ""
    opened = open_g2(list(paths), on_mismatch="split", on_error="skip", **told)  # type: ignore[arg-type]
    assert isinstance(opened, xr.DataTree)
    several = len(opened.children) > 1
    for node in opened.subtree:
        if "g2" in node.data_vars:
            yield (
                node.to_dataset().assign_attrs(rejected=opened.attrs.get("rejected", "[]")),
                (node.path if several else ""),
                stack,
            )


def _rejected(data: xr.Dataset) -> list[str]:
    listed = json.loads(str(data.attrs.get("rejected", "[]")))
    return [f"{item['file']}: {item['reason']}" for item in listed]


def _entries(data: xr.Dataset, group: str, stack: str, told: Mapping[str, str]) -> Iterator[Entry]:
    for at, label in _places(data, "g2"):
        yield Entry(label, partial(_loaded, data, at, group, stack, told))


def _loaded(
    data: xr.Dataset, at: Mapping[str, int], group: str, stack: str, told: Mapping[str, str]
) -> tuple[xr.Dataset, Origin]:
    """Curves of one entry in memory."""
    one = data.isel(at)
    path = stack or (str(one["path"].item()) if "path" in one.coords else "")
    labels = {dim: number for dim, number in at.items() if data.sizes[dim] > 1 and not (dim == "file" and not stack)}
    named = {dim: str(one["file"].item()) if dim == "file" else number for dim, number in labels.items()}
    try:
        return _curves(one), Origin(path, told, named, group if stack else "")
    except (OSError, XpcsError) as error:
        raise Missing(f"{path} cannot be read any more: {error}") from error


def _curves(one: xr.Dataset) -> xr.Dataset:
    """Only what a fit takes, in memory, (qbin, delay)."""
    one = one.drop_vars([name for name in one.data_vars if name not in ("g2", "g2_err", "g2_cluster")])
    if "qbin" not in one["g2"].dims:
        one = one.expand_dims("qbin")
    return one.load()


def _places(data: xr.Dataset, variable: str) -> Iterator[tuple[dict[str, int], str]]:
    """Every position along the dimensions that tell entries apart, with a label for the reader."""
    dims = [str(dim) for dim in data[variable].dims if dim not in CURVE_DIMS]
    for index in product(*(range(data.sizes[dim]) for dim in dims)):
        at = dict(zip(dims, index, strict=True))
        told = [_spoken(data, dim, number) for dim, number in at.items() if dim == "file" or data.sizes[dim] > 1]
        yield at, ", ".join(told) or "curves"


def _spoken(data: xr.Dataset, dim: str, number: int) -> str:
    label = known(data[dim])[number] if dim in data.coords else number
    return str(label) if dim == "file" else f"{dim} {label:g}" if isinstance(label, float) else f"{dim} {label}"


def _of_store(store: Path, given: Sequence[Group], told: Mapping[str, str]) -> Iterator[Entry]:
    opened = open_results(store)
    root = opened.attrs
    nodes = opened.subtree if isinstance(opened, xr.DataTree) else [xr.DataTree(opened)]
    run = json.loads(root.get("run", "{}"))
    config = run.get("config", {})
    told = {name: config[name] for name in ("entry", "delay_unit", "q_unit") if config.get(name)} | dict(told)
    seen = False
    for node in nodes:
        if "value" not in node.data_vars:
            continue
        results = node.to_dataset(inherit=False)
        for at, label in _places(results, "status"):
            seen = True
            one = results.isel(at)
            yield Entry(label, partial(_data_of, one, at, store, run, given, told), one)
    if not seen:
        raise ConfigError(f"{store} holds no fits; view shows what fit, bootstrap or run wrote")


def _data_of(
    stored: xr.Dataset,
    at: Mapping[str, int],
    store: Path,
    run: Mapping[str, Any],
    given: Sequence[Group],
    told: Mapping[str, str],
) -> tuple[xr.Dataset, Origin]:
    """Find the curves that were fitted: among those given, then where they were; known by their content."""
    if "curve_id" not in stored.coords:
        raise Missing("the store does not say which curves were fitted (no curve_id): an old version wrote it")
    ids = known(stored["curve_id"]).ravel()
    inside = {dim: number for dim, number in at.items() if dim != "file"}
    for group in given:
        if (found := _entry_with(ids, group, inside, told)) is not None:
            return found
    name = str(stored["path"].item()) if "path" in stored.coords else ""
    reasons: list[str] = []
    for path in _where(name, stored, store, run):
        if not path.exists():
            continue
        try:
            for group in _of_files([str(path)], told):
                if (found := _entry_with(ids, group, inside, told)) is not None:
                    return found
        except XpcsError as error:
            reasons.append(str(error))
        else:
            reasons.append(f"{path} holds other curves than those that were fitted")
    there = f"{name} is not there any more" if name else "the store names no data file"
    raise Missing("; ".join(reasons) or f"{there}; name its folder after the store to have it looked for there")


def _entry_with(
    ids: Any, found: Group, inside: Mapping[str, int], told: Mapping[str, str]
) -> tuple[xr.Dataset, Origin] | None:
    """Read the entry of a group that has the curves `ids`; None if it is not there."""
    data, group, stack = found
    if "curve_id" not in data.coords:
        return None
    same = np.isin(known(data["curve_id"]), ids)
    if not same.any():
        return None
    place = dict(zip(map(str, data["curve_id"].dims), (int(first[0]) for first in np.nonzero(same)), strict=True))
    dims = [dim for dim in data["g2"].dims if dim not in CURVE_DIMS]
    return _loaded(data, {str(dim): place.get(str(dim), inside.get(str(dim), 0)) for dim in dims}, group, stack, told)


def _where(name: str, stored: xr.Dataset, store: Path, run: Mapping[str, Any]) -> list[Path]:
    """Places of a file, the likeliest first: the stack, as it was named, as the manifest has it, beside the store."""
    places = []
    if run.get("stack"):
        stack = Path(run["stack"]["file"])
        places.append(stack.parent if stack.name == "zarr.json" else stack)
    if name:
        content = f"{int(stored['content_hash'].item()):016x}" if "content_hash" in stored.coords else ""
        places.append(Path(name))
        places += [Path(item["file"]) for item in run.get("inputs", ()) if content and item.get("content") == content]
        places += [store.parent / name, store.parent / Path(name).name]
    return list(dict.fromkeys(places))
