"""Imports point one way: the contracts of pyproject.toml hold, and can be seen to fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint_imports(folder):
    """Run import-linter on the package in `folder`, which shadows an installed one."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    return subprocess.run(
        [*command, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_contract_is_kept():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("fitting/models.py", "import xarray", "fitting knows no file, no Dask, no xarray"),
        ("fitting/models.py", "import xpcs_dask.io.open", "imports point one way"),
        ("results/__init__.py", "import xpcs_dask.api", "imports point one way"),
        ("api.py", "def f():\n    import distributed", "only cluster and engine.stream import distributed"),
        ("cluster/connect.py", "import xpcs_dask.results", "cluster knows only errors and config"),
    ],
)
def test_an_import_that_points_the_other_way_is_found(tmp_path, module, line, contract):
    shutil.copytree(ROOT / "xpcs_dask", tmp_path / "xpcs_dask", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "xpcs_dask" / module).open("a") as file:
        file.write(f"\n\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{contract} BROKEN" in result.stdout
