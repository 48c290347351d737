"""What a finished job says about itself: a record that lies beside the store as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from xpcs_dask.config import RunConfig
from xpcs_dask.engine.ledger import write_whole
from xpcs_dask.errors import FileRejected
from xpcs_dask.readable import card, changed, size

__all__ = ["Counts", "Cpu", "Input", "Manifest", "Memory", "Record", "Rejected", "Work", "manifest_path"]

MANIFEST_VERSION = 1
SHOWN = 5
"""Rejected files that a notebook shows with their reasons."""


class Record(BaseModel):
    """A frozen part of the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return changed(self, super().__repr_args__())

    def _repr_html_(self) -> str:
        return card(type(self).__name__, {str(name): value for name, value in self.__repr_args__()})


class Input(Record):
    """A file as it was when it was opened."""

    file: str
    content: str | None = None
    """Hash of its g2, 16 hexadecimal digits."""
    size: int | None = None
    """Bytes."""
    modified: str | None = None
    """UTC, to the nanosecond."""


class Rejected(Input):
    """A file that could not be used."""

    reason: str


class Counts(Record):
    """Files and curves; they add up."""

    files: int = 0
    """Files that were given."""
    files_rejected: int = 0
    curves: int = 0
    ok: int = 0
    """Curves with a converged fit."""
    failed: int = 0
    """All others."""
    flagged: int = 0
    """Converged curves with a flag that asks for a look."""
    status_counts: dict[str, int] = Field(default_factory=dict)
    rung_counts: dict[str, int] = Field(default_factory=dict)
    flag_counts: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        sums = {
            "ok and failed": self.ok + self.failed,
            "status_counts": sum(self.status_counts.values()),
            "rung_counts": sum(self.rung_counts.values()),
        }
        for name, found in sums.items():
            if found != self.curves:
                raise ValueError(f"{name} sum up to {found}, but there are {self.curves} curves")
        return self


class Work(Record):
    """Blocks, and who did them in this call."""

    blocks: int = 0
    before: int = 0
    """Blocks that an earlier call had done, which was stopped."""
    cache_hits: int = 0
    """Files of a block whose fits were known already."""
    cache_misses: int = 0
    workers: dict[str, int] = Field(default_factory=dict)
    """Blocks by ``host:pid/thread``."""


class Cpu(Record):
    """CPU time of this call, s."""

    all: float = 0.0
    """Of this process and its children, from the beginning: start-up of workers and opening of files included."""
    blocks: float = 0.0
    """Inside blocks (reading, fitting, writing), of the threads that did them; Zarr unpacks in threads of its own."""
    outside: float | None = None
    """`all` without `blocks`, as a share of `blocks`; null if the workers are no children of this process."""


class Memory(Record):
    """Bytes."""

    planned: int = 0
    """All tasks together, above what the process has at its start."""
    budget: int = 0
    start: int = 0
    """Resident in this process before files were opened."""
    peak: int = 0
    """Most that was resident in this process."""
    workers: dict[str, int] = Field(default_factory=dict)
    """Most that was resident, by process (``host:pid``)."""


class Manifest(Record):
    """What was asked for, what was found, what came out, and what it took.

    `Manifest.model_json_schema` is published in docs/schemas.
    """

    manifest_version: int = MANIFEST_VERSION
    version: str
    """Of xpcs_dask."""
    begun: str
    """UTC."""
    seconds: float
    curves_per_second: float
    host: str
    cpu_target: str
    """Processor that kernels were compiled for."""
    versions: dict[str, str | None]
    """Of the packages that decide bits."""
    results_schema: int
    """Schema version of the store."""
    config: RunConfig
    seed: int | None
    """Of the random numbers; null where none were drawn."""
    inputs: tuple[Input, ...]
    rejected: tuple[Rejected, ...]
    stack: Input | None = None
    """The packed stack that was read instead of the inputs, its own description (``zarr.json``)."""
    mode: str | None
    """As `plan` says it; null if nothing was fitted."""
    counts: Counts
    work: Work
    cpu: Cpu
    memory: Memory
    output: str | None
    """Store of the results; null if nothing was fitted."""
    manifest: str | None
    """Where this is."""

    @model_validator(mode="after")
    def _files_add_up(self) -> Self:
        if (
            len(self.inputs) + len(self.rejected) != self.counts.files
            or len(self.rejected) != self.counts.files_rejected
        ):
            raise ValueError(
                f"{len(self.inputs)} inputs and {len(self.rejected)} rejected files are not the {self.counts.files} "
                "that were given"
            )
        return self

    def __repr__(self) -> str:
        found = self.counts
        return (
            f"Manifest({found.files} files, {found.files_rejected} rejected; {found.curves} curves, "
            f"{found.ok} converged, {found.failed} failed, {found.flagged} flagged; output={self.output!r})"
        )

    __str__ = __repr__

    def _repr_html_(self) -> str:
        found, work = self.counts, self.work
        failed = {name: number for name, number in found.status_counts.items() if name != "converged"}
        rows = {
            "files": f"{found.files}, {found.files_rejected} rejected",
            "rejected": "; ".join(f"{one.file}: {one.reason}" for one in self.rejected[:SHOWN]),
            "curves": f"{found.curves:,}: {found.ok:,} converged, {found.failed:,} failed"
            + (f" ({_counted(failed)})" if found.failed else ""),
            "flags": f"{found.flagged:,} curves to look at; of all flags: {_counted(found.flag_counts) or 'none'}",
            "model": self.config.model,
            "settings": repr(self.config.fit),
            "bootstrap": repr(self.config.bootstrap) if self.config.bootstrap else "",
            "blocks": f"{work.blocks:,}" + (f", {work.before:,} of them by an earlier call" if work.before else ""),
            "time": f"{self.seconds:,.1f} s, {self.curves_per_second:,.0f} curves/s, begun {self.begun}",
            "memory": f"{size(self.memory.peak)} at most" if self.memory.peak else "",
            "made by": f"xpcs_dask {self.version} on {self.host} ({self.cpu_target})",
            "output": self.output or "none",
        }
        return card("Manifest", rows)

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_whole(path, (self.model_dump_json(indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `write` wrote; raises `FileRejected`."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise FileRejected(str(path), f"cannot be read: {error}") from error
        except ValidationError as error:
            first: Any = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise FileRejected(str(path), f"is no manifest: {where}: {first['msg']}") from error


def _counted(counts: Mapping[str, int]) -> str:
    """Those that are not 0, in words, most frequent first."""
    there = sorted(((number, name) for name, number in counts.items() if number), reverse=True)
    return ", ".join(f"{number:,} {name}" for number, name in there)


def manifest_path(output: Path) -> Path:
    """Beside the output, named after it."""
    return output.with_name(f"{output.name}.manifest.json")
