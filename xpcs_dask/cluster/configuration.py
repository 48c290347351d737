"""The section ``xpcs_dask`` of Dask's configuration files: what it holds, in which file, and what it must not hold."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from xpcs_dask.config import Settings
from xpcs_dask.errors import ConfigError

__all__ = ["checked", "flags_of", "made", "section", "source_of"]

SECTION = "xpcs_dask"
SECTIONS = ("profiles", "local", "running")
FILES = ("*.yaml", "*.yml", "*.json")

Model = TypeVar("Model", bound=Settings)


def section(*path: str) -> dict[str, Any] | None:
    """Read what Dask's configuration holds at ``xpcs_dask.PATH``, or None.

    Parameters
    ----------
    path
        Names below ``xpcs_dask``, such as ``"profiles", "slurm"``; ``-`` and ``_`` are the same.

    Returns
    -------
    dict or None
        With names as fields are called, all with ``_``.

    Raises
    ------
    ConfigError
        What is there is no mapping, or ``xpcs_dask`` holds something else than `SECTIONS`.
    """
    import dask

    found: Any = _same_dashes(dask.config.get(SECTION, None) or {})
    checked(found, SECTIONS, f"configuration {SECTION}")
    for depth, name in enumerate(path, 1):
        if _same(name) not in found:
            return None
        found = found[_same(name)] or {}
        if not isinstance(found, Mapping):
            where = ".".join((SECTION, *path[:depth]))
            raise ConfigError(f"{where} holds {found!r} instead of KEY: VALUE lines{_in(source_of(*path[:depth]))}")
        found = _same_dashes(found)
    return dict(found)


def checked(values: Mapping[str, Any], known: Collection[str], what: str, path: tuple[str, ...] | None = ()) -> None:
    """Refuse keys that are not `known`: `ConfigError` names the nearest one, and the file unless `path` is None."""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            advice = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
            raise ConfigError(
                f"{what} has no key '{key}'; {advice}{_in(source_of(*path, key) if path is not None else '')}"
            )


def flags_of(changes: Mapping[str, object] | None) -> dict[str, Any]:
    """Names as fields are called, and ``tls.ca`` as the key ca of a mapping."""
    found: dict[str, Any] = {}
    for key, value in (changes or {}).items():
        outer, _, inner = _same(key).partition(".")
        if inner:
            found[outer] = {**(found.get(outer) or {}), inner: value}
        else:
            found[outer] = value
    return found


def made(
    model: type[Model], values: Mapping[str, Any], flags: Mapping[str, Any], what: str, path: tuple[str, ...]
) -> Model:
    """Make a record of `values`; `ConfigError` names the key, and the file at `path` unless a flag was wrong."""
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        outer = key.split(".")[0]
        file = "" if outer in flags else source_of(*path, outer) if outer else source_of(*path)
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{what}{f', {key}' if key else ''}: {message}{_in(file)}") from None


def source_of(*path: str) -> str:
    """Name of the last configuration file that holds ``xpcs_dask.PATH``, or of the variable that does, or empty."""
    names = [_same(name).lower() for name in (SECTION, *path)]
    variable = "DASK_" + "__".join(name.upper() for name in names)
    if variable in os.environ:
        return variable
    return next((str(file) for file, content in _files() if _holds(content, names)), "")


def _files() -> Iterator[tuple[Path, Any]]:
    """Files of Dask's configuration, the strongest first."""
    import dask
    import yaml

    for place in reversed(dask.config.paths):
        folder = Path(place)
        inside = sorted((file for form in FILES for file in folder.glob(form)), reverse=True)
        for file in inside if folder.is_dir() else [folder]:
            try:
                yield file, yaml.safe_load(file.read_text())
            except (OSError, ValueError, yaml.YAMLError):
                continue


def _holds(content: Any, names: list[str]) -> bool:
    for name in names:
        there = _same_dashes(content)
        if name not in there:
            return False
        content = there[name]
    return True


def _same(name: str) -> str:
    return name.replace("-", "_")


def _same_dashes(values: Any) -> dict[str, Any]:
    return {_same(str(key)): value for key, value in values.items()} if isinstance(values, Mapping) else {}


def _in(file: str) -> str:
    return f" ({file})" if file else ""
