"""Settings of a job from a YAML or JSON file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpcs_dask.config import RunConfig
from xpcs_dask.errors import ConfigError

__all__ = ["make_config", "read_config"]


def read_config(path: str | os.PathLike[str], **settings: Any) -> RunConfig:
    """Read the settings of a job.

    Parameters
    ----------
    path : path
        A YAML or JSON file with the fields of `RunConfig`.
    **settings
        Put on top of it.

    Raises
    ------
    ConfigError
        If it cannot be read, or a setting makes no sense; names the file and the setting.
    """
    import yaml

    try:
        found = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is neither YAML nor JSON: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: holds no settings by name, such as 'inputs: [results/*.hdf]'")
    try:
        return RunConfig.make(**{str(name): value for name, value in found.items()} | settings)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def make_config(
    config: RunConfig | Mapping[str, Any] | str | os.PathLike[str] | None = None, **settings: Any
) -> RunConfig:
    """Make a config of whatever `run` is given."""
    if isinstance(config, str | os.PathLike):
        return read_config(config, **settings)
    if isinstance(config, Mapping):
        return RunConfig.make(**{**config, **settings})
    return RunConfig.make(config, **settings)
