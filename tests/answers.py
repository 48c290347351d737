"""When two answers of a file are the same."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.index import Answer
from xpcs_dask.io.reader import FileInfo


def same(a: Answer, b: Answer) -> bool:
    """Whether two answers have the same in every field, NaN being NaN."""
    if isinstance(a, FileRejected) or isinstance(b, FileRejected):
        return type(a) is type(b) and a.args == b.args
    for name in (field.name for field in fields(FileInfo)):
        one, other = getattr(a, name), getattr(b, name)
        if name == "scalars":
            if [*one] != [*other]:
                return False
            one, other = (np.array([*values.values()]) for values in (one, other))
        if isinstance(one, float | np.ndarray):
            if not np.array_equal(one, other, equal_nan=True) or np.shape(one) != np.shape(other):
                return False
        elif one != other:
            return False
    return True
