"""What robust fits do to false points: ``python -m tests.benchmarks.outliers [--sets N]``.

Prints, for docs/outliers.md, median bias of ln tau, its RMSE and the share of curves that are off by more than 1.5 x,
for curves of one stretched exponential with outliers of 5 to 20 sigma, and the coverage of nominal 95 % intervals.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.models import SINGLE
from xpcs_dask.fitting.outliers import fit_robust
from xpcs_dask.fitting.strategy import fit_stack

DELAY, TAU = np.geomspace(1e-5, 1.0, 50), 3e-3
SIGMA = 0.15 / 75.0 * np.geomspace(1.0, 5.0, 50)
"""Signal over noise falls from 75 at the first delay to 15 at the last."""
CELLS = [
    ("none", 0.0), ("either sign", 0.05), ("either sign", 0.1), ("either sign", 0.2), ("either sign", 0.3),
    ("above", 0.1), ("above", 0.2), ("first", 0.1), ("last", 0.1),
]  # fmt: skip
"""Where the outliers lie, and the share of the points that they are."""
METHODS: dict[str, dict[str, Any]] = {
    "least squares": {},
    'robust="clip"': {"robust": "clip"},
    'robust="clip", relative errors': {"robust": "clip", "absolute_sigma": False},
    'robust="cauchy"': {"robust": "cauchy"},
    'robust="cauchy", relative errors': {"robust": "cauchy", "absolute_sigma": False},
    'robust="mm"': {"robust": "mm"},
    'robust="mm", relative errors': {"robust": "mm", "absolute_sigma": False},
    'loss="soft_l1"': {"loss": "soft_l1"},
    'loss="huber", loss_scale=1.345': {"loss": "huber", "loss_scale": 1.345},
}


def curves(
    number: int, where: str, share: float, seed: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Curves, weights, and which points are outliers; the noise is the same for every kind of outlier."""
    shape = number, DELAY.size
    rng = np.random.default_rng([seed, 0])
    y = SINGLE.evaluate(DELAY, 0.15, TAU, 0.9, 1.0) + SIGMA * rng.standard_normal(shape)
    rng = np.random.default_rng([seed, 1])
    size = rng.uniform(5.0, 20.0, shape)
    sign = rng.choice([-1.0, 1.0], shape) if where == "either sign" else np.ones(shape)
    order = np.argsort(rng.random(shape), axis=1)
    k = round(share * DELAY.size)
    hit = order < k
    if where in ("first", "last"):
        hit = np.zeros(shape, np.bool_)
        hit[:, slice(k) if where == "first" else slice(DELAY.size - k, None)] = True
    return y + np.where(hit, sign * size, 0.0) * SIGMA, np.broadcast_to(1.0 / SIGMA, shape).copy(), hit


def cell(number: int, where: str, share: float, how: dict[str, Any]) -> dict[str, float]:
    """Median bias and RMSE of ln tau (%), share of curves off by more than 1.5 x, and coverage of its interval (%)."""
    y, weight, _ = curves(number, where, share)
    config = FitConfig(errors="quoted", **how)
    lower, upper = SINGLE.box(DELAY)
    if config.robust:
        rows, _ = fit_robust(DELAY, y, weight, SINGLE, config, lower, upper)
    else:
        rows = fit_stack(DELAY, y, weight, SINGLE, config, lower, upper)
    value, error = rows["value"][:, 1], rows["stderr"][:, 1]
    off = np.log(value / TAU)
    return {
        "bias": 100 * float(np.median(off)),
        "rmse": 100 * float(np.sqrt(np.mean(off**2))),
        "lost": 100 * float(np.mean(np.abs(off) > np.log(1.5))),
        "covered": 100 * float(np.mean(np.abs(off) < 1.96 * error / value)),
    }


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2000)
    number = parser.parse_args().sets
    found = {name: [cell(number, *which, how) for which in CELLS] for name, how in METHODS.items()}
    heads = [where if not share else f"{100 * share:.0f} % {where}" for where, share in CELLS]
    for title, text in (
        ("median bias of ln tau, % / RMSE, % / curves off by more than 1.5 x, %", "{bias:+.1f}/{rmse:.1f}/{lost:.1f}"),
        ("nominal 95 % intervals of ln tau that hold the truth, %", "{covered:.1f}"),
    ):
        print(f"\n{title}\n\n| | {' | '.join(heads)} |\n|---{'|---' * len(heads)}|")
        for name, cells in found.items():
            print(f"| {name} | {' | '.join(text.format(**one) for one in cells)} |")


if __name__ == "__main__":
    main()
