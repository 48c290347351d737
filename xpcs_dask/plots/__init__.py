"""Figures: what was measured, what was fitted, what to distrust; for a journal column, and for everyone's eyes.

Every function takes the Datasets of this package, lazy or not, computes no more than what it draws, and draws on the
`axes` it is given, or on those of a new figure. Axes come back; ``axes.figure.savefig("name.pdf")`` writes them. No
function touches pyplot.
"""

from __future__ import annotations

from xpcs_dask.plots.choice import comparison
from xpcs_dask.plots.correlations import replicates
from xpcs_dask.plots.curve_figure import g2
from xpcs_dask.plots.files import parameter_map
from xpcs_dask.plots.history import run_history
from xpcs_dask.plots.law import tau_q
from xpcs_dask.plots.over_q import parameter
from xpcs_dask.plots.points import reasons
from xpcs_dask.plots.quality_figure import quality_map
from xpcs_dask.plots.series import parameter_series
from xpcs_dask.plots.twotime_figure import twotime

__all__ = [
    "comparison",
    "g2",
    "parameter",
    "parameter_map",
    "parameter_series",
    "quality_map",
    "reasons",
    "replicates",
    "run_history",
    "tau_q",
    "twotime",
]
