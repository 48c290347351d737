"""What a report says in its first kilobytes, for the index: counts, D, and which state of the store it is about."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from xpcs_dask.errors import OutputExistsError
from xpcs_dask.reporting.relaxation import Relaxation
from xpcs_dask.reporting.source import File, Source
from xpcs_dask.reporting.tally import Tally
from xpcs_dask.reporting.verdict import Alert
from xpcs_dask.reporting.words import Verdict

__all__ = ["Head", "check_place", "state_of"]

GENERATOR = "xpcs_dask report"
FIRST = 2**16
"""Bytes in which the head is."""
BLOCK = re.compile(r'<script type="application/json" id="xpcs-head">(.*?)</script>', re.S)


class Head(BaseModel):
    """The headline of a run."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str
    store: str = ""
    state: str = ""
    """Of the store when the page was made; empty for results in memory."""
    begun: str = ""
    """Of the job, UTC."""
    model: str = ""
    files: int = 0
    rejected: int = 0
    curves: int = 0
    verdicts: dict[str, int] = {}
    worst: list[str] = []
    """What to distrust most, in words."""
    diffusion: list[tuple[str, float, float]] = []
    """File, D and its error in um^2/s: of one file, or the smallest and the largest."""
    said: int = 0
    """tau(q) with a D."""
    silent: int = 0
    """tau(q) of which nothing can be said."""
    seconds: float | None = None

    @classmethod
    def of(
        cls,
        source: Source,
        tally: Tally,
        found: Sequence[Relaxation],
        files: Sequence[File],
        title: str,
        alerts: Sequence[Alert],
    ) -> Head:
        """Gather it."""
        manifest = source.manifest
        said = [one for one in found if one.said and "D_um2" in one.numbers]
        said.sort(key=lambda one: one.numbers["D_um2"].value)
        told = said if len(said) < 2 else [said[0], said[-1]]
        return cls(
            title=title,
            store=str(source.path.resolve()) if source.path else "",
            state=state_of(source.path) if source.path else "",
            begun=manifest.begun if manifest else "",
            model=str(source.attrs.get("model", "")),
            files=tally.files,
            rejected=len(source.rejected),
            curves=source.curves,
            verdicts={str(v.name).lower(): n for v, n in tally.verdict_counts().items()},
            worst=[f"{alert.title}: {alert.number:,}" for alert in alerts[:3]],
            diffusion=[(files[one.file].name, one.numbers["D_um2"].value, one.numbers["D_um2"].error) for one in told],
            said=len(said),
            silent=sum(not one.said for one in found),
            seconds=manifest.seconds if manifest else None,
        )

    @property
    def good(self) -> int:
        """Curves that can be used."""
        return self.verdicts.get(str(Verdict.GOOD.name).lower(), 0)

    @classmethod
    def read(cls, page: Path) -> Head | None:
        """Of a report that was written; None for anything else."""
        try:
            with page.open("rb") as file:
                text = file.read(FIRST).decode("utf-8", errors="replace")
        except OSError:
            return None
        block = BLOCK.search(text)
        if block is None:
            return None
        try:
            return cls.model_validate_json(block.group(1))
        except ValidationError:
            return None


def state_of(store: Path) -> str:
    """Something that changes when a store is written anew: size and time of the file that describes it."""
    root = store / "zarr.json" if store.is_dir() else store
    try:
        found = os.stat(root)
    except OSError:
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"


def check_place(page: Path) -> None:
    """Refuse to replace what is no page of this package; raises `OutputExistsError`."""
    if not os.path.lexists(page):
        return
    ours = False
    if page.is_file():
        with page.open("rb") as file:
            ours = f'content="{GENERATOR}'.encode() in file.read(FIRST)
    if not ours:
        raise OutputExistsError(str(page), "something else: it is no report", False)


def as_json(value: Any) -> str:
    """JSON that may stand in a script of a page."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
