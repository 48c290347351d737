"""How to make the fit that is shown again: the call in Python, and the command line where that can say it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

import xarray as xr

from xpcs_dask.config import FitConfig
from xpcs_dask.view.refit import Excluded, Refit
from xpcs_dask.view.sources import Origin

__all__ = ["command", "python"]

ONLY_PYTHON = ("min_products", "absolute_sigma")
"""Settings that ``xpcs-dask fit`` does not take."""


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
    settings = _changed(found.config)
    given = [repr(found.choices.model), *(f"{name}={value}" for name, value in settings.items())]
    return "\n".join([*lines, f"fits = xd.fit(data, {', '.join(given)})"])


def command(found: Refit, origin: Origin) -> tuple[str, str]:
    """Return the command line and nothing, or nothing and why there is none."""
    if found.excluded:
        return "", "points excluded by hand cannot be told on the command line; take the Python call"
    if origin.at:
        return "", "the command line fits all of a stack; take the Python call for a part of it"
    settings = found.config
    if odd := [name for name in ONLY_PYTHON if getattr(settings, name) != getattr(FitConfig(), name)]:
        return "", f"the command line does not take {', '.join(odd)}; take the Python call"
    words = ["xpcs-dask", "fit", origin.path, "-o", "refit.zarr", "--model", found.choices.model]
    for name, (low, high) in settings.bounds.items():
        words.append(f"--bounds={name}={low!r},{high!r}")
    for name, value in settings.fixed.items():
        words.append(f"--fix={name}={value!r}")
    for name in ("loss", "loss_scale", "search", "errors", "covariance", "weights", "robust", "diagnostics", "level"):
        if (value := getattr(settings, name)) != getattr(FitConfig(), name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    for name in ("q_range", "delay_range"):
        if (limits := getattr(settings, name)) is not None:
            words.append(f"--{name.replace('_', '-')}={limits[0]!r},{limits[1]!r}")
    words += ["--interval", settings.interval, "--detail", "full"]
    words += [word for name, value in origin.told.items() for word in (f"--{name.replace('_', '-')}", value)]
    return shlex.join(words), ""


def _changed(config: FitConfig) -> dict[str, str]:
    """List settings that are not at their default, as Python writes them."""
    plain = FitConfig()
    found = {name: getattr(config, name) for name in type(config).model_fields}
    return {name: _written(value) for name, value in found.items() if value != getattr(plain, name)}


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_written, value)) + ")"
    if isinstance(value, float) and math.isinf(value):
        return f'float("{value}")'
    return repr(value)


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
