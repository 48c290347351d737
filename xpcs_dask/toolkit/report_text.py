"""A report of a fit as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

WIDE = 72


def report_text(report: dict[str, Any]) -> str:
    """Write what a report holds for people to read, one part after the other."""
    summary = report["summary"]
    lines = [
        "=" * WIDE,
        f"Fit of {report['function_name']}, {report['timestamp']}",
        "=" * WIDE,
        f"Overall: {summary['overall_assessment']} (score: {summary['quality_score']:.2f})",
        *_part("Data", _data(report["data_info"])),
        *_part("Goodness of fit", _goodness(report["goodness_of_fit"])),
        *_part("Parameters", _parameters(report)),
        *_part("Residuals", _residuals(report["residual_analysis"])),
        *_part("Bootstrap", _bootstrap(report["bootstrap_analysis"])),
        *_part("Findings", (f"- {text}" for text in summary["key_findings"])),
        *_part("Warnings", (f"- {text}" for text in summary["warnings"] if text)),
        *_part("Recommendations", (f"- {text}" for text in summary["recommendations"])),
    ]
    return "\n".join(lines) + "\n"


def _part(title: str, lines: Iterator[str]) -> list[str]:
    found = list(lines)
    return ["", title, "-" * len(title), *found] if found else []


def _data(info: dict[str, Any]) -> Iterator[str]:
    yield f"points: {info['n_data_points']} ({info['n_points_left_out']} left out), parameters: {info['n_parameters']}"
    if info["x_range"]:
        yield f"x: {info['x_range'][0]:.4g} to {info['x_range'][1]:.4g}"
    yield f"y: {info['y_range'][0]:.6g} to {info['y_range'][1]:.6g}"
    yield f"errors: {'given' if info['has_uncertainties'] else 'not given, found from the residuals'}"


def _goodness(found: dict[str, Any]) -> Iterator[str]:
    yield f"R^2: {found['r_squared']:.6f}, weighted {found['weighted_r_squared']:.6f}"
    yield f"chi2: {found['chi_squared']:.6g} for {found['degrees_of_freedom']} degrees of freedom"
    yield f"reduced chi2: {found['reduced_chi_squared']:.4g}, p: {found['chi_squared_p_value']:.3g}"
    yield f"AIC: {found['aic']:.3f}, AICc: {found['aic_corrected']:.3f}, BIC: {found['bic']:.3f}"


def _parameters(report: dict[str, Any]) -> Iterator[str]:
    analysis = report["covariance_analysis"]
    statistics = report["bootstrap_analysis"].get("parameter_statistics", {})
    for k, (error, relative) in enumerate(zip(analysis["parameter_errors"], analysis["relative_errors"], strict=True)):
        line = f"param_{k}: error {error:.4g} ({relative:.2%})"
        if f"param_{k}" in statistics:
            known = statistics[f"param_{k}"]
            low, high = known["confidence_interval"]
            line += f", estimate {known['original_estimate']:.6g}, interval {low:.6g} to {high:.6g}"
        yield line
    yield f"condition number of the correlations: {analysis['condition_number']:.4g}"
    yield from (f"! {issue}" for issue in analysis["stability_issues"])


def _residuals(found: dict[str, Any]) -> Iterator[str]:
    outliers, runs, near, line = (
        found[key] for key in ("outliers", "randomness_test", "autocorrelation", "trend_analysis")
    )
    yield f"outliers: {outliers['count']} ({outliers['fraction']:.1%})"
    yield f"runs: {runs['runs']} (p = {runs['p_value']:.3g})"
    yield f"correlation of neighbours: {near['lag_1']:.3f} (p = {near['p_value']:.3g})"
    yield f"trend over ln x: {line['slope']:.3g} (p = {line['p_value']:.3g})"
    for name, test in found["normality_tests"].items():
        yield f"normality, {name.replace('_', ' ')}: p = {test['p_value']:.3g}"


def _bootstrap(found: dict[str, Any]) -> Iterator[str]:
    for key in ("skipped", "error"):
        if key in found:
            yield f"{key}: {found[key]}"
            return
    yield f"{found['method']}, {found['n_successful_fits']} of {found['n_bootstrap_requested']} refits"
    yield f"{found['interval_kind']} intervals of {found['confidence_level']:.0%}"
