"""Formats by name, and which one a file is of. A new format is one module here and one line below."""

from __future__ import annotations

import errno
import os
import stat

from xpcs_dask.errors import ConfigError, FileRejected
from xpcs_dask.io import aps_legacy, aps_nexus, dynamix, esrf_dahu, esrf_id02, hdf5, nxxpcs, pychx, table
from xpcs_dask.io.reader import Reader, Told

READERS: dict[str, Reader] = {
    "aps_nexus": aps_nexus,
    "aps_legacy": aps_legacy,
    "esrf_id02": esrf_id02,
    "esrf_dahu": esrf_dahu,
    "pychx": pychx,
    "nxxpcs": nxxpcs,
    "dynamix": dynamix,
    "table": table,
}
"""Asked in this order whether a file is theirs."""


def reader(name: str) -> Reader:
    """Reader of the format called `name`; `ConfigError` that lists the known ones."""
    if name not in READERS:
        raise ConfigError(f"format: '{name}' is not known; known are {', '.join(READERS)}")
    return READERS[name]


def suffixes(name: str | None = None) -> tuple[str, ...]:
    """Return endings of files that a folder stands for; of tables only if that is `name`: any program writes .csv."""
    names = [name] if name else [known for known in READERS if known != "table"]
    return tuple(sorted({end for known in names for end in reader(known).SUFFIXES}))


def check_told(path: str, name: str, told: Told) -> None:
    """Refuse a file of format `name` if the user tells something about it that the format tells by itself."""
    for option in ("entry", "delay_unit", "q_unit"):
        if getattr(told, option) and option not in reader(name).OPTIONS:
            raise FileRejected(path, f"{option}= does not apply to a file of format {name}; leave it out")


def identify(path: str) -> str:
    """Name of the format of a file, from its content; `FileRejected` if it cannot be read or is of none."""
    _check_readable(path)
    for name, candidate in READERS.items():
        if candidate.sniff(path):
            return name
    kind = "HDF5, but of none of the formats" if hdf5.is_hdf5(path) else "not HDF5 and of none of the formats"
    raise FileRejected(path, f"it is {kind} known here ({', '.join(READERS)}); check what wrote it")


def _check_readable(path: str) -> None:
    """Refuse what no reader could read, with the reason of the file system."""
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise FileRejected(path, "it is a pipe or a device, not a file")
        with open(path, "rb") as file:
            empty = not file.read(1)
    except OSError as error:
        reasons = {
            errno.ENOENT: "there is no such file; check the path",
            errno.EISDIR: "it is a folder, not a file",
            errno.EACCES: "no permission to read it; ask its owner, or change its mode",
        }
        raise FileRejected(path, reasons.get(error.errno or 0, f"it cannot be read ({error.strerror})")) from error
    if empty:
        raise FileRejected(path, "the file is empty (0 bytes); write or copy it again")
