"""One result of a file as the smaller formats give it, and how it becomes a `FileInfo` or a pair of arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.io.reader import Curves, ErrorKind, FileInfo, Floats, hash_curves, unknown

ZERO_DELAY = "delay 0 is left out: it holds the shot noise"


@dataclass
class Result:
    """Curves with their delays and q. A delay of 0 at the start holds the shot noise: it is left out, and noted."""

    delay: Floats
    """(delay,) in s."""
    q: Floats
    """(qbin,) in 1/angstrom."""
    g2: Curves
    """(qbin, delay)."""
    err: Curves | None
    """(qbin, delay), or None where the file has no errors."""
    phi: Floats = field(default_factory=unknown)
    """(qbin,) in degree."""
    labels: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    notes: tuple[str, ...] = ()
    placeholder: bool = False
    """Whether the errors are known to measure nothing."""

    def __post_init__(self) -> None:
        if self.delay.size and self.delay[0] == 0:
            self.delay, self.g2 = self.delay[1:], self.g2[:, 1:]
            self.err = None if self.err is None else self.err[:, 1:]
            self.notes = (*self.notes, ZERO_DELAY)

    @property
    def error_kind(self) -> ErrorKind:
        """What the errors are."""
        if self.err is None:
            return "none"
        return "placeholder" if self.placeholder else "quoted"

    def curves(self) -> tuple[Curves, Curves]:
        """g2 and its error, (qbin, delay); NaN where there is no error."""
        return self.g2, np.full_like(self.g2, np.nan) if self.err is None else self.err

    def info(self, path: str, format: str, notes: tuple[str, ...] = (), **known: Any) -> FileInfo:
        """All but g2, with what else is `known` of the file."""
        return FileInfo(
            path=path,
            format=format,
            delay=self.delay,
            q=self.q,
            phi=self.phi,
            labels=self.labels,
            content_hash=hash_curves(self.g2),
            error_kind=self.error_kind,
            notes=(*notes, *self.notes),
            **known,
        )
