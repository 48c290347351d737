"""Command line: parse, call one verb, print, exit. One verb a file."""

from xpcs_dask.cli.main import app, main

__all__ = ["app", "main"]
