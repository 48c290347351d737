"""What a format's reader must offer, and what it tells about one file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import FileRejected

Floats: TypeAlias = NDArray[np.float64]
Curves: TypeAlias = NDArray[np.float32]
ErrorKind: TypeAlias = Literal["quoted", "placeholder", "none"]

MOST_POINTS = 2**27
"""Points of g2 that one file may hold (0.5 GB in float32); a header that claims more is taken for damage."""


def unknown() -> Floats:
    """Value of what a format does not tell; it is spread over the bins or delays."""
    return np.array(np.nan)


@dataclass(frozen=True)
class Told:
    """What the user tells where files do not; empty is not told. A format lists in ``OPTIONS`` what it makes use of."""

    entry: str = ""
    """Which of several results in the file."""
    delay_unit: str = ""
    q_unit: str = ""


NOTHING = Told()
"""Nothing told: every file must tell all by itself."""


@dataclass(frozen=True, eq=False)
class FileInfo:
    """All that is known of one file but g2 itself: what opening it costs one small read for.

    Per-delay and per-bin fields may be given as scalars. Checked when made: a delay that is not positive or does not
    grow, a q that is not a number and lengths that disagree raise `FileRejected`, whatever the format.
    """

    path: str
    format: str
    delay: Floats
    """(delay,) in s."""
    q: Floats
    """(qbin,) in 1/angstrom; all NaN where a format does not tell q, but never here and there."""
    content_hash: int
    """`hash_curves` of g2 as `read_g2` returns it."""
    phi: Floats = field(default_factory=unknown)
    """(qbin,) in degree."""
    labels: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(qbin,) the file's own labels; from 1 upwards if not given."""
    entry: str = ""
    """Which of several results in the file; handed back to `read_g2`."""
    level: Floats = field(default_factory=unknown)
    """(delay,) multi-tau level."""
    n_products: Floats = field(default_factory=unknown)
    """(delay,) products averaged."""
    n_pixels: Floats = field(default_factory=unknown)
    """(qbin,) pixels."""
    rate: Floats = field(default_factory=unknown)
    """(qbin,) coincidences per product at level 0 for g2 = 1 (see `io.counting.pair_rate`)."""
    frames: float = np.nan
    """Frames after stride and averaging."""
    stride: int = 1
    average: int = 1
    frame_time: float = np.nan
    """s, between raw frames."""
    runs: int = 1
    """Measurements averaged into the file."""
    error_kind: ErrorKind = "quoted"
    """Whether the errors are the producer's, a placeholder that measures nothing, or not there (NaN)."""
    start_time: datetime | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    """Values of names in `schema.SCALARS`, in the units stated there."""
    notes: tuple[str, ...] = ()
    """What was left out or chosen in reading, one line each."""
    size: int = -1
    """Bytes; taken from the file system if not given."""

    def __post_init__(self) -> None:
        delay, q = np.asarray(self.delay, np.float64), np.asarray(self.q, np.float64)
        self._check(delay, q)
        labels = np.asarray(self.labels, np.int64) if np.size(self.labels) else np.arange(1, q.size + 1)
        filled: dict[str, Any] = {"delay": delay, "q": q, "labels": labels}
        for name, length in (("phi", q), ("n_pixels", q), ("rate", q), ("level", delay), ("n_products", delay)):
            value = np.asarray(getattr(self, name), np.float64)
            if value.shape not in {(), length.shape}:
                raise FileRejected(self.path, f"{name} has {value.size} values where {length.size} are expected")
            filled[name] = np.broadcast_to(value, length.shape).copy()
        if self.size < 0:
            filled["size"] = Path(self.path).stat().st_size
        for name, value in filled.items():
            object.__setattr__(self, name, value)

    def _check(self, delay: Floats, q: Floats) -> None:
        if delay.ndim != 1 or q.ndim != 1 or not delay.size or not q.size:
            raise FileRejected(self.path, f"it holds {q.size} curves of {delay.size} delays: nothing to read")
        if not np.isfinite(delay).all() or delay[0] <= 0:
            raise FileRejected(self.path, f"delays must be positive numbers, found {delay.min():g} s")
        if (np.diff(delay) <= 0).any():
            at = int(np.argmax(np.diff(delay) <= 0)) + 1
            raise FileRejected(
                self.path, f"delays do not increase: number {at + 1} is {delay[at]:g} s after {delay[at - 1]:g} s"
            )
        if not np.isfinite(q).all() and not np.isnan(q).all():
            raise FileRejected(self.path, f"q of bin {int(np.argmin(np.isfinite(q))) + 1} is not a number")
        if np.size(self.labels) and np.shape(self.labels) != q.shape:
            raise FileRejected(self.path, f"{np.size(self.labels)} labels for {q.size} bins")

    @property
    def name(self) -> str:
        """Name of the file, without its folder."""
        return Path(self.path).name

    @property
    def shape(self) -> tuple[int, int]:
        """(qbin, delay)."""
        return self.q.size, self.delay.size


class Reader(Protocol):
    """One format. A module with these names is a reader; `io.formats.READERS` lists them."""

    SUFFIXES: tuple[str, ...]
    """Endings, in lower case, of files that are looked at in a folder."""

    OPTIONS: tuple[str, ...]
    """Fields of `Told` that the format makes use of."""

    def sniff(self, path: str) -> bool:
        """Whether the file is of this format, from its content; a damaged file may raise `FileRejected`."""

    def read_meta(self, path: str, include: Collection[str] = (), told: Told = NOTHING) -> FileInfo:
        """All but g2, with those of `schema.SCALARS` in `include` that the file has; or raise `FileRejected`."""

    def read_g2(self, path: str, entry: str = "") -> tuple[Curves, Curves]:
        """Return g2 and its error, each (qbin, delay) float32 as stored; NaN where there is no error."""


def hash_curves(g2: Curves) -> int:
    """64-bit hash of g2 (qbin, delay): the same curves have the same, in any file format."""
    stored = np.ascontiguousarray(g2, dtype="<f4")
    shape = np.array(stored.shape, dtype="<i8").tobytes()
    return int.from_bytes(hashlib.blake2b(shape + stored.tobytes(), digest_size=8).digest(), "little")


def curve_ids(content_hash: int | NDArray[np.uint64], labels: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One uint64 a bin of a file, from its content and the bin's label alone (splitmix64, Steele et al. 2014).

    Shapes broadcast: ``(file, 1)`` hashes and ``(file, qbin)`` labels give ``(file, qbin)``.
    """
    z = np.full(labels.shape, content_hash, np.uint64) + labels.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
