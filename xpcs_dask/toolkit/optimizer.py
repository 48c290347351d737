"""Optimizers as the XPCS Toolkit names them; one class a module, all here."""

from __future__ import annotations

from xpcs_dask.toolkit.diagnosed_optimizer import RobustOptimizerWithDiagnostics
from xpcs_dask.toolkit.robust_optimizer import RobustOptimizer
from xpcs_dask.toolkit.strategies import OptimizationStrategy

__all__ = ["OptimizationStrategy", "RobustOptimizer", "RobustOptimizerWithDiagnostics"]
