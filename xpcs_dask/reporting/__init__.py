"""HTML pages about results: a report of one run, and an index over several; each one file that needs no other."""

from __future__ import annotations

from xpcs_dask.reporting.index import Run, index
from xpcs_dask.reporting.page import report, report_path

__all__ = ["Run", "index", "report", "report_path"]
