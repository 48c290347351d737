"""Diagnostics of single fits, as the XPCS Toolkit names them; one class a module, all here."""

from __future__ import annotations

from xpcs_dask.toolkit.bootstrap_analysis import BootstrapAnalyzer
from xpcs_dask.toolkit.covariance_analysis import CovarianceAnalyzer
from xpcs_dask.toolkit.diagnostic_report import DiagnosticReporter
from xpcs_dask.toolkit.goodness import GoodnessOfFitAnalyzer
from xpcs_dask.toolkit.residual_analysis import ResidualAnalyzer

__all__ = [
    "BootstrapAnalyzer",
    "CovarianceAnalyzer",
    "DiagnosticReporter",
    "GoodnessOfFitAnalyzer",
    "ResidualAnalyzer",
]
