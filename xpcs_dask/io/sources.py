"""From what the user names - paths, globs, folders, lists of these - to files in natural order."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from xpcs_dask.errors import FileRejected, NoUsableInputError

PathLike: TypeAlias = str | os.PathLike[str]
Source: TypeAlias = PathLike | Iterable[PathLike]


def list_files(sources: Sequence[str], suffixes: Iterable[str]) -> tuple[list[str], list[FileRejected]]:
    """Files that `sources` name, in natural order, and what of it cannot be used.

    Parameters
    ----------
    sources : sequence of paths, globs and folders
        A folder stands for the files in it, not below it, whose name ends in one of `suffixes`.
    suffixes : iterable of str
        Endings in lower case, such as ``.hdf``.

    Returns
    -------
    files : list of str
        Each file once.
    rejected : list of FileRejected
        Names that lead to no file, and files named twice (the same resolved path).

    Raises
    ------
    NoUsableInputError
        If `sources` is empty.
    """
    if not sources:
        raise NoUsableInputError("no file was named: the list of sources is empty")
    endings = tuple(suffixes)
    found: list[str] = []
    rejected: list[FileRejected] = []
    for item in sources:
        files = list(_expand(os.path.expanduser(item), endings))
        found += files
        if not files:
            rejected.append(FileRejected(item, _why_nothing(os.path.expanduser(item), endings)))
    first: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in sorted(found, key=natural_key):
        resolved = _resolved(path, folders)
        if resolved in first:
            rejected.append(FileRejected(path, f"duplicated: it is the same file as {first[resolved]}; name it once"))
        else:
            first[resolved] = path
    return list(first.values()), rejected


def _resolved(path: str, folders: dict[str, str]) -> str:
    """Return what `os.path.realpath` does; each folder is resolved once, and `folders` remembers it."""
    above, name = os.path.split(path)
    if name in {"", ".", ".."}:
        return os.path.realpath(path)
    if above not in folders:
        folders[above] = os.path.realpath(above)
    resolved = os.path.join(folders[above], name)
    return os.path.realpath(resolved) if os.path.islink(resolved) else resolved


def natural_key(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """Key that sorts file names as people count: run2 before run10, whatever the case."""
    pieces = re.split(r"(\d+)", text)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.lower()) for piece in pieces if piece], text


def _expand(item: str, endings: tuple[str, ...]) -> Iterator[str]:
    if os.path.isdir(item):
        for path in Path(item).iterdir():
            if path.name.lower().endswith(endings) and not path.name.startswith(".") and path.is_file():
                yield str(path)
    elif os.path.exists(item):
        yield item
    else:
        yield from (path for path in glob.iglob(item, recursive=True) if not os.path.isdir(path))


def _why_nothing(item: str, endings: tuple[str, ...]) -> str:
    if os.path.isdir(item):
        return f"the folder holds no file that ends in {', '.join(endings)}"
    return "no file matches this pattern" if glob.has_magic(item) else "there is no such file; check the path"
