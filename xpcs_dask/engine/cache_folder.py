"""Folders that only their user writes: where anything is kept that a later run believes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from xpcs_dask.errors import ConfigError

__all__ = ["CacheFolderError", "cache_folder", "is_in_memory", "private_folder"]

VARIABLE = "XPCS_CACHE_DIR"
HOME = "~/.xpcs_toolkit"
OFF = "off"
OTHERS = stat.S_IWGRP | stat.S_IWOTH


class CacheFolderError(ConfigError):
    """A folder cannot be made, or what lies in it may be from somebody else."""

    def __init__(self, path: str, reason: str, knob: str) -> None:
        super().__init__(path, reason, knob)
        self.path, self.reason, self.knob = path, reason, knob

    def __str__(self) -> str:
        return f"{self.path} {self.reason}; {self.knob}"


def cache_folder() -> Path | None:
    """Return where fits are kept: ``XPCS_CACHE_DIR`` or ``~/.xpcs_toolkit``; None if the former is ``off``.

    Nothing is made or looked at here.
    """
    told = os.environ.get(VARIABLE)
    return None if told == OFF else Path(os.path.expanduser(told or HOME))


def private_folder(path: Path, variable: str = VARIABLE) -> Path:
    """Make a folder of mode 700 if there is none, and see that it is the user's own.

    Parameters
    ----------
    path : Path
        Absolute.
    variable : str
        Environment variable that names another one.

    Raises
    ------
    CacheFolderError
        If it is not absolute, cannot be made, belongs to another user, or if group or others may write to it.
    """
    elsewhere = f"name another folder with {variable}"
    if not path.is_absolute():  # "~" stays as it is where there is no home
        raise CacheFolderError(str(path), "is not an absolute path", elsewhere)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = path.stat()
    except OSError as error:
        raise CacheFolderError(str(path), f"cannot be used as a folder ({error.strerror})", elsewhere) from error
    if state.st_uid != os.getuid():
        raise CacheFolderError(str(path), f"belongs to another user (number {state.st_uid})", elsewhere)
    mode = stat.S_IMODE(state.st_mode)
    if mode & OTHERS:
        raise CacheFolderError(
            str(path), f"can be written by others (mode {mode:o})", f"run chmod 700 on it, or {elsewhere}"
        )
    return path


def is_in_memory(path: Path) -> bool:
    """Whether files there take memory, not disk (tmpfs); False where that cannot be told."""
    import psutil

    try:
        real = os.path.realpath(path)
        mounts = {disk.mountpoint: disk.fstype for disk in psutil.disk_partitions(all=True)}
    except OSError:
        return False
    above = (str(folder) for folder in (Path(real), *Path(real).parents))
    return next((mounts[folder] for folder in above if folder in mounts), "") in ("tmpfs", "ramfs")
