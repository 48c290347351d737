"""Short names of result files, as lists and legends show them."""

from __future__ import annotations

import os
import re
import warnings

__all__ = ["create_id"]

_COUNTERS = re.compile(r"_(\w)0+(\d+)")
"""A letter or digit, zeros that only fill up, and what counts: ``_a0009``, ``_f100000``, ``_00001``."""
_ENDING = re.compile(r"(_results)?\.(hdf|hdf5|h5)$", re.IGNORECASE)
_SHORT = 10
"""Names shorter than this are never cut into parts."""


def create_id(fname: str | os.PathLike[str], label_style: str | None = None, simplify_flag: bool = True) -> str:
    """Make a short label from the name of a result file.

    Parameters
    ----------
    fname : str or path
        Its folder is left out.
    label_style : str, optional
        Numbers of the parts between underscores that make the label, joined by underscores: ``"0_2"`` is the first and
        the third, negative ones count from the end.
    simplify_flag : bool
        Whether ``_results.hdf`` and zeros that fill up counters are left out: ``_a0009`` becomes ``_a9``.

    Returns
    -------
    str
        The whole (simplified) name where `label_style` asks for no part that exists; a `UserWarning` says so.
    """
    name = os.path.basename(os.fspath(fname))
    if simplify_flag:
        name = _ENDING.sub("", _COUNTERS.sub(r"_\1\2", name))
    if not label_style or len(name) < _SHORT:
        return name
    try:
        wanted = [int(number) for number in label_style.split("_")]
    except ValueError:
        warnings.warn(
            f"label_style {label_style!r} is no list of numbers such as '0_2'; the label is the whole name",
            stacklevel=2,
        )
        return name
    parts = name.split("_")
    missing = [number for number in wanted if not -len(parts) <= number < len(parts)]
    if missing:
        warnings.warn(
            f"label_style {label_style!r} asks for part {missing[0]}, but {name} has parts 0 to {len(parts) - 1}",
            stacklevel=2,
        )
    return "_".join(parts[number] for number in wanted if number not in missing) or name
