"""What of a job is done: one small file for each finished block, so that nothing is lost or believed too early.

A block's entry is written after all that the block writes, by whoever worked it out, on any host; it appears whole or
not at all. A process killed at any moment leaves a ledger that is true.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

__all__ = ["Ledger", "total", "write_whole"]

VERSION = 1
HEAD = "head.json"

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Entries by the number of the block, in a folder of their own, and a head that tells what job they belong to."""

    folder: Path

    @classmethod
    def begin(cls, folder: Path, head: Mapping[str, Any]) -> Ledger:
        """Start an empty ledger; the head is written last, so a folder without one holds nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            entry.unlink()
        write_whole(folder / HEAD, json.dumps({"version": VERSION, **head}).encode())
        return cls(folder)

    def head(self) -> dict[str, Any] | None:
        """Return what `begin` was given; None where there is no ledger that this version can read."""
        try:
            found = json.loads((self.folder / HEAD).read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("version") == VERSION else None

    def add(self, block: int, entry: Entry) -> None:
        """Say that a block is done; a second time replaces the first."""
        write_whole(self.folder / f"{block}.json", json.dumps(entry).encode())

    def entries(self, believed: Callable[[int, Entry], bool] = lambda block, entry: True) -> dict[int, Entry]:
        """Entries of finished blocks; those that are damaged or not `believed` are left out, so the block is redone."""
        return {block: entry for block, entry in self._read() if believed(block, entry)}

    def count(self) -> int:
        """Count the entries, without reading them."""
        return sum(1 for _ in self._places())

    def _places(self) -> Iterator[Path]:
        return (place for place in self.folder.glob("[0-9]*.json") if place.stem.isdecimal())

    def _read(self) -> Iterator[tuple[int, Entry]]:
        for place in sorted(self._places()):
            try:
                entry = json.loads(place.read_bytes())
            except (OSError, ValueError):
                continue
            if isinstance(entry, dict):
                yield int(place.stem), entry


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is there as a whole or not at all: written beside its place, then renamed."""
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        with open(unfinished, "wb", buffering=0) as file:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def total(counts: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Add two records of numbers, and of records of numbers, name by name."""
    found: dict[str, Any] = {}
    for name in [*counts, *(name for name in more if name not in counts)]:
        values = [record[name] for record in (counts, more) if name in record]
        nested = isinstance(values[0], Mapping)
        found[name] = total(values[0], values[1] if len(values) > 1 else {}) if nested else sum(values)
    return found
