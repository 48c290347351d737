"""How to make the fit that is shown again: the call in Python, and the command line where that can say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from xpcs_dask.config import RunConfig
from xpcs_dask.reporting import recipe
from xpcs_dask.view.refit import Excluded, Refit
from xpcs_dask.view.sources import Origin

__all__ = ["command", "python"]


def python(found: Refit, origin: Origin, curves: xr.Dataset) -> str:
    """Lines of Python that end with ``fits``, the results of all q bins."""
    lines = ["import xpcs_dask as xd", ""]
    arguments = [repr(origin.path), *(f"{name}={value!r}" for name, value in origin.told.items())]
    arguments += ['on_mismatch="split"'] if origin.group else []
    lines.append(f"data = xd.open_g2({', '.join(arguments)})")
    if origin.group:
        lines.append(f"data = data[{origin.group!r}].to_dataset()")
    if labels := {dim: label for dim, label in origin.at.items() if isinstance(label, str)}:
        lines.append(f"data = data.sel({_keywords({dim: [label] for dim, label in labels.items()})})")
    if numbers := {dim: [label] for dim, label in origin.at.items() if not isinstance(label, str)}:
        lines.append(f"data = data.isel({_keywords(numbers)})")
    if found.excluded:
        lines += _left_out(found.excluded, curves)
    given = ", ".join(filter(None, (repr(found.choices.model), found.config.keywords())))
    return "\n".join([*lines, f"fits = xd.fit(data, {given})"])


def command(found: Refit, origin: Origin) -> tuple[str, str]:
    """Return the command line and nothing, or nothing and why there is none."""
    if found.excluded:
        return "", "points excluded by hand cannot be told on the command line; take the Python call"
    if origin.at:
        return "", "the command line fits all of a stack; take the Python call for a part of it"
    told: dict[str, Any] = dict(origin.told)
    job = RunConfig(inputs=(origin.path,), output="refit.zarr", model=found.choices.model, fit=found.config, **told)
    line = recipe.command(job)
    return line, "" if line else "the command line does not take all of these settings; take the Python call"


def _keywords(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _left_out(excluded: Excluded, curves: xr.Dataset) -> list[str]:
    """Lines that make the points NaN, which a fit does not use; by position."""
    lines = ['g2 = data["g2"].load().copy()  # points excluded by hand become NaN: missing to the fit']
    by_bin: dict[int, list[int]] = {}
    for bin_, delay in sorted(excluded):
        by_bin.setdefault(bin_, []).append(delay)
    whole = len(by_bin) == curves.sizes["qbin"] and len({tuple(delays) for delays in by_bin.values()}) == 1
    if whole:
        lines.append(f'g2[dict(delay={next(iter(by_bin.values()))})] = float("nan")')
    else:
        lines += [f'g2[dict(qbin={bin_}, delay={delays})] = float("nan")' for bin_, delays in by_bin.items()]
    return [*lines, "data = data.assign(g2=g2)"]
