"""Words of the command line into values: ``tau=1e-6,1e2``, ``baseline=1``, ``0.003,0.02``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from xpcs_dask.errors import ConfigError


def named_ranges(texts: Sequence[str], option: str) -> dict[str, tuple[float, float]]:
    """``["tau=1e-6,1e2"]`` into ``{"tau": (1e-6, 1e2)}``."""
    return {name: number_range(value, f"{option} {name}=") for name, value in _named(texts, option, "NAME=LOW,HIGH")}


def named_numbers(texts: Sequence[str], option: str) -> dict[str, float]:
    """``["baseline=1"]`` into ``{"baseline": 1.0}``."""
    return {name: _number(value, f"{option} {name}=") for name, value in _named(texts, option, "NAME=VALUE")}


def number_range(text: str, option: str) -> tuple[float, float]:
    """``"0.003,0.02"`` into ``(0.003, 0.02)``."""
    parts = text.split(",")
    if len(parts) != 2:
        raise ConfigError(f"{option} takes two numbers, LOW,HIGH; got '{text}'")
    return _number(parts[0], option), _number(parts[1], option)


def block_files(text: str) -> int | Literal["auto"]:
    """``"auto"``, or a number of files."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--chunks takes auto or a number of files from 1; got '{text}'")
    return int(text)


def _named(texts: Sequence[str], option: str, form: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"{option} takes {form}; got '{text}'")
        pairs.append((name, value))
    names = [name for name, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{option} names {', '.join(sorted(twice))} more than once")
    return pairs


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{option}: '{text.strip()}' is not a number") from None
