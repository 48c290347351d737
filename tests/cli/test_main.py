from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from typer.testing import CliRunner

import xpcs_dask as xd
from xpcs_dask.cli import app, main


def test_the_console_script_is_this_program():
    [script] = entry_points(group="console_scripts", name="xpcs-dask")
    assert script.load() is main


def test_version_is_one_word_after_the_name():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"xpcs-dask {xd.__version__}\n")


def test_help_names_the_verbs():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for verb in ("info", "fit", "submit", "status", "logs", "cancel", "demo"):
        assert verb in result.stdout


def test_a_verb_that_is_not_there_is_a_usage_error():
    result = CliRunner().invoke(app, ["flt"])
    assert result.exit_code == 2
    assert "flt" in result.stderr


def test_help_is_light():
    heavy = ["numpy", "xarray", "dask", "distributed", "numba", "matplotlib", "scipy", "h5py"]
    code = f"""
import sys
from xpcs_dask.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    for arguments in (["--help"], ["fit", "--help"], ["submit", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "[]"


def test_the_package_is_the_program():
    done = subprocess.run([sys.executable, "-m", "xpcs_dask", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"xpcs-dask {xd.__version__}\n"
