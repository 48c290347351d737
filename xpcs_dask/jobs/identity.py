"""What decides the numbers of a job, and whether an output was made by the same one."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpcs_dask.config import RunConfig
from xpcs_dask.errors import ConfigError, FileRejected, OutputExistsError
from xpcs_dask.jobs.manifest import Input, Manifest, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr

__all__ = ["RUN", "Files", "Job", "check_place", "difference", "files_of", "finished", "identity", "record"]

RUN = "run"
"""Attribute of the results that holds the manifest, as JSON."""

Job = dict[str, Any]


class Files(NamedTuple):
    """Input files as they were when they were opened."""

    inputs: tuple[Input, ...]
    rejected: tuple[Rejected, ...]
    stack: Input | None = None


def files_of(config: RunConfig, groups: Iterable[xr.Dataset], rejected: Sequence[dict[str, str]]) -> Files:
    """Say which files were read (from the coordinates of their curves), and which were rejected."""
    from xpcs_dask.io.stack import stack_of

    stack, inputs = stack_of(config.inputs), list[Input]()
    # What a stack was packed from may be gone, or have changed since.
    state = _state if stack is None else (lambda path: {})
    for group in groups:
        for path, content in zip(group["path"].to_numpy(), group["content_hash"].to_numpy(), strict=True):
            file = os.path.realpath(str(path))
            inputs.append(Input(file=file, content=f"{int(content):016x}", **state(file)))
    refused = []
    for item in rejected:
        file = os.path.realpath(item["file"])
        refused.append(Rejected(file=file, reason=item["reason"], **state(file)))
    whole = None if stack is None else Input(file=os.path.realpath(stack), **_state(stack / "zarr.json"))
    return Files(tuple(inputs), tuple(refused), whole)


def identity(config: RunConfig, files: Files, results_schema: int, fingerprint: dict[str, Any]) -> Job:
    """All that decides the numbers: settings, files with size, time and content, versions and processor."""
    deciding = config.model_dump(mode="json", include={"model", "bootstrap", *config.told, "include"})
    all_files = (*files.inputs, *files.rejected, *([files.stack] if files.stack else []))
    return {
        "schema_version": results_schema,
        **fingerprint,
        "settings": deciding | config.fit.model_dump(mode="json"),
        "inputs": [item.model_dump(exclude_none=True) for item in all_files],
    }


def record(manifest: Manifest) -> dict[str, str]:
    """Attribute by which `finished` knows the results again."""
    return {RUN: manifest.model_dump_json()}


def finished(output: Path, job: Job) -> Manifest | None:
    """Manifest of results that were made by the same `job`; None where nothing is there.

    Raises
    ------
    OutputExistsError
        Something else is there; it says what differs.
    """
    if not os.path.lexists(output):
        return None
    if not _ours(output):
        raise OutputExistsError(str(output), "something else: it holds no results", False)
    manifest = _read(output)
    if manifest is None:
        raise OutputExistsError(str(output), "another program, or a call of save in Python")
    if changed := difference(_job_of(manifest), job):
        raise OutputExistsError(str(output), changed)
    return manifest


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
    had, has = ({(item["file"], item.get("reason")): item for item in job["inputs"]} for job in (old, new))
    if had.keys() != has.keys():
        example = min(file for file, _ in had.keys() ^ has.keys())
        return f"other inputs ({len(had)} files, now {len(has)}; {example} is one that differs)"
    touched = [file for file, reason in has if had[file, reason] != has[file, reason]]
    return f"an earlier state of {touched[0]}" if touched else ""


def _job_of(manifest: Manifest) -> Job:
    files = Files(manifest.inputs, manifest.rejected, manifest.stack)
    return identity(
        manifest.config,
        files,
        manifest.results_schema,
        {"versions": manifest.versions, "cpu": manifest.cpu_target},
    )


def _ours(output: Path) -> bool:
    from xpcs_dask.results import holds_results

    return holds_results(output)


def _read(output: Path) -> Manifest | None:
    """Manifest in the attributes of results; None for results without one, or that cannot be read (any more)."""
    from pydantic import ValidationError

    from xpcs_dask import results

    try:
        written = results.open_results(output).attrs.get(RUN)
        return Manifest.model_validate_json(written) if isinstance(written, str) else None
    except (FileRejected, ValidationError, json.JSONDecodeError):
        return None


def _state(path: str | Path) -> dict[str, Any]:
    try:
        state = os.stat(path)
    except OSError:
        return {}
    return {"size": state.st_size, "modified": f"{np.datetime64(state.st_mtime_ns, 'ns')}Z"}
