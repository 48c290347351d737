"""Whether the output is already there, made from the same settings and inputs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from xpcs_dask.errors import ConfigError, FileRejected, OutputExistsError

RUN = "run"
"""Attribute of the results that holds the job and its report, as JSON."""

Job = dict[str, Any]


def record(job: Job, report: dict[str, Any]) -> dict[str, str]:
    """Attribute by which `report_of` knows the results again."""
    return {RUN: json.dumps({"job": job, "report": report})}


def report_of(output: Path, job: Job) -> dict[str, Any] | None:
    """Report of results that were made by the same `job`; None where nothing is there.

    Raises
    ------
    OutputExistsError
        Something else is there; it says what differs.
    """
    if not os.path.lexists(output):
        return None
    if not _ours(output):
        raise OutputExistsError(str(output), "something else: it holds no results", False)
    run = _read(output)
    if run is None:
        raise OutputExistsError(str(output), "another program, or a call of save in Python")
    if changed := difference(run["job"], job):
        raise OutputExistsError(str(output), changed)
    report: dict[str, Any] = run["report"]
    return report


def check_place(output: Path, overwrite: bool) -> None:
    """Refuse, before any work, a place where results cannot be written, or where they would remove something else."""
    if output.suffix not in (".zarr", ".nc"):
        raise ConfigError(f"{output}: the format of results is told by the suffix; give a path ending in .zarr or .nc")
    if overwrite and os.path.lexists(output) and not _ours(output):
        raise ConfigError(
            f"{output} holds no results of xpcs_dask, so --overwrite does not remove it; choose another output"
        )
    folder = output.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"nothing can be written into {folder}; choose another output")


def _ours(output: Path) -> bool:
    from xpcs_dask.results import holds_results

    return holds_results(output)


def _read(output: Path) -> dict[str, Any] | None:
    """Job and report of a finished fit; None for results without them, or that cannot be read (any more)."""
    from xpcs_dask import results

    try:
        written = results.open_results(output).attrs.get(RUN)
    except FileRejected:
        return None
    try:
        run = json.loads(written) if isinstance(written, str) else None
    except json.JSONDecodeError:
        return None
    return run if isinstance(run, dict) and {"job", "report"} <= run.keys() else None


def difference(old: Job, new: Job) -> str:
    """Say in words what differs between two jobs; empty where nothing does."""
    if old.get("schema_version") != new["schema_version"]:
        return f"schema version {old.get('schema_version')} instead of {new['schema_version']}"
    versions = old.get("versions", {})
    for package, version in new["versions"].items():
        if (had := versions.get(package)) != version:
            return f"another version of {package}: {had or 'none'} instead of {version or 'none'}"
    if old.get("cpu") != new["cpu"]:
        return f"another processor: {old.get('cpu')} instead of {new['cpu']}"
    before, now = old["settings"], new["settings"]
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        return f"other settings ({', '.join(changed)})"
    had, has = ({(item["file"], item.get("rejected")): item for item in job["inputs"]} for job in (old, new))
    if had.keys() != has.keys():
        example = min(file for file, _ in had.keys() ^ has.keys())
        return f"other inputs ({len(had)} files, now {len(has)}; {example} is one that differs)"
    touched = [file for file, reason in has if had[file, reason] != has[file, reason]]
    return f"an earlier state of {touched[0]}" if touched else ""
