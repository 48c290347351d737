"""What the header of a table calls its columns, and the units that stand beside the names."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.text import NUMBER

KINDS: dict[str, str] = {
    **dict.fromkeys(("delay", "tau", "lag", "t", "time"), "delay"),
    "g2": "g2",
    **dict.fromkeys(("g2_err", "err", "error", "std", "stderr", "sigma"), "g2_err"),
    "q": "q",
    "phi": "phi",
    "qbin": "qbin",
}
"""What a column holds, by its name in lower case without its unit."""

KNOWN = ", ".join(KINDS)

_NAMED = re.compile(r"(?P<name>[^\[(]*?)\s*(?:[\[(]\s*(?P<unit>[^\])]*?)\s*[\])])?")
_BY_Q = re.compile(rf"(?P<q>{NUMBER})(?P<second>_{NUMBER})?")


@dataclass(frozen=True)
class Column:
    """One column: a value of `KINDS`, "curve" for g2 at the q that names it, or "index" for row numbers."""

    kind: str
    unit: str = ""
    q: float = np.nan
    note: str = ""


def column(path: str, text: str, *, first: bool) -> Column:
    """Understand the name of a column, such as ``tau_ms``, ``delay (s)``, ``g2`` or ``0.00304``.

    Parameters
    ----------
    path : str
        For the error.
    text : str
        The name; a unit stands in brackets or after the last underscore.
    first : bool
        Whether it is the first column, which is of row numbers if it has no name.

    Raises
    ------
    FileRejected
        If the name is not known.
    """
    if first and not text:
        return Column("index")
    by_q = _BY_Q.fullmatch(text)
    if by_q:
        note = "only the first number of the names of columns is read as q" if by_q["second"] else ""
        return Column("curve", q=float(by_q["q"]), note=note)
    named = _NAMED.fullmatch(text)
    name, unit = (named["name"].lower(), named["unit"] or "") if named else ("", "")
    if name not in KINDS and not unit:
        head, _, tail = text.rpartition("_")
        name, unit = head.lower(), tail
    if name not in KINDS:
        raise FileRejected(path, f"the column {text!r} is not known; known are {KNOWN}, with units as in 'tau (ms)'")
    return Column(KINDS[name], unit)
