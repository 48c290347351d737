from __future__ import annotations

import json

from xpcs_dask.cli.report import as_json, as_lines

REPORT = {
    "curves": 5,
    "status_counts": {"converged": 4, "no_data": 1, "model_failed": 0},
    "rejected": [{"file": "a.hdf", "reason": "it is empty"}],
    "curves_per_second": 12.5,
    "output": "fits.zarr",
}


def test_json_is_one_line_that_reads_back():
    assert "\n" not in as_json(REPORT)
    assert json.loads(as_json(REPORT)) == REPORT


def test_lines_are_stable():
    assert as_lines(REPORT).splitlines() == [
        "Curves: 5",
        "Status counts: converged 4, no_data 1",
        "Rejected: 1",
        "Rejected file: a.hdf: it is empty",
        "Curves per second: 12.5",
        "Output: fits.zarr",
    ]
