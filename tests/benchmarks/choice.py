"""How often a needless parameter is chosen: ``python -m tests.benchmarks.choice [--experiments N]``.

Simulated speckle whose truth is a simple exponential, with the g2 of every pixel; the stretched model has one parameter
too many. Prints, for docs/compare.md, the share of experiments in which each way of choosing prefers it, in %; at a
nominal level of 5 % for tests.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import xarray as xr

from xpcs_dask.comparison import compare
from xpcs_dask.simulate import speckle

FRAMES, TAU = 4096, 30.0
"""Frames of a run, and relaxation time in frames."""
CELLS = [(64, 0.5), (64, 0.15), (12, 0.5)]
"""Pixels, and photons per pixel and frame."""
BATCH = 100
"""Experiments simulated at once."""


def false_choices(pixels: int, counts: float, number: int, errors: str = "auto", seed: int = 0) -> dict[str, float]:
    """Share of experiments, in %, that prefer the stretched model, by way of choosing."""
    found = [
        _batch(pixels, counts, first, min(BATCH, number - first), errors, seed) for first in range(0, number, BATCH)
    ]
    together = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    return {name: float(100 * np.mean(chosen)) for name, chosen in together.items()}


def _batch(pixels: int, counts: float, first: int, number: int, errors: str, seed: int) -> dict[str, np.ndarray]:
    diffusion = 1.0 / (TAU * 1e-3 * 0.01**2)
    data = speckle(
        number,
        frames=FRAMES,
        diffusion=diffusion,
        pixels=pixels,
        counts=counts,
        clusters=True,
        first_file=first,
        seed=seed,
    )
    found = compare(data, ["simple", "single"], errors=errors).isel(qbin=0)
    stretched = list(found["model"].values).index("single")
    chosen = {name: (found["best"].sel(criterion=name) == stretched).values for name in ("aicc", "bic", "cv")}
    for name in ("likelihood_ratio", "wald"):
        chosen[name] = (found[f"{name}_p"].isel(test=0) < 0.05).values
    return {**chosen, **_one_curve(data, errors)}


def _one_curve(data: xr.Dataset, errors: str) -> dict[str, np.ndarray]:
    """Wald tests of single curves, whose clusters are not known."""
    found = {}
    for kind in ("theory", "hc3"):
        some = compare(data.drop_vars("g2_cluster"), ["simple", "single"], folds=0, errors=errors, covariance=kind)
        found[f"wald, {kind}"] = (some["wald_p"].isel(qbin=0, test=0) < 0.05).values
    return found


def main() -> None:
    """Print everything, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=400)
    parser.add_argument("--errors", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    choice = parser.parse_args()
    report = {}
    for pixels, counts in CELLS:
        cell = false_choices(pixels, counts, choice.experiments, choice.errors, choice.seed)
        report[f"{pixels} pixels, {counts:g} photons"] = cell
        print(pixels, counts, {name: round(share, 1) for name, share in cell.items()}, flush=True)
    if choice.json:
        choice.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
