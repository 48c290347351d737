"""An environment of its own for pyXpcsViewer: it pulls a whole user interface, so the package's must not have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

VERSION = "1.2.2"
VARIABLE = "XPCS_DASK_VIEWER_PYTHON"
"""Names the Python of an environment that is already there."""
FOLDER = Path(__file__).parents[2] / ".cache" / f"xpcs-viewer-{VERSION}"
CHILD = Path(__file__).with_name("viewer_child.py")
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class NoViewer(Exception):
    """The environment cannot be built, with the last words of pip."""


def viewer_python() -> Path:
    """Return the Python that has pyXpcsViewer: the one that is named, else one in a folder that is built once."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    python = FOLDER / "bin" / "python"
    if not (FOLDER / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-q", f"xpcs-viewer=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoViewer(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip failed")
        (FOLDER / "complete").touch()
    return python


def ask_viewer(python: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run pyXpcsViewer without a display on `jobs` (see viewer_child.py); returns what it answered, in order."""
    with tempfile.TemporaryDirectory() as folder:
        arrays = {}
        for k, job in enumerate(jobs):
            for name, value in job.items():
                if isinstance(value, np.ndarray):
                    arrays[f"{k}/{name}"] = value
        plain = [{n: v for n, v in job.items() if not isinstance(v, np.ndarray)} for job in jobs]
        Path(folder, "jobs.json").write_text(json.dumps(plain))
        np.savez(Path(folder, "jobs.npz"), **arrays)
        environment = {**os.environ, **THREADS, "QT_QPA_PLATFORM": "offscreen", "HOME": folder}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [str(python), str(CHILD), folder], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"pyXpcsViewer failed:\n{done.stderr[-2000:]}")
        told = json.loads(Path(folder, "answers.json").read_text())
        with np.load(Path(folder, "answers.npz")) as stored:
            for name in stored.files:
                k, _, key = name.partition("/")
                told[int(k)][key] = stored[name]
    return told
