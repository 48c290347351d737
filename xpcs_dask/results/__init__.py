"""Packed columns to a labelled Dataset and back from disk: names, units, codes, provenance, stores."""

from xpcs_dask.results.label import covariance_matrix, label, label_points
from xpcs_dask.results.packed import PackedFits
from xpcs_dask.results.provenance import provenance
from xpcs_dask.results.store import MIGRATIONS, holds_results, open_results, save
from xpcs_dask.results.summary import summary

__all__ = [
    "MIGRATIONS",
    "PackedFits",
    "covariance_matrix",
    "holds_results",
    "label",
    "label_points",
    "open_results",
    "provenance",
    "save",
    "summary",
]
