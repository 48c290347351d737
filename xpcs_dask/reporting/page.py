"""`report`: one page, one file, about one run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xpcs_dask.errors import ConfigError
from xpcs_dask.physics.laws import law_of
from xpcs_dask.reporting import physics_words, verdict
from xpcs_dask.reporting import recipe as making
from xpcs_dask.reporting.data import curves_of
from xpcs_dask.reporting.figures import gallery
from xpcs_dask.reporting.head import Head, check_place, state_of
from xpcs_dask.reporting.listed import Curves, files_table, rejected_table, relaxation_table
from xpcs_dask.reporting.picks import Picks
from xpcs_dask.reporting.relaxation import Relaxation, relaxation
from xpcs_dask.reporting.render import render, write
from xpcs_dask.reporting.slabs import slabs
from xpcs_dask.reporting.source import File, Source, opened
from xpcs_dask.reporting.survey import survey
from xpcs_dask.reporting.tally import Tally
from xpcs_dask.reporting.words import FLAGS, STATUSES

__all__ = ["report", "report_path"]


def report(
    results: Any,
    output: str | os.PathLike[str] = "report.html",
    *,
    data: Any = None,
    title: str | None = None,
    law: str = "diffusion",
    figures: bool = True,
) -> Path:
    """Write an HTML page about results of fits: what was fitted, how well, what to distrust, and how to do it again.

    Parameters
    ----------
    results : path, xarray.Dataset or xarray.DataTree
        A store (``.zarr`` or ``.nc``), or the results of `fit` or `bootstrap`. They are read in slabs of files, so that
        memory does not grow with the store.
    output : path
        The page: one file that needs no other and asks no network. An earlier report of that name is replaced, anything
        else is not.
    data : xarray.Dataset, xarray.DataTree, path or list of paths, optional
        The curves, of which those that are drawn are read. Without it the files are opened that the results name; where
        these are gone, or have changed, no curves are drawn and the page says so.
    title : str, optional
        Heading; the name of the store unless given.
    law : {"diffusion", "diffusion+constant", "diffusion+flow"}
        Law of tau(q), as of `dispersion`; the exponent of q is always fitted too.
    figures : bool
        Whether anything is drawn: a page without figures is written several times faster.

    Returns
    -------
    pathlib.Path
        Where the page is.

    Raises
    ------
    FileRejected, NoUsableInputError
        If the store cannot be read, or holds no fitted curve.
    ConfigError
        For results or a law that make no sense.
    OutputExistsError
        If `output` exists and is no report.
    """
    begun = time.perf_counter()
    if law_of(law).name in ("power", "ballistic"):
        raise ConfigError(
            f"law: a report tells D and the exponent of q, which '{law}' has not both of; give diffusion, "
            "diffusion+constant or diffusion+flow"
        )
    place = Path(output)
    check_place(place)
    source = opened(results)
    files = source.files()
    tally, picks, curves = Tally(len(files)), Picks(source.curves), Curves(source)
    relaxations: list[Relaxation] = []
    for slab in slabs(source):
        tally.add(slab)
        picks.add(slab)
        curves.add(slab)
        relaxations += relaxation(slab, law)
    chosen = picks.chosen()
    drawn: dict[str, Any] = {"figures": None, "survey": None}
    if figures:
        wanted = {pick.file for _, picked in chosen for _, pick in picked}
        found = curves_of(source, files, wanted, data)
        looked = survey(source, found, files)
        drawn = {"figures": gallery(source, files, chosen, found, relaxations, looked, law), "survey": looked}
    name = title or source.name
    parts = _words(source, tally, files, relaxations, law) | drawn
    tables = [curves.table, files_table(files, tally)]
    tables += [relaxation_table(relaxations, files, law)] if relaxations else []
    tables += [rejected_table(source.rejected)] if source.rejected else []
    head = Head.of(source, tally, relaxations, files, name, parts["distrust"])
    page = render(
        "report.html.j2",
        title=name,
        head=head,
        law=law_of(law),
        every=curves.every,
        tables={table.name: table for table in tables},
        glossary=_glossary(tally),
        seconds=time.perf_counter() - begun,
        **parts,
    )
    return write(page, place)


def report_path(store: str | os.PathLike[str]) -> Path:
    """Where the report of a store lies unless another place is asked for: beside it, named after it."""
    store = Path(store)
    return store.with_name(f"{store.name}.report.html")


def _words(
    source: Source, tally: Tally, files: Sequence[File], relaxations: Sequence[Relaxation], law: str
) -> dict[str, Any]:
    return {
        "source": source,
        "files": files,
        "headline": verdict.headline(source, tally),
        "fitted": verdict.fitted(source, tally),
        "quality": verdict.quality(source, tally),
        "distrust": verdict.distrust(source, tally, files),
        "relaxations": physics_words.relaxations(relaxations, source, files, law),
        "contrast": physics_words.contrast(tally),
        "recipe": making.recipe(source, files),
        "told": making.told(source.attrs),
        "settings": making.settings(source.config),
        "state": state_of(source.path) if source.path else "",
    }


def _glossary(tally: Tally) -> Mapping[str, Mapping[str, Any]]:
    """Explain flags and ends of fits that occur, by the name that tables have."""
    found = {str(flag.name).lower(): (FLAGS[flag], n) for flag, n in tally.flag_counts().items()}
    ends = tally.status.sum(axis=0)
    found |= {str(s.name).lower(): (word, int(ends[s])) for s, word in STATUSES.items() if ends[s]}
    return {
        name: {
            "title": word.title,
            "meaning": word.meaning,
            "advice": word.advice,
            "weight": word.weight.name.lower(),
            "curves": number,
        }
        for name, (word, number) in found.items()
    }
