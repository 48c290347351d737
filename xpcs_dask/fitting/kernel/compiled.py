"""How kernels are compiled and where the machine code is kept.

Numba notices an edited file, but not an edited callee in another file, and by default writes beside the source, which
may be read-only. So the machine code of a kernel lives in a private folder whose name carries a hash of all kernel
sources. Racing writers are safe: Numba writes to a temporary file and renames it.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

SUMS = {"reassoc", "contract", "arcp", "nnan", "ninf", "nsz", "afn"}
"""All of LLVM's fast-math: sums may be reordered into SIMD lanes (the same way for every curve of that length)."""
ROUNDING = {"contract", "nnan", "ninf", "nsz"}
"""No reassociation: the exponential relies on (x + magic) - magic."""


BESIDE = ("error_model.py", "layout.py", "quality.py")
"""Modules above whose constants are compiled in."""


def _sources_digest() -> str:
    digest = hashlib.blake2b(digest_size=8)
    here = Path(__file__).parent
    for path in (*sorted(here.glob("*.py")), *(here.parent / name for name in BESIDE)):
        if not path.name.startswith("twin"):  # NumPy alone
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_private(folder: Path) -> bool:
    info = folder.stat()
    return info.st_uid == os.getuid() and not stat.S_IMODE(info.st_mode) & 0o022 and os.access(folder, os.W_OK)


def cache_folder() -> Path:
    """Folder for machine code: below ``NUMBA_CACHE_DIR`` or the user's cache; else a temporary one of this process."""
    base = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "xpcs_dask"
    )
    folder = Path(base) / f"numba-{_sources_digest()}"
    if folder.is_absolute():  # "~" stays as it is where there is no home
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_private(folder):
                return folder
    folder = Path(tempfile.mkdtemp(prefix="xpcs_dask-numba-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


_FOLDER = cache_folder()


def _jit(function: F, fastmath: set[str] | bool) -> F:
    """Compile into the private folder, callees always inlined.

    A callee that is left apart exists twice, alone and inside its caller, optimised differently. A process that
    compiled both would run the one, a process that loaded the caller from the cache the other: another last bit.
    """
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_FOLDER)
    try:
        return numba.njit(function, error_model="numpy", fastmath=fastmath, nogil=True, cache=True, forceinline=True)
    finally:
        numba.config.CACHE_DIR = before


def compiled(function: F) -> F:
    """Compile for speed; division by zero gives inf (a check would keep LLVM from vectorising)."""
    return _jit(function, SUMS)


def careful(function: F) -> F:
    """Compile without fast-math: for code that must see NaN and infinity."""
    return _jit(function, False)


def rounding(function: F) -> F:
    """Compile without reassociation: for code that lives from rounding."""
    return _jit(function, ROUNDING)
