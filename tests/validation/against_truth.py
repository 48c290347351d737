"""Beside what is known: the decay that speckle frames were made with, and curves without noise."""

from __future__ import annotations

import json

import numpy as np

from tests.conftest import CARRIED
from tests.toolkit.diffusion_truth import RATES, Q, coefficient, curve, delays, truth
from tests.validation.cases import short
from tests.validation.table import Row
from xpcs_dask.toolkit import ComprehensiveDiffusionAnalyzer, XpcsFile, fit_tau

TRUTH = json.loads((CARRIED / "boost_corr" / "truth.json").read_text())
LIMITS = {
    "S0001_bright_a0000_f004096_r00001_results.hdf": 0.02,
    "S0001_bright_a0000_f004096_r00001_avg4_results.hdf": 0.02,
    "S0001_bright_a0000_f004096_r00001_stride2avg2_results.hdf": 0.02,
    "S0002_qphi_a0000_f004096_r00001_results.hdf": 0.06,
}
"""Median error of D over bins that decay within a tenth of the run; longer ones are biased by the run's length."""


def files() -> list[Row]:
    """Diffusion coefficient of every q of the producer's files by `fit_g2`."""
    rows = []
    for name, limit in LIMITS.items():
        path = CARRIED / "boost_corr" / name
        diffusion = TRUTH[name]["D"]
        xf = XpcsFile(path)
        found = xf.fit_g2(bounds=_bounds(xf), fit_flag=[True, True, False, True], robust_fitting=True,
                          diagnostic_level="basic", bootstrap_samples=0)  # fmt: skip
        tau, q = np.asarray(found["fit_val"])[:, 0, 1], np.asarray(found["q_val"])
        inside = 1 / (diffusion * q**2) < 0.4
        off = np.abs(np.log(tau * q**2 * diffusion))[inside]
        median = float(np.median(off))
        told = f"median error {100 * median:.2f} %"
        what = (f"D, {short(path)}", "truth of the frames", int(inside.sum()))
        rows.append(Row(*what, told, f"<= {100 * limit:g} %", median <= limit))
    return rows


def _bounds(xf: XpcsFile) -> tuple[list[float], list[float]]:
    first, last = float(np.min(xf.t_el)), float(np.max(xf.t_el))
    return [0.0, first / 10, 0.1, 0.5], [1.0, 10 * last, 1.0, 1.5]


def tau_of_q() -> list[Row]:
    """Power law of tau(q): slope -2 within its error."""
    path = CARRIED / "boost_corr" / "S0001_bright_a0000_f004096_r00001_results.hdf"
    xf = XpcsFile(path)
    found = xf.fit_g2(bounds=_bounds(xf), fit_flag=[True, True, False, True])
    value, q = np.asarray(found["fit_val"]), np.asarray(found["q_val"])
    good = (value[:, 1, 1] > 0) & (1 / (TRUTH[path.name]["D"] * q**2) < 0.4)
    fitted = fit_tau(q[good], value[good, 0, 1], value[good, 1, 1])
    slope = float(np.ravel(fitted[0])[0])
    return [
        Row(
            "slope of ln tau over ln q (fit_tau)",
            "truth -2",
            int(good.sum()),
            f"{slope:.3f}",
            "-2 +- 0.1",
            abs(slope + 2) < 0.1,
        )
    ]


def diffusion() -> list[Row]:
    """Six models, rates over nine decades, no noise."""
    analyzer = ComprehensiveDiffusionAnalyzer("basic")
    rows = []
    for name in truth(1.0):
        full, quick = [], []
        for rate in RATES:
            p = truth(rate)[name]
            x, known = delays(rate), coefficient(name, p)
            y = curve(name, x, p)
            told = analyzer.analyze_diffusion(x, y, np.full(x.size, 1e-3), Q, [name])
            full.append(told["diffusion_parameters"]["diffusion_coefficient"] / known - 1)
            quick.append(
                analyzer.quick_diffusion_analysis(x, y, Q, name)["diffusion_info"]["diffusion_coefficient"] / known - 1
            )
        worst = float(np.abs([full, quick]).max())
        rows.append(
            Row(
                f"D, {name}, rates 1e-3 to 1e6 1/s",
                "noise-free truth",
                2 * len(RATES),
                f"worst {worst:.0e}",
                "1e-9",
                worst <= 1e-9,
            )
        )
    return rows


def rows() -> list[Row]:
    """Everything with known truth."""
    return [*files(), *tau_of_q(), *diffusion()]
