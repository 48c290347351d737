"""What lies in a range that a user gave; a range that holds nothing is an error, not everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError, NoUsableInputError


def inside(
    values: NDArray[np.float64], limits: Sequence[float] | None, name: str, unit: str, path: str
) -> NDArray[np.bool_]:
    """Which values lie within limits, ends included; all of them without limits.

    Raises
    ------
    ConfigError
        If the limits are not two numbers in order.
    NoUsableInputError
        If none does; says which there are.
    """
    if limits is None:
        return np.ones(values.shape, bool)
    if len(limits) != 2 or not limits[0] <= limits[1]:
        raise ConfigError(f"a range of {name} is two numbers, the smaller first, not {tuple(limits)}")
    found = (values >= limits[0]) & (values <= limits[1])
    if not found.any():
        raise NoUsableInputError(
            f"{path}: nothing has {name} from {limits[0]:g} to {limits[1]:g} {unit}; "
            f"it goes from {values.min():.4g} to {values.max():.4g}"
        )
    return found
