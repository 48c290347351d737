"""Notebooks as they are kept: no outputs, no counters, a stable id for every cell, the plain python3 kernel.

``python -m tests.notebooks.strip`` writes those of ``notebooks/`` so; with ``--check`` it names the others (exit 1).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def stripped(text: str) -> str:
    """Return a notebook without what its last run left in it; raises ValueError where a cell has no id of its own."""
    notebook = json.loads(text)
    cells = [_cell(cell) for cell in notebook["cells"]]
    names = [cell["id"] for cell in cells]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"cells share the ids {sorted(twice)}")
    kept = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(kept, indent=1, ensure_ascii=False) + "\n"


def _cell(cell: dict) -> dict:
    if not ID.fullmatch(cell.get("id", "")):
        raise ValueError(f"a cell has no id: {''.join(cell['source'])[:60]!r}")
    source = "".join(cell["source"]).splitlines(keepends=True)
    kept = {"cell_type": cell["cell_type"], "id": cell["id"], "metadata": {}, "source": source}
    if cell["cell_type"] != "code":
        return kept
    return {
        "cell_type": "code", "execution_count": None, "id": cell["id"], "metadata": {}, "outputs": [], "source": source
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    changed = 0
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text = path.read_text()
        if (kept := stripped(text)) == text:
            continue
        changed += 1
        if "--check" in arguments:
            print(f"{path} holds outputs or settings of a run; python -m tests.notebooks.strip removes them")
        else:
            path.write_text(kept)
    return int(changed > 0 and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
