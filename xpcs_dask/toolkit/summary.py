"""What a report comes down to: a score, and sentences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xpcs_dask.fitting.error_model import NO_SIGNAL
from xpcs_dask.fitting.models import Floats

CHANCE = 1e-3
"""Probability that noise saves as much over a constant, below which a fit counts where errors are not known."""
SURE = 0.01
"""p below which a test of residuals counts here; there are several."""
NOISE = 0.2
"""The best score that a fit of noise gets."""
IMPROBABLE = 1e-3
"""p of chi2 below which the errors do not explain the residuals."""
VERDICTS = ((0.95, "Excellent"), (0.75, "Good"), (0.5, "Fair"), (-np.inf, "Poor"))


def signal(y: Floats, fitted: Floats, n_free: int, error: Floats | None) -> dict[str, Any]:
    """Ask whether the fit is better than a constant.

    Returns
    -------
    dict
        ``saved`` (chi2 of the best constant less that of the fit; with errors that are not known the F of it),
        ``p_value`` and ``has_signal``. A model without parameters beyond a constant has none to look for.
    """
    from scipy.special import chdtrc, fdtrc

    weight = np.ones_like(y) if error is None else 1.0 / error**2
    chi2 = float(weight @ (y - fitted) ** 2)
    saved = float(weight @ (y - np.average(y, weights=weight)) ** 2) - chi2
    extra, dof = n_free - 1, y.size - n_free
    if extra < 1 or dof < 1:
        return {"saved": np.nan, "p_value": np.nan, "has_signal": True}
    if error is not None:
        p = float(chdtrc(extra, max(saved, 0.0)))
        return {"saved": saved, "p_value": p, "has_signal": bool(saved >= NO_SIGNAL)}
    ratio = max(saved, 0.0) / extra / (chi2 / dof) if chi2 > 0 else np.inf
    p = float(fdtrc(extra, dof, ratio))
    return {"saved": ratio, "p_value": p, "has_signal": bool(p < CHANCE)}


class Fault(NamedTuple):
    """Something that is wrong with a fit."""

    price: float
    """What it costs of the score."""
    warning: str
    advice: str = ""


def summarise(report: dict[str, Any]) -> dict[str, Any]:
    """Score a report from 0 to 1, each fault at its price, and say what was found.

    Returns
    -------
    dict
        ``overall_assessment`` (Excellent, Good, Fair or Poor), ``key_findings, warnings, recommendations`` (sentences)
        and ``quality_score``.
    """
    faults = [*_fit(report), *_residuals(report), *_parameters(report), *_resamples(report)]
    score = max(0.0, 1.0 - sum(fault.price for fault in faults))
    if not report["signal"]["has_signal"]:
        score = min(score, NOISE)
        text = f"no signal: the fit is hardly better than a constant (p = {report['signal']['p_value']:.2g})"
        faults.insert(0, Fault(0.0, text, "do not use these parameters"))
    assessed = report["goodness_of_fit"]["fit_quality_assessment"]
    advice = [*(fault.advice for fault in faults), *assessed["recommendations"], *report["parameter_suggestions"]]
    return {
        "overall_assessment": verdict(score),
        "key_findings": _findings(report),
        "warnings": [*(fault.warning for fault in faults), *assessed["warnings"]],
        "recommendations": [text for text in dict.fromkeys(advice) if text],
        "quality_score": round(score, 10),
    }


def verdict(score: float) -> str:
    """Return the word for a score."""
    return next(word for limit, word in VERDICTS if score >= limit - 1e-9)


def _fit(report: dict[str, Any]) -> list[Fault]:
    """Chi2 where errors are known, the share of the variance in any case; the larger price counts."""
    goodness = report["goodness_of_fit"]
    if goodness["degrees_of_freedom"] <= 0:
        return [Fault(0.6, "there are no more points than parameters")]
    found = []
    share, p = goodness["weighted_r_squared"], goodness["chi_squared_p_value"]
    if not share >= 0.95:
        found.append(Fault(0.1 if share >= 0.8 else 0.2, f"the model leaves {1.0 - share:.0%} of the variance"))
    if p < IMPROBABLE:
        found = [Fault(0.3, f"the errors do not explain how far the points lie off the fit (p = {p:.1e})")]
    return found


def _residuals(report: dict[str, Any]) -> list[Fault]:
    """Structure costs 0.2, once, however many tests see it."""
    tests, seen = report["residual_analysis"], []
    for key, text in (
        ("randomness_test", "residuals change sign too rarely or too often"),
        ("autocorrelation", "residuals of neighbouring points are correlated"),
        ("trend_analysis", "residuals go with ln x"),
    ):
        if tests[key]["p_value"] < SURE:
            seen.append(f"{text} (p = {tests[key]['p_value']:.2g})")
    found = [Fault(0.2, "; ".join(seen), "try another model, or errors that know of correlations")] if seen else []
    count = tests["outliers"]["count"]
    if tests["outliers"]["fraction"] > 0.01 and count:
        found.append(Fault(0.1, f"{count} outliers", "fit with a robust loss, or leave them out"))
    if all(test["p_value"] < SURE for test in tests["normality_tests"].values()):
        found.append(Fault(0.05, "residuals are not normally distributed"))
    if report["heteroscedasticity"]["p_value"] < SURE:
        found.append(Fault(0.05, "the size of the residuals changes along x", "check the errors, or take HC3"))
    return found


def _parameters(report: dict[str, Any]) -> list[Fault]:
    analysis = report["covariance_analysis"]
    found = []
    if not analysis["is_numerically_stable"]:
        found.append(Fault(0.2, "parameters are not told apart, or have no error"))
    vague = [k for k, relative in enumerate(analysis["relative_errors"]) if relative > 1 and relative < np.inf]
    if vague:
        found.append(Fault(0.1, f"parameters {', '.join(map(str, vague))} are smaller than their errors"))
    if analysis["high_correlations"]:
        found.append(Fault(0.05, f"{len(analysis['high_correlations'])} pairs of parameters are strongly correlated"))
    return found


def _resamples(report: dict[str, Any]) -> list[Fault]:
    found = report["bootstrap_analysis"]
    if "error" in found:
        return [Fault(0.1, f"the bootstrap could not be made: {found['error']}")]
    if found.get("success_rate", 1.0) < 0.95:
        return [Fault(0.1, f"{found['n_failed_fits']} of {found['n_bootstrap_requested']} refits failed")]
    return []


def _findings(report: dict[str, Any]) -> list[str]:
    goodness = report["goodness_of_fit"]
    found = [f"R^2 = {goodness['weighted_r_squared']:.4f}"]
    if report["data_info"]["has_uncertainties"]:
        found.append(
            f"reduced chi2 = {goodness['reduced_chi_squared']:.3f} (p = {goodness['chi_squared_p_value']:.2g})"
        )
    found.append(f"stability score = {report['covariance_analysis']['stability_metrics']['stability_score']:.2f}")
    resampled = report["bootstrap_analysis"]
    if "success_rate" in resampled:
        found.append(f"{resampled['n_successful_fits']} of {resampled['n_bootstrap_requested']} refits succeeded")
    return found
