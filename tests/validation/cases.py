"""Which files are fitted, and how: the calls that both programs get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import CARRIED, SHARED

SINGLE = ([0.0, 0.1, 0.1, 0.5], [1.0, 10.0, 3.0, 1.5])
DOUBLE = ([0.0, 0.1, 0.1, 0.5, 0.1, 0.1, 0.0], [1.0, 10.0, 3.0, 1.5, 10.0, 3.0, 1.0])
"""Bounds; those of times are to be multiplied by the first and the last delay."""
TIMES = (1, 4)

CASES: dict[str, dict[str, Any]] = {
    "single": {},
    "single, stretch and baseline held": {"fit_flag": [True, True, False, False], "held": {2: 1.0, 3: 1.0}},
    "single, contrast held": {"fit_flag": [False, True, True, True], "held": {0: 0.3}},
    "single, q_range": {"q": True},
    "single, t_range": {"t": True},
    "single, both ranges, baseline held": {
        "q": True, "t": True, "fit_flag": [True, True, True, False], "held": {3: 1.0},
    },
    "double": {},
    "double, stretches held": {
        "fit_flag": [True, True, False, True, True, False, True], "held": {2: 1.0, 5: 1.0},
    },
    "double, q_range": {"q": True},
    "double, t_range, baseline held": {"t": True, "fit_flag": [True] * 3 + [False] + [True] * 3, "held": {3: 1.0}},
}  # fmt: skip


def multitau_files() -> list[Path]:
    """Every multi-tau result there is: the producer's, which are carried, and real ones where they are."""
    carried = sorted(p for p in (CARRIED / "boost_corr").glob("*.hdf") if "twotime" not in p.name)
    return [*carried, *sorted((SHARED / "aps").glob("*.hdf"))]


def short(path: Path) -> str:
    """Return the part of a name that tells files apart."""
    return path.name.removesuffix("_results.hdf")


def calls(t_el: np.ndarray, q: np.ndarray) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keywords of `fit_g2` for one file: ranges keep the middle of q and the first four fifths of the decades.

    Ends lie between delays: pyXpcsViewer's are rounded to single precision, so one on the edge may be in or out.
    """
    for name, case in CASES.items():
        function = name.split(",")[0]
        lower, upper = (list(side) for side in (SINGLE if function == "single" else DOUBLE))
        for k in TIMES[: 1 if function == "single" else 2]:
            lower[k], upper[k] = lower[k] * float(t_el.min()), upper[k] * float(t_el.max())
        for k, value in case.get("held", {}).items():
            upper[k] = value
        q_range = [float(v) for v in np.quantile(q, [0.2, 0.8])] if case.get("q") else None
        first, last = np.log10(t_el[t_el > 0].min()), np.log10(t_el.max())
        t_range = [float(10**first / 2), float(10 ** (first + 0.7931 * (last - first)))] if case.get("t") else None
        yield name, {
            "q_range": q_range, "t_range": t_range, "bounds": [lower, upper], "fit_flag": case.get("fit_flag"),
            "fit_func": function,
        }  # fmt: skip
