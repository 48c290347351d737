"""How to make results again: settings that are not at their defaults, and the command, file or lines that do it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xpcs_dask.config import BootstrapConfig, FitConfig, RunConfig
from xpcs_dask.reporting.source import File, Source
from xpcs_dask.spoken import plain

__all__ = ["Recipe", "command", "recipe", "settings", "told"]

FIT_OPTIONS = ("loss", "loss_scale", "search", "errors", "covariance", "weights", "robust", "diagnostics", "detail")
RANGES = ("q_range", "delay_range")
RESAMPLING = ("resamples", "over", "interval", "level", "seed")
"""What `fit` can say of a bootstrap."""
LISTED = 20
"""Files that are named in lines of Python."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make the results again."""

    command: str
    """One line for a shell; empty if options cannot say it all."""
    yaml: str
    """Settings file; empty if the results are not from a job."""
    python: str
    """Lines of Python, for results that are not from a job; empty if their curves came from nowhere."""


def recipe(source: Source, files: Sequence[File]) -> Recipe:
    """Say how `source` can be made again."""
    if source.manifest is None:
        return Recipe("", "", _python(source, files))
    import yaml

    config = source.manifest.config
    told = config.model_dump(mode="json", exclude_defaults=True, exclude={"overwrite"})
    if config.fit.detail != "core":  # the default of a fit, but not of a job
        told["fit"]["detail"] = config.fit.detail
    return Recipe(command(config), yaml.safe_dump(told, sort_keys=False, allow_unicode=True), "")


def command(config: RunConfig) -> str:
    """``xpcs-dask fit ...`` with the options that differ from their defaults; empty if options cannot say it all."""
    if _beyond_options(config):
        return ""
    fit, default = config.fit, FitConfig(detail="core")
    words = ["xpcs-dask", "fit", *config.inputs, "--output", config.output]
    words += _option("model", config.model, "single")
    for name, (low, high) in fit.bounds.items():
        words += ["--bounds", f"{name}={low!r},{high!r}"]
    for name, value in fit.fixed.items():
        words += ["--fix", f"{name}={value!r}"]
    for name in FIT_OPTIONS:
        words += _option(name, getattr(fit, name), getattr(default, name))
    for name in RANGES:
        if (ends := getattr(fit, name)) is not None:
            words += [f"--{name.replace('_', '-')}={ends[0]!r},{ends[1]!r}"]
    words += _intervals(config)
    for name in ("scheduler", "chunks", "memory", "entry", "delay_unit", "q_unit"):
        words += _option(name, getattr(config, name), RunConfig.model_fields[name].default)
    for name in config.include:
        words += ["--include", name]
    for name, setting in config.cluster.items():
        words += ["--cluster", f"{name}={setting}"]
    if config.cache is not None:
        words.append("--cache" if config.cache else "--no-cache")
    return shlex.join(words)


def settings(config: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, value, and whether it is not the default, of every setting of a fit."""
    default = json.loads(FitConfig().model_dump_json())
    return [(name, json.dumps(value), value != default.get(name)) for name, value in config.items()]


def told(attrs: Mapping[str, Any]) -> dict[str, str]:
    """Bounds and versions in words, where results tell them."""
    found = {}
    if "bounds" in attrs:
        ends = json.loads(attrs["bounds"]).items()
        found["bounds that were used"] = "; ".join(
            f"{name} {_end(low, '−∞')} to {_end(high, '∞')}" for name, (low, high) in ends
        )
    if "covariance_kind" in attrs:
        found["covariance that was used"] = str(attrs["covariance_kind"])
    if "versions" in attrs:
        found["versions"] = ", ".join(f"{name} {version}" for name, version in json.loads(attrs["versions"]).items())
    return found


def _end(value: float | None, open_end: str) -> str:
    return open_end if value is None else plain(value)


def _intervals(config: RunConfig) -> list[str]:
    boot = config.bootstrap
    if boot is None:
        return [*_option("interval", config.fit.interval, "none"), *_option("level", config.fit.level, 0.95)]
    words = ["--bootstrap", str(boot.resamples), *_option("interval", boot.interval, "auto")]
    for name in ("over", "level", "seed"):
        words += _option(name, getattr(boot, name), BootstrapConfig.model_fields[name].default)
    return words


def _option(name: str, value: Any, default: Any) -> list[str]:
    return [] if value == default else [f"--{name.replace('_', '-')}", str(value)]


def _beyond_options(config: RunConfig) -> bool:
    """Whether a setting differs from its default that `fit` has no option for."""
    fit, boot = config.fit, config.bootstrap
    default = FitConfig()
    if fit.absolute_sigma != default.absolute_sigma or fit.min_products != default.min_products:
        return True
    if any(
        not isinstance(setting, str | int | float) or isinstance(setting, bool) for setting in config.cluster.values()
    ):
        return True
    if boot is None:
        return False
    rest = {name: value for name, value in boot.model_dump().items() if name not in RESAMPLING}
    default_boot = BootstrapConfig().model_dump()
    return (
        any(value != default_boot[name] for name, value in rest.items())
        or fit.interval != "none"
        or fit.level != boot.level
    )


def _python(source: Source, files: Sequence[File]) -> str:
    paths = [file.path for file in files]
    if not all(paths):
        return ""
    lines = ["import xpcs_dask as xd", ""]
    if len(paths) <= LISTED:
        lines += ["paths = [", *(f"    {path!r}," for path in paths), "]"]
    else:
        lines = ["import csv", "", *lines]
        lines.append('paths = [row["path"] for row in csv.DictReader(open("files.csv"))]  # downloaded from this page')
    split = ', on_mismatch="split"' if len(source.groups) > 1 else ""
    given = (repr(source.attrs.get("model", "single")), FitConfig.make(**source.config).keywords())
    lines.append(f"data = xd.open_g2(paths{split})")
    lines.append(f"fits = xd.fit(data, {', '.join(filter(None, given))})")
    return "\n".join(lines)
