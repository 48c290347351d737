"""The q-map of a result file: bins and their labels, maps of pixels, geometry. Nothing is invented where it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.io.schema import PER_ANGSTROM
from xpcs_dask.io.units import factor
from xpcs_dask.toolkit.file_source import Source
from xpcs_dask.toolkit.lazy import Lazy, Loads
from xpcs_dask.toolkit.ranges import inside

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

HC = 12.398419843320026
"""Photon energy times wavelength, keV angstrom (CODATA 2019: exact)."""
_FORMATS = {("q", "phi"): ("q={:.5f} {}", "φ={:.1f} {}"), ("x", "y"): ("x={:.1f} {}", "y={:.1f} {}")}


class QMap(Loads):
    """Bins, maps and geometry as pyXpcsViewer names them, each read when it is first asked for.

    Parameters
    ----------
    source : Source

    Raises
    ------
    FileRejected
        From an attribute that the file lacks, or whose numbers do not fit together.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source.path, source.state)
        self.source = source

    mask: Lazy[NDArray[Any]] = Lazy(lambda self: self.source.needed("mask"))
    dqmap: Lazy[NDArray[Any]] = Lazy(lambda self: self.source.needed("dqmap"))
    sqmap: Lazy[NDArray[Any]] = Lazy(lambda self: self.source.needed("sqmap"))
    dqlist: Lazy[Floats] = Lazy(lambda self: self._centres("dqlist", 0))
    sqlist: Lazy[Floats] = Lazy(lambda self: self._centres("sqlist", 0))
    dplist: Lazy[Floats] = Lazy(lambda self: self._centres("dplist", 1))
    splist: Lazy[Floats] = Lazy(lambda self: self._centres("splist", 1))
    dynamic_index_mapping: Lazy[Integers] = Lazy(lambda self: self._places("dynamic"))
    static_index_mapping: Lazy[Integers] = Lazy(lambda self: self._places("static"))
    dynamic_num_pts: Lazy[Integers] = Lazy(lambda self: self.source.needed("dynamic_num_pts").ravel().astype(int))
    static_num_pts: Lazy[Integers] = Lazy(lambda self: self.source.needed("static_num_pts").ravel().astype(int))
    map_names: Lazy[list[str]] = Lazy(lambda self: self._two_texts("map_names"))
    map_units: Lazy[list[str]] = Lazy(lambda self: self._two_texts("map_units"))
    bcx: Lazy[float] = Lazy(lambda self: self.source.number("bcx"))
    bcy: Lazy[float] = Lazy(lambda self: self.source.number("bcy"))
    det_dist: Lazy[float] = Lazy(lambda self: self.source.number("det_dist"))
    pixel_size: Lazy[float] = Lazy(lambda self: self.source.number("pixel_size"))
    X_energy: Lazy[float] = Lazy(lambda self: self.source.number("X_energy"))

    @property
    def k0(self) -> float:
        """Wave number, 1/angstrom."""
        return 2 * np.pi * self.X_energy / HC

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The q at the edges of the detector: left, right, top, bottom, 1/angstrom, for small angles."""
        rows, columns = self.mask.shape
        per_pixel = self.pixel_size / self.det_dist * self.k0
        return (
            -self.bcx * per_pixel,
            (columns - self.bcx) * per_pixel,
            -self.bcy * per_pixel,
            (rows - self.bcy) * per_pixel,
        )

    def get_qbin_label(self, qbin: int, append_qbin: bool = False) -> str:
        """Return what a bin (from 1) is called, with its values and units; ``"qbin=3, "`` first if asked for."""
        count = self.dynamic_index_mapping.size
        if not 1 <= qbin <= count:
            raise ConfigError(f"qbin {qbin} does not exist: bins of {self.source.path} are 1 to {count}")
        first, second = divmod(int(self.dynamic_index_mapping[qbin - 1]), int(self.dynamic_num_pts[1]))
        names, units = self.map_names, self.map_units
        texts = _FORMATS.get((names[0], names[1]), (names[0] + "={:.3f} {}", names[1] + "={:.3f} {}"))
        label = texts[0].format(self.dqlist[first], units[0])
        if self.dynamic_num_pts[1] > 1:
            label += ", " + texts[1].format(self.dplist[second], units[1])
        return f"qbin={qbin}, {label}" if append_qbin else label

    def get_qbin_in_qrange(
        self, qrange: Sequence[float] | None, zero_based: bool = True
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return the columns of g2 whose q lies in a range, ends included, and the q of each of them.

        Unlike pyXpcsViewer there is one q for each column also where the map has empty bins, and a range that holds no
        bin raises `NoUsableInputError` instead of meaning all bins.
        """
        if "q" not in self.map_names:
            raise self.source.rejected(f"the axes of the q-map are {' and '.join(self.map_names)}: none of them is q")
        axis = self.map_names.index("q")
        place = np.divmod(self.dynamic_index_mapping, self.dynamic_num_pts[1])[axis]
        q = (self.dqlist, self.dplist)[axis][place]
        columns = np.flatnonzero(inside(q, qrange, "q", "1/angstrom", self.source.path))
        return columns + (not zero_based), q[columns]

    def get_qbinlist_at_qindex(self, qindex: int, zero_based: bool = True) -> list[int]:
        """Return the columns of g2 (or bins, from 1) that share a place on the first axis of the map."""
        if not 0 <= qindex < self.dynamic_num_pts[0]:
            raise ConfigError(f"qindex {qindex} does not exist: it goes from 0 to {self.dynamic_num_pts[0] - 1}")
        columns = np.flatnonzero(self.dynamic_index_mapping // self.dynamic_num_pts[1] == qindex)
        return [int(column) + (not zero_based) for column in columns]

    def crop(self, target: str = "dqmap") -> tuple[slice, slice]:
        """Rows and columns that hold all pixels of bins of ``"dqmap"`` or ``"sqmap"``."""
        if target not in {"dqmap", "sqmap"}:
            raise ConfigError(f"target: {target!r} is neither 'dqmap' nor 'sqmap'")
        rows, columns = np.nonzero(getattr(self, target))
        if not rows.size:
            raise self.source.rejected(f"{target} has no pixel in any bin")
        return slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)

    def _centres(self, name: str, axis: int) -> Floats:
        values = self.source.needed(name).ravel().astype(np.float64)
        if self.map_names[axis] != "q":
            return values
        unit = self.map_units[axis]
        scale = factor(unit, PER_ANGSTROM)
        if scale is None:
            raise self.source.rejected(f"the unit {unit!r} of q is not known; known are {', '.join(PER_ANGSTROM)}")
        return values * scale

    def _places(self, kind: str) -> Integers:
        """Place of each bin in the grid, empty bins of which are left out."""
        places = self.source.needed(f"{kind}_index_mapping").ravel().astype(np.int64)
        grid = self.dynamic_num_pts if kind == "dynamic" else self.static_num_pts
        sizes = [values.size for values in ((self.dqlist, self.dplist) if kind == "dynamic" else self._static_axes())]
        if list(grid) != sizes or places.min() < 0 or places.max() >= np.prod(grid):
            raise self.source.rejected(
                f"the {kind} q-map has a grid of {grid[0]} x {grid[-1]} bins and {sizes[0]} x {sizes[1]} bin centres, "
                f"and sends bins to places {places.min()} to {places.max()}"
            )
        return places

    def _static_axes(self) -> tuple[Floats, Floats]:
        return self.sqlist, self.splist

    def _two_texts(self, name: str) -> list[str]:
        found = self.source.texts(name)
        if len(found) != 2:
            raise self.source.rejected(
                f"/xpcs/qmap/{name} must name two axes, found {found}: the q-map is not complete"
            )
        return found
