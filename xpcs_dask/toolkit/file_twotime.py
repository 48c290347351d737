"""Two-time maps of a result: one at a time, whole, thinned out for display, with or without their diagonal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.io.extras import open_arrays
from xpcs_dask.toolkit.file_qmap import QMap
from xpcs_dask.toolkit.file_source import FORMAT, Source

Maps = NDArray[np.float32]


def read_c2(source: Source, label: int, correct_diag: bool, max_size: int) -> tuple[Maps, int]:
    """Map of a bin and every how many-th frame it keeps.

    The diagonal, which carries shot noise, becomes the mean of its neighbours in time before frames are left out (in
    pyXpcsViewer after it: the mean over neighbours that are further away).
    """
    source.check_unchanged()
    stored = open_arrays(source.path, ["c2"], format=FORMAT)["c2"]
    c2: Maps = stored.isel(file=0).sel(c2_bin=label).compute(scheduler="sync").values
    if correct_diag:
        c2 = without_diagonal(c2)
    step = -(-len(c2) // max_size) if 0 < max_size < len(c2) else 1
    return np.ascontiguousarray(c2[::step, ::step]), step


def without_diagonal(c2: Maps) -> Maps:
    """Return the map with each diagonal value replaced by the mean of those beside it."""
    if len(c2) < 2:
        return c2
    beside = np.diagonal(c2, 1)
    total = np.zeros(len(c2), c2.dtype)
    total[:-1] += beside
    total[1:] += beside
    total[1:-1] /= 2
    found = c2.copy()
    np.fill_diagonal(found, total)
    return found


def one_map(
    source: Source, labels: NDArray[np.int64], t0: float, selection: int, correct_diag: bool, max_size: int
) -> dict[str, Any]:
    """Return what `XpcsFile.get_twotime_c2` does."""
    if not 0 <= selection < labels.size:
        raise ConfigError(
            f"selection {selection} does not exist: {source.path} has two-time maps of {labels.size} bins "
            f"({', '.join(map(str, labels[:12]))}{', ...' if labels.size > 12 else ''}), numbered from 0"
        )
    c2, step = read_c2(source, int(labels[selection]), correct_diag, max_size)
    g2, segments = source.array("c2_g2"), source.array("c2_g2_segments")
    return {
        "c2_mat": c2,
        "delta_t": t0 * step,
        "acquire_period": t0,
        "dq_selection": selection,
        "g2_full": None if g2 is None else g2[:, selection],
        "g2_partial": None if segments is None else segments[:, :, selection].T,
    }


def stream(
    source: Source, labels: NDArray[np.int64], max_size: int = -1, correct_diag: bool = True
) -> tuple[list[str], Iterator[tuple[int, Maps]]]:
    """Return what `XpcsFile.get_twotime_stream` does."""
    names = [f"c2_{number:05d}" for number in range(1, labels.size + 1)]
    maps = ((number, read_c2(source, int(label), correct_diag, max_size)[0]) for number, label in enumerate(labels, 1))
    return names, maps


def display_map(
    qmap: QMap,
    labels: NDArray[np.int64],
    region: tuple[slice, slice],
    at: tuple[int, int] | None,
    selection: int | None,
) -> tuple[NDArray[np.float32], int | None]:
    """Bins as they are shown: row 0 at the bottom, NaN where masked, the chosen one brighter than all.

    Parameters
    ----------
    labels : (map,) int
        Bins that can be chosen, by their number in this array.
    at : (int, int), optional
        Column and row of the shown map; whose bin is chosen.
    selection : int, optional
        Number of the chosen bin in `labels`, if there is no `at`.
    """
    shown = np.flipud(qmap.dqmap[region]).astype(np.float32)
    brightest = shown.max() + 1
    label: float | None = None
    if at is not None:
        column, row = at
        if 0 <= row < shown.shape[0] and 0 <= column < shown.shape[1]:
            label = shown[row, column]
    elif selection is not None:
        if not 0 <= selection < labels.size:
            raise ConfigError(f"selection {selection} does not exist: it goes from 0 to {labels.size - 1}")
        label = labels[selection]
    chosen = None if label is None else np.flatnonzero(labels == label)
    shown[shown == 0] = np.nan
    if chosen is None or not chosen.size:
        return shown, None
    shown[shown == label] = brightest
    return shown, int(chosen[0])
