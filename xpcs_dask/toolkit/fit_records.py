"""Fits of many bins as scripts read them: arrays, ``fit_val[q_slice, 0, 1]``, and records, ``fit_val[0]["params"]``.

Records are made when they are asked for, so that 50,000 bins cost no more than their arrays. `json.dumps` writes all of
it (not-a-number as ``NaN``; `to_json` as null), `pickle` too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.layout import ErrorsFrom, Rung, flag_names

__all__ = ["FitLines", "FitResults", "FitTable", "FitValues", "Record", "to_json"]

Floats = NDArray[np.float64]

SUCCESS, FAILED, INSUFFICIENT = "success", "failed", "insufficient_data"
FAILED_ERROR = -1.0
"""Error of every parameter of a bin that was not fitted: scripts filter with ``error > 0``."""


class Record(dict[str, Any]):
    """A dict with arrays in it that `json` can write: `items` shows these as lists; ``record[name]`` is the array."""

    def items(self) -> Any:
        """Names and values, arrays as lists."""
        return {name: _plain(value) for name, value in super().items()}.items()

    def copy(self) -> Record:
        """Return a shallow copy, arrays as they are."""
        return type(self)(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


class FitRecord(Record):
    """One bin: a dict, and the array (2, npar) of values and errors for everything that is not a name."""

    def __missing__(self, key: Any) -> Any:
        if isinstance(key, str):
            raise KeyError(key)
        return np.asarray(self)[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array([self["params"], self["param_errors"]], dtype=dtype)


class LineRecord(Record):
    """One fitted curve: a dict, and for NumPy the array ``fit_y``, NaN where there is no fit."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        found = self["fit_y"]
        return np.array(np.full(len(self["fit_x"]), np.nan) if found is None else found, dtype=dtype)


NUMBERS = ("value", "stderr", "covariance", "robust")
"""Arrays of a table beside its diagnostics; every one has a row a bin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FitTable:
    """What is known of the fits of nq bins, in arrays."""

    value: Floats
    """(nq, npar)"""
    stderr: Floats
    """(nq, npar)"""
    covariance: Floats
    """(nq, npar, npar)"""
    status: list[str]
    message: list[str]
    """Why a bin failed or was not fitted robustly; otherwise that it was fitted."""
    robust: NDArray[np.bool_]
    """(nq,)"""
    fit_x: Floats
    """(128,) delays in s."""
    function: Callable[..., Any]
    """Module-level ``f(x, *parameters)``."""
    diagnostics: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """First dimension nq; flags, rung and errors_from as codes."""
    q_val: Floats | None = None
    """(nq,) 1/angstrom"""

    def __len__(self) -> int:
        return len(self.value)

    def fitted(self, k: int) -> bool:
        """Whether bin k has numbers."""
        return self.status[k] == SUCCESS


class _Rows(np.lib.mixins.NDArrayOperatorsMixin, list[Any]):
    """A list for `json` and for integers, an array for everything else."""

    __hash__ = None

    def __init__(self, table: FitTable) -> None:
        list.__init__(self)
        self.table = table
        self._made: dict[int, Any] = {}

    def _array(self) -> Floats:
        raise NotImplementedError

    def _record(self, k: int) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.table)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __reversed__(self) -> Iterator[Any]:
        return (self[k] for k in reversed(range(len(self))))

    def __contains__(self, item: object) -> bool:
        return any(item is record for record in self._made.values())

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, int | np.integer) or isinstance(key, bool):
            return self._array()[key]
        k = range(len(self))[int(key)]
        if k not in self._made:
            self._made[k] = self._record(k)
        return self._made[k]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self._array(), dtype=dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = (np.asarray(item) if isinstance(item, _Rows) else item for item in inputs)
        return getattr(ufunc, method)(*arrays, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._array(), name)

    def copy(self) -> Any:
        """Return the array, copied."""
        return np.array(self._array())

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return type(self), (self.table,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._array()!r})"


class FitValues(_Rows):
    """``fit_val``: the array (nq, 2, npar) of values and errors; an integer gives the record of that bin.

    A record holds ``params``, ``param_errors``, ``covariance``, ``diagnostics``, ``robust_fit``, ``q_index`` and
    ``status`` ("success", "failed", "insufficient_data"), and ``error``, the reason, where there is no fit. Values are
    then NaN, and errors -1. Errors are 0 where a parameter is held and NaN where it ended on a bound.
    """

    def _array(self) -> Floats:
        return np.stack([self.table.value, self.table.stderr], axis=1)

    def _record(self, k: int) -> FitRecord:
        table = self.table
        record = FitRecord(
            q_index=k,
            status=table.status[k],
            params=table.value[k].copy(),
            param_errors=table.stderr[k].copy(),
            covariance=table.covariance[k].copy(),
            diagnostics=Record({name: _meant(name, column[k]) for name, column in table.diagnostics.items()}),
            robust_fit=bool(table.robust[k]),
            msg=table.message[k],
        )
        if table.q_val is not None:
            record["q_value"] = float(table.q_val[k])
        if not table.fitted(k):
            record["error"] = table.message[k]
        return record


class FitResults(FitValues):
    """``fit_results`` of the engine: as `FitValues`, but for too few points ``params`` and ``errors`` are None."""

    def _record(self, k: int) -> FitRecord:
        record = super()._record(k)
        if record["status"] == INSUFFICIENT:
            record.update(params=None, param_errors=None, errors=None)
        return record


class FitLines(_Rows):
    """``fit_line``: an integer gives ``{fit_x, fit_y, success, msg}`` of that bin; the array is (nq, 128).

    Where there is no fit ``fit_y`` is None, and NaN in the array.
    """

    def _array(self) -> Floats:
        table = self.table
        with np.errstate(all="ignore"):
            found = table.function(table.fit_x, *(column[:, None] for column in table.value.T))
        return np.asarray(np.broadcast_to(found, (len(table), table.fit_x.size)), dtype=np.float64)

    def __getitem__(self, key: Any) -> Any:
        return [self[k] for k in range(len(self))[key]] if isinstance(key, slice) else super().__getitem__(key)

    def _record(self, k: int) -> LineRecord:
        table, success = self.table, self.table.fitted(k)
        with np.errstate(all="ignore"):
            fit_y = table.function(table.fit_x, *table.value[k]) if success else None
        return LineRecord(fit_x=table.fit_x, fit_y=fit_y, success=success, msg=table.message[k])


def to_json(summary: Any, **options: Any) -> str:
    """Write a summary, or any part of one, as strict JSON: null for what is not a number.

    Parameters
    ----------
    summary
        What `fit_g2`, `fit_g2_robust`, `fit_g2_high_performance` or the engine return.
    **options
        Those of `json.dumps`.
    """
    return json.dumps(_strict(summary), allow_nan=False, **options)


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    value = _plain(value)
    if isinstance(value, list):
        return _strict(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    """Return what `json` can write of a value: arrays as lists, NumPy's numbers as Python's."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping) and not isinstance(value, Record):
        return Record(value)
    if isinstance(value, list | tuple) and not isinstance(value, _Rows):
        return [_plain(item) for item in value]
    return value


def _meant(name: str, value: Any) -> Any:
    """Return what a code stands for."""
    if name == "flags":
        return flag_names(int(value))
    if name == "rung":
        return Rung(int(value)).name.lower()
    if name == "errors_from":
        return ErrorsFrom(int(value)).name.lower()
    return np.array(value) if np.ndim(value) else value.item()
