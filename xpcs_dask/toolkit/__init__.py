"""The interface of the XPCS Toolkit, working: scripts written to its documentation run with this in its place.

Thin adapters: the numbers come from the modules of this package.
"""

from xpcs_dask.toolkit.curve_fit import robust_curve_fit

__all__ = ["robust_curve_fit"]
