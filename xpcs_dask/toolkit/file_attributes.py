"""What a result file holds, under the names that pyXpcsViewer gave it; read when it is first asked for."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.io.extras import open_arrays
from xpcs_dask.io.open import open_g2
from xpcs_dask.toolkit import file_saxs
from xpcs_dask.toolkit.file_qmap import QMap
from xpcs_dask.toolkit.file_source import FORMAT, Source
from xpcs_dask.toolkit.labels import create_id
from xpcs_dask.toolkit.lazy import Lazy, Loads

Array = NDArray[Any]


class OfQMap:
    """Attribute of a file that is one of its q-map, by the same name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else getattr(instance.qmap, self.name)

    def __set__(self, instance: Any, value: Any) -> None:
        setattr(instance.qmap, self.name, value)


class FileAttributes(Loads):
    """Attributes of one APS 8-ID-I result.

    Opening looks at what the file holds; each attribute is read when it is first asked for, and may be set to something
    else. Those above 1 MB are read-only: they lie in a cache that all files of the process share, which may give
    them up and read them again. A file that has changed since raises `FileRejected`. Pickled without what was read.

    Attributes
    ----------
    fname, label : str
    atype : tuple of str
        ``"Twotime"`` and ``"Multitau"``, what the file holds of these. What belongs to the other is None.
    g2, g2_err : (delay, bin) float32
        As stored, errors of 0 included (pyXpcsViewer replaces them; see `XpcsFile.correct_g2_err`).
    tau : (delay,) int
        Delays in correlated frames.
    t_el : (delay,) float64
        Delays, s.
    t0, g2_t0 : float
        Time between correlated frames, s: stride and averaging included (t0 of two-time results: between raw frames).
    t1 : float
        Exposure of a frame, s.
    start_time : str
    g2_partial, g2_partial_err : (part, delay, bin) float32; None without
    g2_partial_labels : (part,) float
    Int_t : (2, frame) float32
        Number of each frame, its mean counts per pixel.
    saxs_1d : dict
        ``q`` (1/angstrom), ``Iq`` (line, q), the mean over phi and then each phi, ``phi`` (degree), ``num_lines``,
        ``labels``, ``data_raw``. NaN where a bin has no pixel.
    Iqp : (segment, q)
        Mean over phi in segments of the run, as stored: producers divide by the frames of the whole run.
    saxs_2d, saxs_2d_log : (row, column) float32
        Mean image, and its decadic logarithm with pixels without counts set to the least of the others.
    dqmap, sqmap, mask : (row, column)
        Label of the bin of each pixel (0: none), dynamic and static; whether it is used.
    dqlist, sqlist : (n,) float64
        Centres of bins along the first axis of the map, empty ones included, 1/angstrom if it is q.
    dplist, splist : (n,) float64
        Along the second axis.
    bcx, bcy : float
        Column and row of the beam, pixel.
    det_dist, pixel_size : float
        m.
    X_energy : float
        keV, of the q-map (pyXpcsViewer: of /entry, which can be wrong by 10 %).
    c2_g2, c2_g2_segments, c2_processed_bins, c2_t0
        Of two-time results: g2 (frame, bin), in segments (frame, segment, bin), labels of the bins, s between frames.
    G2 : dask.array (delay, 3, row, column); None without
        Products of pixels, not read.
    dataset : xarray.Dataset
        What `xpcs_dask.open_g2` makes of the file: for the verbs of the package.
    qmap : QMap
    fit_summary : dict or None
        Of the last fit.
    """

    fname: str
    label: str
    qmap: Any
    source: Source

    def __init__(self, fname: str | os.PathLike[str], label_style: str | None, qmap_manager: Any) -> None:
        self.fname = os.fspath(fname)
        self.source = Source.open(os.path.abspath(self.fname))
        super().__init__(self.source.path, self.source.state)
        self.qmap = QMap(self.source) if qmap_manager is None else qmap_manager.get_qmap(self.fname)
        self.label = create_id(self.fname, label_style)
        self.fit_summary: dict[str, Any] | None = None

    @property
    def atype(self) -> tuple[str, ...]:
        """What the file holds."""
        return self.source.kinds

    dataset: Lazy[xr.Dataset] = Lazy(lambda self: self._dataset())
    g2: Lazy[Array | None] = Lazy(lambda self: self._curves("g2"))
    g2_err: Lazy[Array | None] = Lazy(lambda self: self._curves("g2_err"))
    tau: Lazy[Array | None] = Lazy(lambda self: self.source.needed("tau").ravel() if self.multitau else None)
    t_el: Lazy[Array | None] = Lazy(lambda self: self.dataset["delay"].values if self.multitau else None)
    t0: Lazy[float] = Lazy(lambda self: self._between_frames("stride", "average"))
    g2_t0: Lazy[float | None] = Lazy(lambda self: self._between_frames("stride", "average") if self.multitau else None)
    t1: Lazy[float] = Lazy(lambda self: self.source.number("count_time"))
    start_time: Lazy[str] = Lazy(lambda self: next(iter(self.source.texts("start_time")), ""))
    g2_partial: Lazy[Array | None] = Lazy(lambda self: self.source.array("g2_partial"))
    g2_partial_err: Lazy[Array | None] = Lazy(lambda self: self.source.array("g2_partial_err"))
    g2_partial_labels: Lazy[Array | None] = Lazy(lambda self: self.source.array("g2_partial_labels"))
    G2: Lazy[Any] = Lazy(lambda self: self._pixel_sums())
    Int_t: Lazy[Array] = Lazy(lambda self: self.source.needed("Int_t"))
    saxs_1d: Lazy[dict[str, Any]] = Lazy(
        lambda self: file_saxs.saxs_1d(self.qmap, self.source.needed("saxs_1d"), self.label)
    )
    Iqp: Lazy[Array] = Lazy(
        lambda self: file_saxs.mean_over_phi(file_saxs.on_grid(self.qmap, self.source.needed("Iqp"), "Iqp"))
    )
    saxs_2d: Lazy[Array] = Lazy(lambda self: self._image())
    saxs_2d_log: Lazy[Array] = Lazy(lambda self: _log(self.saxs_2d))
    abs_cross_section_scale: Lazy[float | None] = Lazy(lambda self: None)
    c2_g2: Lazy[Array | None] = Lazy(lambda self: self.source.array("c2_g2"))
    c2_g2_segments: Lazy[Array | None] = Lazy(lambda self: self.source.array("c2_g2_segments"))
    c2_processed_bins: Lazy[Array | None] = Lazy(lambda self: self._bins() if self.twotime else None)
    c2_t0: Lazy[float | None] = Lazy(
        lambda self: self._between_frames("c2_stride", "c2_average") if self.twotime else None
    )

    bcx: Any = OfQMap()
    bcy: Any = OfQMap()
    det_dist: Any = OfQMap()
    pixel_size: Any = OfQMap()
    X_energy: Any = OfQMap()
    mask: Any = OfQMap()
    dqmap: Any = OfQMap()
    sqmap: Any = OfQMap()
    dqlist: Any = OfQMap()
    sqlist: Any = OfQMap()
    dplist: Any = OfQMap()
    splist: Any = OfQMap()
    map_names: Any = OfQMap()
    map_units: Any = OfQMap()
    dynamic_num_pts: Any = OfQMap()
    static_num_pts: Any = OfQMap()

    @classmethod
    def attributes(cls) -> list[str]:
        """Names of all that is read when it is asked for."""
        return sorted(name for name in dir(cls) if isinstance(getattr(cls, name), Lazy | OfQMap))

    @property
    def multitau(self) -> bool:
        """Whether the file holds multi-tau g2."""
        return "Multitau" in self.atype

    @property
    def twotime(self) -> bool:
        """Whether the file holds two-time maps."""
        return "Twotime" in self.atype

    def _dataset(self) -> xr.Dataset:
        self.source.check_unchanged()
        found = open_g2(self.source.path, format=FORMAT, chunks=None)
        assert isinstance(found, xr.Dataset)
        return found

    def _curves(self, name: str) -> Array | None:
        return np.ascontiguousarray(self.dataset[name].values[0].T) if self.multitau else None

    def _between_frames(self, stride: str, average: str) -> float:
        return self.source.number("frame_time") * self.source.number(stride, 1) * self.source.number(average, 1)

    def _bins(self) -> NDArray[np.int64]:
        return self.source.needed("c2_processed_bins").ravel().astype(np.int64)

    def _image(self) -> Array:
        found = self.source.needed("saxs_2d")
        return found[0] if found.ndim == 3 else found

    def _pixel_sums(self) -> Any:
        if not self.source.has("G2"):
            return None
        self.source.check_unchanged()
        return open_arrays(self.source.path, ["unnormalized_G2"], format=FORMAT)["unnormalized_G2"].data[0]


def _log(image: Array) -> Array:
    lit = image > 0
    if not lit.any():
        return np.zeros(image.shape, np.float32)
    return np.log10(np.where(lit, image, image[lit].min())).astype(np.float32)
