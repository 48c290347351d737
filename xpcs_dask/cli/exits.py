"""What an error looks like on a terminal: one line on stderr, and an exit code that scripts can rely on."""

from __future__ import annotations

import errno
import functools
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from xpcs_dask.errors import StrictError, XpcsError

INTERNAL = 1
USAGE = 2
MEMORY = 4
DISK = 8
INTERRUPTED = 75

OUT_OF_REACH = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
"""What a path is that the user gave wrongly, or may not write to."""

P = ParamSpec("P")


def one_line_errors(verb: Callable[P, None]) -> Callable[P, None]:
    """Make every way out of `verb` one line on stderr and an exit code; its ``debug`` option adds the traceback."""

    @functools.wraps(verb)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            verb(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if kwargs.get("debug"):
                traceback.print_exc(file=sys.stderr)
            code, message = explain(error)
            typer.echo(f"xpcs-dask: {message}", err=True)
            raise typer.Exit(code) from None

    return guarded


def explain(error: BaseException) -> tuple[int, str]:
    """Exit code and one line for `error`."""
    text = " ".join(str(error).split())
    match error:
        case StrictError():
            return error.exit_code, f"strict: {text}"
        case XpcsError():
            return error.exit_code, f"error: {text}"
        case KeyboardInterrupt():
            return INTERRUPTED, f"interrupted; {text or 'no unfinished output was left'}, run the same command again"
        case MemoryError():
            return MEMORY, f"error: memory ran out ({text}); use smaller --chunks or fewer workers"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return DISK, f"error: the disk is full ({text}); free some space and run the same command again"
        case OSError(errno=number, filename=str(path), strerror=said) if number in OUT_OF_REACH:
            return USAGE, f"error: {path}: {said}; give another path, or ask for access to this one"
        case _:
            return INTERNAL, f"internal error: {type(error).__name__}: {text}; run again with --debug for the traceback"
