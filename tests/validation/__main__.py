"""Compare the package with truth, scipy and pyXpcsViewer, and print what was compared with what.

pyXpcsViewer gets an environment of its own in .cache/ (venv and pip, once); name one that is there with --viewer or
XPCS_DASK_VIEWER_PYTHON. Real files are read from XPCS_DASK_TEST_DATA, or ../shared/data beside the checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

from tests.validation.environment import THREADS, VARIABLE, NoViewer, viewer_python

os.environ.update({**THREADS, "NUMBA_NUM_THREADS": "1"})
PARTS = ("truth", "scipy", "viewer", "data", "speed", "calls")


def part(name: str, python: Path | None) -> list:
    """Rows of one part; imported late, after threads were told."""
    from tests.validation import against_data, against_scipy, against_truth, against_viewer, compatibility

    if python is None:
        return {"truth": against_truth.rows, "scipy": against_scipy.rows, "calls": compatibility.rows}[name]()
    return {
        "viewer": against_viewer.compare_fits, "data": against_data.compare_data, "speed": against_viewer.compare_speed,
    }[name](python)  # fmt: skip


def main() -> int:
    """Run the parts that are wanted; 0 if all of it holds."""
    from tests.validation.table import show

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewer", type=Path, help="Python of an environment that has xpcs-viewer")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--json", type=Path, default=Path(".benchmarks/validation.json"))
    choice = parser.parse_args()
    if choice.viewer:
        os.environ[VARIABLE] = str(choice.viewer)
    titles = {
        "truth": "Known truth", "scipy": "scipy and certified values", "viewer": "pyXpcsViewer: fits",
        "data": "pyXpcsViewer: data", "speed": "pyXpcsViewer: speed", "calls": "Compatibility, call by call",
    }  # fmt: skip
    tables, missing = {}, False
    for name in choice.only:
        python = None
        if name in ("viewer", "data", "speed"):
            try:
                python = viewer_python()
            except NoViewer as reason:
                print(f"\n## {titles[name]}\n\nnot compared: {reason}")
                missing = True
                continue
        rows = part(name, python)
        show(titles[name], rows)
        sys.stdout.flush()
        tables[titles[name]] = [row.as_dict() for row in rows]
    choice.json.parent.mkdir(parents=True, exist_ok=True)
    told = {"machine": platform.machine(), "python": platform.python_version(), "tables": tables}
    choice.json.write_text(json.dumps(told, indent=1))
    every = [row for rows in tables.values() for row in rows]
    failed = sum(row["holds"] is False for row in every)
    print(f"\n{len(every)} comparisons, {failed} fail; written: {choice.json}")
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
