"""Levels of diagnostics, and how often each refits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from xpcs_dask.errors import ConfigError

__all__ = ["LEVELS", "check_level"]

LEVELS: Mapping[str, int] = MappingProxyType({"basic": 0, "standard": 500, "comprehensive": 1000})
"""Resamples by diagnostic level, unless their number is given."""


def check_level(diagnostic_level: str) -> None:
    """Refuse what is no level."""
    if diagnostic_level not in LEVELS:
        raise ConfigError(f"diagnostic_level: {diagnostic_level!r} is none of {', '.join(LEVELS)}")
