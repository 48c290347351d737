"""Names for what decides a result: equal if and only if nothing of it differs, on any machine and in any process.

Arrays go by their bytes, type and shape; records by their fields; functions that this package fits with, and of the
libraries it rests on, by name (versions and `program` are part of every key); functions of the user by their
instructions, constants, defaults, closure, and the globals that they use, these in the same way. What can change unseen
(objects with methods, modules of the user) is refused.
"""

from __future__ import annotations

import dis
import hashlib
import os
import platform
import struct
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from xpcs_dask.errors import ConfigError

__all__ = ["NotCacheableError", "digest", "program"]

PACKAGE = __name__.partition(".")[0]
OURS = (f"{PACKAGE}.fitting", f"{PACKAGE}.config")
"""What `program` tells the content of."""
KNOWN = frozenset({"numpy", "scipy", "numba"}) | sys.stdlib_module_names
"""Other packages whose functions are known by name: versions of them are part of every key."""
DECIDING = (
    "NPY_DISABLE_CPU_FEATURES", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT", "NUMBA_ENABLE_AVX",
    "NUMBA_LOOP_VECTORIZE", "NUMBA_OPT", "NUMBA_SLP_VECTORIZE",
)  # fmt: skip
"""Environment variables that can change the last bits."""
PLAIN = (type(None), type(...), bool, int, str)
UNSEEN = frozenset({"__import__", "eval", "exec", "globals", "input", "locals", "open"})
"""What a function may do with these cannot be told from its instructions."""
SIZE = 16
"""Bytes of a name."""


class NotCacheableError(ConfigError):
    """Results of this cannot be known again: something it depends on could change unseen."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return (
            f"results cannot be cached, because {self.what} could change unseen; make the model a plain function of "
            "numbers, arrays and NumPy, or fit without the cache"
        )


def digest(*values: Any) -> bytes:
    """Name of values, `SIZE` bytes.

    Raises
    ------
    NotCacheableError
        If one of them, or something that it holds or calls, cannot be told by its content.
    """
    return _Digest().of(values).digest()


@cache
def program() -> bytes:
    """Name of the code that fits and of what else decides bits on this machine, beside versions and processor."""
    found = hashlib.blake2b(digest_size=SIZE)
    package = Path(__file__).parents[1]
    for path in [package / "config.py", *sorted((package / "fitting").rglob("*.py"))]:
        found.update(path.read_bytes())
    return digest(found.digest(), [os.environ.get(name) for name in DECIDING])


class _Digest:
    """Feeds values to a hash, each with its type and length, so that no two differ in nothing."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=SIZE)
        self._inside: dict[int, int] = {}
        """Functions whose content is being fed, by identity: they may call themselves."""

    def of(self, value: Any) -> hashlib.blake2b:
        self._feed(value)
        return self._hash

    def _put(self, kind: str, content: bytes = b"") -> None:
        self._hash.update(b"%s:%d:%s" % (kind.encode(), len(content), content))

    def _feed(self, value: Any) -> None:
        match value:
            case _ if type(value) in PLAIN:
                self._put(type(value).__name__, str(value).encode("utf-8", "surrogatepass"))
            case float() | complex() if type(value) in (float, complex):
                number = complex(value)
                self._put(type(value).__name__, struct.pack("<dd", number.real, number.imag))
            case bytes():
                self._put("bytes", value)
            case np.ndarray() | np.generic():
                self._array(np.asarray(value))
            case Enum():
                self._many("enum", [_named(type(value)), value.name])
            case tuple() | list() if type(value) in (tuple, list):
                self._many(type(value).__name__, value)
            case Mapping():
                self._many("mapping", [item for name in value for item in (name, value[name])])
            case set() | frozenset():
                self._many("set", sorted(digest(item) for item in value))
            case slice():
                self._many("slice", [value.start, value.stop, value.step])
            case CodeType():
                self._code(value)
            case _:
                self._record_or_function(value)

    def _many(self, kind: str, values: Any) -> None:
        self._put(kind, str(len(values)).encode())
        for value in values:
            self._feed(value)

    def _array(self, array: np.ndarray[Any, Any]) -> None:
        if array.dtype.hasobject:
            raise NotCacheableError(f"an array of objects ({array.dtype})")
        kind = array.dtype.str if array.dtype.names is None else array.dtype.descr
        self._hash.update(f"array{kind}{array.shape}:".encode())
        self._hash.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    def _record_or_function(self, value: Any) -> None:
        cls = type(value)
        if name := _known_as(value):
            self._put("name", name.encode())
        elif isinstance(value, partial):
            self._many("partial", [value.func, value.args, dict(value.keywords)])
        elif hasattr(value, "py_func") and _top(cls.__module__) == "numba":
            self._many("compiled", [value.py_func, sorted(map(str, value.targetoptions.items()))])
        elif isinstance(value, FunctionType):
            self._function(value)
        elif cls.__module__.startswith(OURS) and is_dataclass(value):
            self._many(_named(cls), [getattr(value, field.name) for field in fields(value)])
        elif cls.__module__.startswith(OURS) and hasattr(cls, "model_fields"):
            self._many(_named(cls), [getattr(value, name) for name in cls.model_fields])
        else:
            raise NotCacheableError(f"{value!r:.60} (of type {_named(cls)})")

    def _function(self, value: FunctionType) -> None:
        if id(value) in self._inside:
            self._put("again", str(self._inside[id(value)]).encode())
            return
        self._inside[id(value)] = len(self._inside)
        used = {name: value.__globals__[name] for name in _looked_up(value.__code__) if name in value.__globals__}
        cells = [_content(cell) for cell in value.__closure__ or ()]
        # Instructions could mean something else to another Python.
        self._many("function", [platform.python_version(), value.__defaults__, value.__kwdefaults__, cells, used])
        self._code(value.__code__)

    def _code(self, code: CodeType) -> None:
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
        counts = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
        self._many("code", [code.co_code, code.co_exceptiontable, names, counts, code.co_consts])


def _looked_up(code: CodeType) -> list[str]:
    """Names that a function, and those within it, takes from outside; refuses what it could take unseen."""
    found = set()
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME" and not _is_known(step.argval):
            raise NotCacheableError(f"module {step.argval}, which {code.co_name} imports,")
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            found.add(step.argval)
    if hidden := found & UNSEEN:
        raise NotCacheableError(f"what {code.co_name} does with {min(hidden)}()")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.update(_looked_up(constant))
    return sorted(found)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet given a value
        return None


def _known_as(value: Any) -> str:
    """Name under which a package of `KNOWN` holds exactly this module, function or class; empty if none does."""
    if isinstance(value, ModuleType):
        return value.__name__ if _is_known(value.__name__) else ""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    homes = ("numpy", "scipy.special") if isinstance(value, np.ufunc) else (getattr(value, "__module__", None),)
    for home in homes:
        if isinstance(home, str) and isinstance(name, str) and _is_known(home):
            found: Any = sys.modules.get(home)
            for part in name.split("."):
                found = getattr(found, part, None)
            if found is value:
                return f"{home}.{name}"
    return ""


def _is_known(module: str) -> bool:
    return _top(module) in KNOWN or module.startswith(OURS)


def _named(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _top(name: str) -> str:
    return name.partition(".")[0]
