from __future__ import annotations

import errno

import pytest
import typer
from typer.testing import CliRunner

from xpcs_dask import errors
from xpcs_dask.cli.exits import explain, one_line_errors


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (errors.ConfigError("no such loss"), 2, "error: no such loss"),
        (errors.UnknownParameterError("speed", "single", ["tau"]), 2, "no parameter 'speed'"),
        (errors.NoUsableInputError("nothing\n  left"), 3, "error: nothing left"),
        (errors.FileRejected("a.hdf", "is empty"), 3, "a.hdf: is empty"),
        (errors.MismatchError("q-map", "a", ["b"]), 3, "q-map of b"),
        (MemoryError("3 GiB"), 4, "--chunks"),
        (errors.StrictError("1 curve failed"), 5, "strict: 1 curve failed"),
        (errors.OutputExistsError("fits.zarr", "other settings"), 6, "--overwrite"),
        (errors.SchedulerError("nobody answers"), 7, "nobody answers"),
        (OSError(errno.ENOSPC, "No space left on device", "fits.zarr"), 8, "disk is full"),
        (OSError(errno.EDQUOT, "Quota exceeded"), 8, "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "fits.zarr"), 2, "fits.zarr: Permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "fits.zarr"), 2, "fits.zarr: Read-only"),
        (OSError(errno.EIO, "Input/output error"), 1, "--debug"),
        (KeyboardInterrupt(), 75, "interrupted"),
        (ZeroDivisionError("division by zero"), 1, "internal error: ZeroDivisionError: division by zero"),
    ],
)
def test_each_error_has_its_code_and_one_line(error, code, says):
    assert explain(error)[0] == code
    assert says in explain(error)[1]
    assert "\n" not in explain(error)[1]


def call(error, *arguments):
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @one_line_errors
    def verb(debug: bool = False) -> None:
        if error:
            raise error

    return CliRunner().invoke(app, list(arguments))


def test_errors_go_to_stderr_and_only_debug_shows_the_traceback():
    short, long = call(ValueError("odd")), call(ValueError("odd"), "--debug")
    assert (short.exit_code, long.exit_code) == (1, 1)
    assert short.stdout == long.stdout == ""
    assert short.stderr.splitlines() == [explain(ValueError("odd"))[1].join(["xpcs-dask: ", ""])]
    assert "Traceback" in long.stderr
    assert "Traceback" not in short.stderr


def test_ways_out_that_are_no_errors_pass():
    assert call(None).exit_code == 0
    assert call(typer.Exit(17)).exit_code == 17
    assert call(KeyboardInterrupt()).exit_code == 75
