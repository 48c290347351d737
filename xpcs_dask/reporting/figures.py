"""Which figures a report has, whatever the size of the store: a bounded number, each of a few curves or a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from xpcs_dask import plots
from xpcs_dask.api import fit, quality
from xpcs_dask.config import FitConfig
from xpcs_dask.errors import XpcsError
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.plots import style
from xpcs_dask.reporting.data import Found, of_curve
from xpcs_dask.reporting.one_point import place_of
from xpcs_dask.reporting.picks import Pick
from xpcs_dask.reporting.pictures import Picture, drawn, one_point
from xpcs_dask.reporting.relaxation import Relaxation, can_be_asked
from xpcs_dask.reporting.slabs import model_of, relaxation_times
from xpcs_dask.reporting.source import File, Source
from xpcs_dask.reporting.survey import Survey
from xpcs_dask.reporting.tables import shortened
from xpcs_dask.reporting.words import FLAGS, STATUSES
from xpcs_dask.spoken import measured, plain

__all__ = ["Gallery", "gallery"]

FILES = 4
"""Files of which tau(q) and parameters are drawn."""
MAPS = 1
"""Files of which the quality of points is drawn."""
KINDS = {
    "worst": ("Worst", "Curves without a fit, and fits with the largest reduced chi² among curves that have a decay."),
    "best": ("Best", "Curves that nothing, or little, speaks against, with the smallest relative error."),
    "examples": ("An example of each flag", "One curve for the flags that occur, worst flags first."),
    "sample": ("A sample that nobody chose", "Curves at even steps through the store, whatever became of them."),
}


@dataclass
class Gallery:
    """Figures by section, and what could not be drawn."""

    curves: list[tuple[str, str, list[Picture]]] = field(default_factory=list)
    """Title, explanation and figures of each kind of curves."""
    story: Picture | None = None
    relaxation: list[Picture] = field(default_factory=list)
    parameters: list[Picture] = field(default_factory=list)
    series: list[Picture] = field(default_factory=list)
    points: list[Picture] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, pictures: list[Picture], what: str, draw: Callable[..., Picture], *about: Any) -> None:
        """Draw one more; what cannot be drawn is told instead."""
        try:
            pictures.append(draw(*about))
        except (XpcsError, OSError) as error:
            if (line := f"{what}: {error}") not in self.missing:
                self.missing.append(line)


def gallery(
    source: Source,
    files: Sequence[File],
    chosen: Sequence[tuple[str, list[tuple[str, Pick]]]],
    found: Found,
    relaxations: Sequence[Relaxation],
    looked: Survey,
    law: str,
) -> Gallery:
    """Draw everything."""
    made = Gallery()
    made.missing += sorted({reason for reason in found.values() if isinstance(reason, str)})
    if looked.story is not None:
        story: list[Picture] = []
        made.add(story, "the story of one point", one_point, looked.story)
        made.story = story[0] if story else None
    for kind, picked in chosen:
        pictures: list[Picture] = []
        for reason, pick in picked:
            own = found.get(pick.file)
            if isinstance(own, xr.Dataset):
                made.add(pictures, files[pick.file].name, _curve, source, files, pick, own, reason)
        if pictures:
            made.curves.append((*KINDS[kind], pictures))
    shown = _files_shown(source, relaxations)
    for group, positions, first in shown:
        _of_groups(made, group, positions, first, files, law)
    _series(made, source, relaxations, files)
    _quality(made, source, found, files, chosen)
    return made


def _curve(source: Source, files: Sequence[File], pick: Pick, own: xr.Dataset, reason: str) -> Picture:
    group = source.groups[pick.group]
    curve = of_curve(own, group, pick.at).load()
    stored = group.isel({dim: [at] for dim, at in pick.at.items()}).load()
    model = str(source.attrs.get("model", ""))
    refitted, note, known_model = stored, "", model_of(group) is not None
    if known_model and pick.status == Status.CONVERGED and "covariance" not in stored:
        config = FitConfig.make(FitConfig(**source.config), detail="full", interval="none", diagnostics="none")
        again = fit(curve, model, config=config).load()
        if np.allclose(
            again["value"].values, stored["value"].transpose(*again["value"].dims).values, rtol=1e-6, equal_nan=True
        ):
            refitted = again
        else:
            note = " A fit made now gives other numbers (other versions, or another file), so no band is drawn."
    if pick.status == Status.CONVERGED and not known_model:
        note = " The model is a function of its user, which results do not keep, so the fit is not drawn."
    if pick.status != Status.CONVERGED or not known_model:
        axes = plots.g2(curve, config=FitConfig(**source.config))
    else:
        axes = plots.g2(curve, refitted)
    where = place_of(group, pick.at)
    file = files[pick.file].name
    title = f"{shortened(file, 40)}, {where}"
    numbers = ", ".join(f"{name} {measured(*pair)}" for name, pair in pick.value.items())
    if pick.status != Status.CONVERGED:
        told = STATUSES[pick.status].meaning.rstrip(".")
    else:
        told = f"{numbers}; reduced chi² {plain(pick.reduced_chi2, 3)}"
    flags = [word.title for flag, word in FLAGS.items() if pick.flags & flag and flag != Flag.POINTS_EXCLUDED]
    caption = (
        f"{reason[0].upper()}{reason[1:]}. {told}" + (f". Flags: {', '.join(flags)}" if flags else "") + "." + note
    )
    return drawn(axes, title, caption, f"g2 against delay of {file}, {where}, with fit and residuals. {caption}")


def _files_shown(source: Source, relaxations: Sequence[Relaxation]) -> list[tuple[xr.Dataset, list[int], int]]:
    """Group, positions in it, and number of its first file: files with a D first, evenly, `FILES` in all."""
    said = sorted({one.file for one in relaxations if one.said})
    total = len(source.files())
    rest = [at for at in range(total) if at not in set(said)] if len(said) < FILES else []
    chosen = _evenly(said, FILES)
    chosen += _evenly(rest, FILES - len(chosen))
    first, found = 0, []
    for group in source.groups.values():
        size = group.sizes["file"] if "file" in group["status"].dims else 1
        own = sorted(at - first for at in chosen if first <= at < first + size)
        if own:
            found.append((group, own, first))
        first += size
    return found


def _evenly(items: Sequence[int], most: int) -> list[int]:
    if len(items) <= most:
        return list(items)
    return [items[k] for k in np.unique(np.linspace(0, len(items) - 1, most).round().astype(int))]


def _of_groups(
    made: Gallery, group: xr.Dataset, positions: Sequence[int], first: int, files: Sequence[File], law: str
) -> None:
    """tau(q) of each file, and all other parameters of these files against q."""
    if can_be_asked(group) or [dim for dim in group["status"].dims if dim not in ("file", "qbin")]:
        return
    names = [str(name) for name in group["parameter"].values]
    times = relaxation_times(group)
    for position in positions:
        file = files[first + position].name
        own = (group.isel(file=[position]) if "file" in group.dims else group).load()
        for time in times:
            made.add(made.relaxation, f"{time}(q) of {file}", _law, own, file, law, time)
    several = group.isel(file=list(positions)) if "file" in group.dims else group
    several = several.load()
    which = ", ".join(shortened(files[first + position].name, 40) for position in positions)
    for name in names:
        if name not in times:
            made.add(made.parameters, f"{name} against q", _parameter, several, name, which)


def _law(own: xr.Dataset, file: str, law: str, time: str) -> Picture:
    from xpcs_dask.physics.dispersion import dispersion

    chosen: Any = law
    axes = plots.tau_q(own, dispersion(own, chosen, parameter=time), law=chosen)
    caption = f"{file}: {time} against q with the law {law}. Hollow points have no say in it; their shape says why."
    return drawn(axes, f"{time}(q) of {shortened(file, 40)}", caption, caption)


def _parameter(several: xr.Dataset, name: str, which: str) -> Picture:
    axes = plots.parameter(several, name)
    caption = f"{name} against q with standard errors or intervals: {which}."
    return drawn(axes, f"{name} against q", caption, caption)


def _series(made: Gallery, source: Source, relaxations: Sequence[Relaxation], files: Sequence[File]) -> None:
    """Draw what changes from file to file."""
    for group in source.groups.values():
        dims = group["status"].dims
        if set(dims) != {"file", "qbin"} or group.sizes["file"] < 3:
            continue
        for name in [*relaxation_times(group)[:1], *(["contrast"] if "contrast" in group["parameter"].values else [])]:
            made.add(made.series, f"map of {name}", _map, group, name)
    said = [one for one in relaxations if one.said and "D_um2" in one.numbers and not one.labels]
    times = list(dict.fromkeys(one.parameter for one in said))
    if times and len([one for one in said if one.parameter == times[0]]) >= 3:
        own = [one for one in said if one.parameter == times[0]]
        made.add(made.series, "D of every file", _diffusion, own, len(files))


def _map(group: xr.Dataset, name: str) -> Picture:
    axes = plots.parameter_map(group, name)
    caption = f"{name} of every file and bin ({group.sizes['file']:,} files, {group.sizes['qbin']} bins)."
    return drawn(axes, f"{name} over files and bins", caption, caption)


def _diffusion(own: Sequence[Relaxation], files: int) -> Picture:
    from matplotlib.ticker import MaxNLocator

    axes = style.figure(height=5.5).subplots()
    number = np.array([one.file + 1 for one in own])
    value, low, high = (
        np.array([getattr(one.numbers["D_um2"], part) for one in own]) for part in ("value", "low", "high")
    )
    ends = np.stack([value - low, high - value])
    marks = 3 if len(own) < 100 else 1.5
    axes.errorbar(number, value, ends, fmt="o", color=style.BLUE, markersize=marks, elinewidth=0.5, rasterized=True)
    if value.min() > 0 and value.max() > 20 * value.min():
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.label(axes, "file, in the order of the store", "$D$ (µm²/s)")
    caption = (
        f"D of {len(own):,} of {files:,} files with 95 % intervals, from {plain(float(value.min()))} to "
        f"{plain(float(value.max()))} µm²/s{'' if len(own) == files else '; the others have none'}."
    )
    return drawn(axes, "D of every file", caption, caption)


def _quality(
    made: Gallery,
    source: Source,
    found: Found,
    files: Sequence[File],
    chosen: Sequence[tuple[str, list[tuple[str, Pick]]]],
) -> None:
    """Which points were used, and why others were not: of the files of the curves shown first."""
    order = dict.fromkeys(pick.file for _, picked in chosen for _, pick in picked)
    there: Mapping[int, xr.Dataset] = {at: own for at in order if isinstance(own := found.get(at), xr.Dataset)}
    for at, own in list(there.items())[:MAPS]:
        if set(own["g2"].dims) - {"file"} == {"qbin", "delay"}:
            made.add(made.points, f"quality of {files[at].name}", _points, own, source, files[at].name)


def _points(own: xr.Dataset, source: Source, file: str) -> Picture:
    points: Any = quality(own, config=FitConfig(**source.config))
    axes = plots.quality_map(points)
    caption = f"{file}: which points weigh in the fits, and why others do not."
    return drawn(axes, f"Points of {shortened(file, 40)}", caption, caption)
