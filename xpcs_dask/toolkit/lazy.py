"""Attributes that are read when they are first asked for; small ones stay with the object, large ones in the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

import numpy as np

from xpcs_dask.toolkit.memory_monitor import MB, SHARED, size_of

T = TypeVar("T")

KEPT = MB
"""Bytes above which a value goes to the cache that all files share, and is not kept where that has no room for it; it
is read-only, since it may be given up and read again."""


class Loads:
    """An object with attributes of `Lazy`; what was set by hand, and nothing that was read, goes through pickle."""

    def __init__(self, path: str, state: object) -> None:
        self._path, self._token = path, f"@{state}"
        self._read: dict[str, Any] = {}
        self._set: dict[str, Any] = {}

    def kept(self, name: str, load: Callable[[], T]) -> T:
        """Return the value of this name, read now if it is not at hand."""
        if name in self._read:
            found: T = self._read[name]
            return found
        held = SHARED.get(self._path, name + self._token)
        if held is not None:
            shared: T = held
            return shared
        value = load()
        if size_of(value) > KEPT:
            SHARED.put(self._path, name + self._token, _frozen(value))
        else:
            self._read[name] = value
        return value

    def at_hand(self) -> dict[str, tuple[Any, str]]:
        """Return what is in memory: value, and who keeps it (``"object"``, ``"user"`` who set it, or ``"cache"``)."""
        found = {name: (value, "object") for name, value in self._read.items()}
        for name, item in SHARED.held(self._path).items():
            if name.endswith(self._token):
                found[name.removesuffix(self._token)] = item.data, "cache"
        return found | {name: (value, "user") for name, value in self._set.items()}

    def forget(self, belongs: Callable[[str], bool]) -> None:
        """Give up what was read under names that `belongs` accepts; it is read again when it is asked for."""
        for name in [name for name in self._read if belongs(name)]:
            del self._read[name]
        for name in SHARED.held(self._path):
            if belongs(name.partition("@")[0]):
                SHARED.drop(self._path, name)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_read": {}}


class Lazy(Generic[T]):
    """Descriptor: what `load` returns for the object, kept by it; may be set to something else."""

    def __init__(self, load: Callable[[Any], T]) -> None:
        self._load = load
        self.__doc__ = load.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Lazy[T]: ...

    @overload
    def __get__(self, instance: Loads, owner: type) -> T: ...

    def __get__(self, instance: Loads | None, owner: type) -> Lazy[T] | T:
        if instance is None:
            return self
        if self._name in instance._set:
            found: T = instance._set[self._name]
            return found
        return instance.kept(self._name, lambda: self._load(instance))

    def __set__(self, instance: Loads, value: T) -> None:
        instance._set[self._name] = value


def _frozen(value: T) -> T:
    for part in value.values() if isinstance(value, dict) else [value]:
        if isinstance(part, np.ndarray):
            part.flags.writeable = False
    return value
