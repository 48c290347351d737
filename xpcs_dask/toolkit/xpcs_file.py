"""`XpcsFile`: one APS result file, its data as pyXpcsViewer and the XPCS Toolkit hand them out, and their fits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit import file_memory, file_pixels, file_saxs, file_twotime
from xpcs_dask.toolkit.file_attributes import FileAttributes
from xpcs_dask.toolkit.file_fitting import FileFitting
from xpcs_dask.toolkit.labels import create_id
from xpcs_dask.toolkit.memory_monitor import SHARED
from xpcs_dask.toolkit.ranges import inside

__all__ = ["XpcsFile"]

Floats = NDArray[np.float64]
Range = tuple[float, float] | None


class XpcsFile(FileFitting, FileAttributes):
    """One APS 8-ID-I result (boost-corr), multi-tau, two-time or both.

    Parameters
    ----------
    fname : str or path
    fields : sequence of str, optional
        Attributes to read now; all others are read when they are asked for.
    label_style : str, optional
        Parts of the name that make the label; see `create_id`.
    qmap_manager : object, optional
        With a method ``get_qmap(fname)`` that returns a `QMap`, so that files share one.

    Raises
    ------
    FileRejected
        If it is not such a file. What is wrong with a part of it (a q-map that is missing, g2 that is transposed) is
        raised when that part is asked for: nothing is put in its place.

    Examples
    --------
    >>> xf = XpcsFile("A001_results.hdf")  # doctest: +SKIP
    >>> q, t, g2, g2_err, labels = xf.get_g2_data(qrange=(0.003, 0.01))  # doctest: +SKIP
    """

    def __init__(
        self,
        fname: str | os.PathLike[str],
        fields: Sequence[str] | None = None,
        label_style: str | None = None,
        qmap_manager: Any = None,
    ) -> None:
        FileAttributes.__init__(self, fname, label_style, qmap_manager)
        self.load_data(fields)

    def update_label(self, label_style: str | None) -> str:
        """Make the label anew, and return it; see `create_id`."""
        self.label = create_id(self.fname, label_style)
        self.forget(lambda name: name == "saxs_1d")
        return self.label

    def load_data(self, extra_fields: Sequence[str] | None = None) -> dict[str, Any]:
        """Read attributes now, and return them by name."""
        names = [extra_fields] if isinstance(extra_fields, str) else list(extra_fields or ())
        for name in names:
            if name not in self.attributes():
                raise ConfigError(f"fields: {name!r} is not known; known are {', '.join(self.attributes())}")
        return {name: getattr(self, name) for name in names}

    def get_hdf_info(self, fstr: str | Sequence[str] | None = None) -> dict[str, Any]:
        """Return what the beamline and the producer noted, by group and name, units in parentheses.

        Parameters
        ----------
        fstr : str or sequence of str, optional
            Keep entries alone whose path holds one of these.
        """
        wanted = [fstr] if isinstance(fstr, str) else list(fstr or ())
        info = self.kept("hdf_info", self.source.info)
        return _holding(info, wanted) if wanted else info

    def get_info_at_position(self, x: int, y: int) -> str | None:
        """Return intensity and geometry of the pixel in column `x` and row `y`; None outside the detector."""
        x, y = int(x), int(y)
        rows, columns = self.saxs_2d.shape
        if not (0 <= x < columns and 0 <= y < rows):
            return None
        return f"I={self.saxs_2d[y, x]:.4e} {file_pixels.described(self.qmap, x, y)}"

    def get_detector_extent(self) -> tuple[float, float, float, float]:
        """Return q at the left, right, top and bottom edge of the detector, 1/angstrom."""
        extent: tuple[float, float, float, float] = self.qmap.extent
        return extent

    def get_qbin_label(self, qbin: int, append_qbin: bool = False) -> str:
        """Return what a bin (from 1) is called, as ``"q=0.00312 Å⁻¹, φ=30.1 deg"``; ConfigError if there is none."""
        label: str = self.qmap.get_qbin_label(qbin, append_qbin=append_qbin)
        return label

    def get_qbinlist_at_qindex(self, qindex: int, zero_based: bool = True) -> list[int]:
        """Return the columns of g2 (bins from 1 unless `zero_based`) at one place of the first axis of the map."""
        bins: list[int] = self.qmap.get_qbinlist_at_qindex(qindex, zero_based=zero_based)
        return bins

    def get_g2_data(
        self, qrange: Range = None, trange: Range = None
    ) -> tuple[Floats, Floats, NDArray[Any], NDArray[Any], list[str]]:
        """Return g2 within ranges of q (1/angstrom) and delay (s), ends included.

        Returns
        -------
        q : (bin,)
            1/angstrom; one for each column of g2 also where the map has empty bins.
        t_el : (delay,)
            s.
        g2, g2_err : (delay, bin)
            Errors as stored (pyXpcsViewer's are those of `correct_g2_err`).
        labels : list of str
            As ``"qbin=3, q=0.00312 Å⁻¹"``.

        Raises
        ------
        ConfigError
            Without multi-tau g2.
        NoUsableInputError
            If no bin or no delay lies in the range.
        """
        g2, errors, t_el = self._needs_multitau(self.g2, self.g2_err, self.t_el)
        columns, q = self.qmap.get_qbin_in_qrange(qrange, zero_based=True)
        kept = self._within(t_el, trange)
        labels = [self.get_qbin_label(int(column) + 1, append_qbin=True) for column in columns]
        return q, t_el[kept], g2[kept][:, columns], errors[kept][:, columns], labels

    def get_g2_stability_data(
        self, qrange: Range = None, trange: Range = None
    ) -> tuple[Floats, Floats, NDArray[Any], NDArray[Any], list[str], NDArray[Any]]:
        """Return g2 of parts of the run, each from its start; as `get_g2_data` otherwise.

        Returns
        -------
        q, t_el
        g2, g2_err : (part, delay, bin)
            NaN where a part is too short for a delay.
        labels : list of str
            Of the bins.
        parts : (part,)
            Products at the shortest delay so far, as the file labels its parts.
        """
        parts = self.g2_partial, self.g2_partial_err, self.g2_partial_labels
        if any(part is None for part in parts):
            raise self.source.rejected(
                "it has no g2 of parts of the run (boost-corr writes it with num_partial_g2 > 0)"
            )
        g2, errors, frames, t_el = self._needs_multitau(*parts, self.t_el)
        columns, q = self.qmap.get_qbin_in_qrange(qrange, zero_based=True)
        kept = self._within(t_el, trange)
        labels = [self.get_qbin_label(int(column) + 1, append_qbin=True) for column in columns]
        return q, t_el[kept], g2[:, kept][:, :, columns], errors[:, kept][:, :, columns], labels, frames

    def get_saxs1d_data(
        self,
        bkg_xf: XpcsFile | None = None,
        bkg_weight: float = 1.0,
        qrange: Range = None,
        sampling: int = 1,
        use_absolute_crosssection: bool = False,
        norm_method: str | None = None,
        target: str = "saxs1d",
    ) -> tuple[Floats, Floats, str, str]:
        """Return scattered intensity over q.

        Parameters
        ----------
        bkg_xf : XpcsFile, optional
            Whose mean intensity, times `bkg_weight`, is subtracted; what falls below 0 becomes NaN.
        qrange : (float, float), optional
            1/angstrom, ends included.
        sampling : int
            Every how many-th q is kept (pyXpcsViewer thins out the lines instead).
        use_absolute_crosssection : bool
            Multiply by `abs_cross_section_scale`, which no such file tells: set it first.
        norm_method : None, "q2", "q4" or "I0"
            See `norm_saxs_data`.
        target : "saxs1d" or "saxs1d_partial"
            The mean over the run with a line a phi, or its segments.

        Returns
        -------
        q : (n,)
        intensity : (line, n)
        xlabel, ylabel : str

        Raises
        ------
        ConfigError
            If q of the background differs, or the scale is not known (pyXpcsViewer leaves the step out).
        NoUsableInputError
            If nothing lies in the range.
        """
        if target not in {"saxs1d", "saxs1d_partial"}:
            raise ConfigError(f"target: {target!r} is neither 'saxs1d' nor 'saxs1d_partial'")
        q, lines = self.saxs_1d["q"], self.saxs_1d["Iq"] if target == "saxs1d" else self.Iqp
        if bkg_xf is not None:
            lines = self._less(lines, bkg_xf, bkg_weight, target)
        if use_absolute_crosssection:
            if self.abs_cross_section_scale is None:
                raise ConfigError(f"{self.fname} tells no absolute scale; set abs_cross_section_scale of the XpcsFile")
            lines = lines * self.abs_cross_section_scale
        return self.norm_saxs_data(*file_saxs.within(q, lines, qrange, sampling, self.fname), norm_method=norm_method)

    def norm_saxs_data(self, q: Floats, Iq: Floats, norm_method: str | None = None) -> tuple[Floats, Floats, str, str]:
        """Return q, intensity and labels of axes; intensity times q^2 (``"q2"``) or q^4 (``"q4"``).

        With ``"I0"`` each line is divided by its own first positive value (pyXpcsViewer divides all by the first line).
        """
        return file_saxs.normed(q, Iq, norm_method)

    def get_twotime_qbin_labels(self) -> list[str]:
        """Return what the bins with a two-time map are called, in their order."""
        return [self.get_qbin_label(int(qbin), append_qbin=True) for qbin in self._mapped_bins()]

    def get_twotime_maps(
        self,
        scale: str = "log",
        auto_crop: bool = True,
        highlight_xy: tuple[int, int] | None = None,
        selection: int | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[Any], int | None]:
        """Return the map of bins and the mean image, for display beside a two-time map.

        Parameters
        ----------
        scale : "log" or "linear"
            Of the image.
        auto_crop : bool
            Whether both are cut to the rows and columns that hold bins.
        highlight_xy : (int, int), optional
            Column and row of the map as it is shown, whose bin is made the brightest.
        selection : int, optional
            Or the number of the bin among those with a two-time map, as `get_twotime_c2` takes it (in pyXpcsViewer
            among all bins, which is another one where not all have a map).

        Returns
        -------
        dqmap : (row, column) float32
            Labels of bins, last row first; NaN where masked.
        saxs : (row, column)
            The image, first row first.
        selection : int or None
            Number of the bin that is brightest, for `get_twotime_c2`; None if it has no two-time map.
        """
        if scale not in {"log", "linear"}:
            raise ConfigError(f"scale: {scale!r} is neither 'log' nor 'linear'")
        bins = self._mapped_bins() if self.twotime else np.arange(1, self.qmap.dynamic_index_mapping.size + 1)
        region = self.qmap.crop() if auto_crop else (slice(None), slice(None))
        shown, chosen = file_twotime.display_map(self.qmap, bins, region, highlight_xy, selection)
        return shown, (self.saxs_2d_log if scale == "log" else self.saxs_2d)[region], chosen

    def get_twotime_c2(self, selection: int = 0, correct_diag: bool = True, max_size: int = 32678) -> dict[str, Any]:
        """Return the two-time map of one bin.

        Parameters
        ----------
        selection : int
            Number of the bin among those with a map, from 0.
        correct_diag : bool
            Whether the diagonal, which carries shot noise, becomes the mean of what lies beside it.
        max_size : int
            Largest number of rows; of larger maps every second, third, ... frame is kept.

        Returns
        -------
        dict
            ``c2_mat`` (frame, frame), ``delta_t`` (s between its frames), ``acquire_period`` (s between correlated
            frames), ``dq_selection``, ``g2_full`` (frame,), whose lag 0 is shot noise, ``g2_partial`` (segment, frame).

        Raises
        ------
        ConfigError
            Without two-time maps, or if there is no such number.
        """
        bins, t0 = self._mapped_bins(), self.c2_t0
        assert t0 is not None
        found: dict[str, Any] = self.kept(
            f"c2 {selection} {correct_diag} {max_size}",
            lambda: file_twotime.one_map(self.source, bins, t0, selection, correct_diag, max_size),
        )
        return found

    def get_twotime_stream(self, **kwargs: Any) -> tuple[list[str], Iterator[tuple[int, NDArray[np.float32]]]]:
        """Return names of the two-time maps, and an iterator over (number from 1, map) that reads one at a time.

        Parameters
        ----------
        max_size : int
            As in `get_twotime_c2`; -1 (default) keeps all frames.
        correct_diag : bool
            As there; default True.
        """
        return file_twotime.stream(self.source, self._mapped_bins(), **kwargs)

    def get_roi_data(self, roi_parameter: Mapping[str, Any], phi_num: int = 180) -> tuple[Floats, NDArray[Any]]:
        """Return the mean intensity inside a region of the detector.

        Parameters
        ----------
        roi_parameter : mapping
            ``sl_type="Pie"`` with ``angle_range`` (from, to, degree, against the clock) and ``dist`` (pixel), beyond
            which intensity is NaN: over q, in the file's own static bins. Or ``sl_type="Ring"`` with ``radius`` (from,
            to, pixel): over the azimuth.
        phi_num : int
            Bins of the azimuth.

        Returns
        -------
        x : (n,)
            q in 1/angstrom, or the middle of each bin of the azimuth in degree.
        intensity : (n,)
            NaN where no pixel is.
        """
        return file_saxs.region(self.qmap, self.saxs_2d, roi_parameter, phi_num)

    def export_saxs1d(self, roi_list: Sequence[Mapping[str, Any]], folder: str | os.PathLike[str]) -> list[str]:
        """Write intensity over q, and of each region, as text files; return their paths."""
        regions = [(str(roi.get("sl_type")), *self.get_roi_data(roi)) for roi in roi_list]
        return file_saxs.write(os.fspath(folder), self.label, self.saxs_1d, regions)

    def get_memory_usage_report(self) -> dict[str, Any]:
        """Return what of this file is in memory.

        Returns
        -------
        dict
            ``file``, ``arrays`` (by attribute: ``memory_mb``, ``kept_by`` object, cache or user, ``shape``, ``dtype``),
            ``total_mb``; of the process ``process_mb``, ``available_mb``, ``memory_pressure``, ``cache``.
        """
        return file_memory.report(self.fname, self._parts())

    def optimize_memory_usage(self, optimize_dtypes: bool = True) -> dict[str, Any]:
        """Give up all that can be read again; what was set by hand is stored narrower where that loses nothing.

        Returns
        -------
        dict
            ``before_mb``, ``after_mb``, ``freed_mb``, and ``narrowed``: names of arrays that are float32 now.
        """
        return file_memory.optimize(self._parts(), optimize_dtypes)

    def clear_cache(self, cache_type: str = "all") -> None:
        """Give up what was read: ``"g2"``, ``"saxs"``, ``"twotime"``, ``"qmap"`` or ``"all"``; not results of fits."""
        file_memory.clear(self._parts(), cache_type)

    def get_cache_stats(self) -> dict[str, Any]:
        """Return what `DataCache.get_stats` tells of the cache of all files, and ``file_mb`` and ``file_items``."""
        mine = SHARED.held(self.source.path).values()
        return SHARED.get_stats() | {"file_items": len(mine), "file_mb": sum(item.size_mb for item in mine)}

    def __repr__(self) -> str:
        return f"<XpcsFile {self.label}: {' and '.join(self.atype)}, {self.fname}>"

    def __str__(self) -> str:
        lines = [f"{name:18}{entry['shape'] or entry['dtype']}" for name, entry in self._arrays().items()]
        return "\n  ".join([repr(self), *lines])

    def _arrays(self) -> dict[str, Any]:
        arrays: dict[str, Any] = self.get_memory_usage_report()["arrays"]
        return arrays

    def _parts(self) -> tuple[Any, ...]:
        return (self, self.qmap) if hasattr(self.qmap, "at_hand") else (self,)

    def _needs_multitau(self, *values: Any) -> tuple[Any, ...]:
        if not self.multitau:
            raise ConfigError(f"{self.fname} has two-time results only: there is no multi-tau g2")
        return values

    def _mapped_bins(self) -> NDArray[np.int64]:
        if self.c2_processed_bins is None:
            raise ConfigError(f"{self.fname} has no two-time results")
        return np.asarray(self.c2_processed_bins, np.int64)

    def _within(self, t_el: Floats, trange: Range) -> NDArray[np.bool_]:
        return inside(t_el, trange, "delay", "s", self.fname)

    def _less(self, lines: Floats, other: XpcsFile, weight: float, target: str) -> Floats:
        """Subtract the mean of another file; what falls below 0 is not known."""
        theirs = other.saxs_1d["Iq"]
        q = self.saxs_1d["q"], other.saxs_1d["q"]
        if q[0].shape != q[1].shape or not np.allclose(*q) or (target == "saxs1d" and theirs.shape != lines.shape):
            raise ConfigError(f"{other.fname} cannot be subtracted from {self.fname}: their static q-maps differ")
        less = lines - weight * (theirs if target == "saxs1d" else theirs[:1])
        return np.where(less < 0, np.nan, less)


def _holding(info: Mapping[str, Any], wanted: Sequence[str], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in info.items():
        here = f"{path}/{key}"
        if isinstance(value, Mapping):
            if below := _holding(value, wanted, here):
                found[key] = below
        elif any(text in here for text in wanted):
            found[key] = value
    return found
