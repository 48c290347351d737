"""``ds.xpcs``: the verbs on a Dataset of curves or results, and what it holds at a glance.

Importing this module registers the accessor with xarray; using any name of `xpcs_dask` does it too.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from xpcs_dask.errors import ConfigError
from xpcs_dask.overview import overview
from xpcs_dask.readable import card

__all__ = ["XpcsAccessor", "XpcsPlots"]

NOT_OF_DATA = ("reasons", "run_history")
"""What `xpcs_dask.plots` has beside figures of a Dataset."""

Data = xr.Dataset | xr.DataTree


class XpcsPlots:
    """Functions of `xpcs_dask.plots` with the data put first."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Draw the first figure to look at: `plots.g2` of curves, `plots.parameter` of results."""
        return getattr(self, "g2" if "g2" in self._data else "parameter")(*arguments, **settings)

    def __getattr__(self, name: str) -> Any:
        from xpcs_dask import plots

        if name not in self.__dir__():
            raise AttributeError(f"there is no figure {name}; there are {', '.join(self.__dir__())}")
        return partial(getattr(plots, name), self._data)

    def __dir__(self) -> list[str]:
        from xpcs_dask import plots

        return [name for name in plots.__all__ if name not in NOT_OF_DATA]


class XpcsAccessor:
    """Verbs of `xpcs_dask` on the Dataset or DataTree at hand; each is the function of that name, lazy as it is.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataTree
        Curves as `open_g2` gives them, or results of `fit`, `bootstrap`, `dispersion`.
    """

    def __init__(self, data: Data) -> None:
        self._data = data

    def __repr__(self) -> str:
        title, rows = overview(self._data)
        return "\n".join([f"<xpcs: {title}>", *(f"  {name}: {text}" for name, text in rows.items())])

    def _repr_html_(self) -> str:
        return card(*overview(self._data))

    def fit(self, model: Any = "single", **settings: Any) -> Any:
        """Fit a model to every curve; arguments and result as of `xpcs_dask.fit`."""
        from xpcs_dask.api import fit

        return fit(self._curves("fit"), model, **settings)

    def bootstrap(self, fit: xr.Dataset | None = None, **settings: Any) -> Any:
        """Intervals from refits of resampled data; arguments and result as of `xpcs_dask.bootstrap`."""
        from xpcs_dask.bootstrapping import bootstrap

        return bootstrap(self._curves("bootstrap"), fit, **settings)

    def compare(self, models: Any = ("simple", "single", "double"), **settings: Any) -> Any:
        """Say what speaks for which model; arguments and result as of `xpcs_dask.compare`."""
        from xpcs_dask.comparison import compare

        return compare(self._curves("compare"), models, **settings)

    def plan(self, model: Any = "single", **settings: Any) -> Any:
        """Say what a fit will take; arguments and result as of `xpcs_dask.plan`."""
        from xpcs_dask.planning import plan

        return plan(self._curves("plan"), model, **settings)

    def average(self, over: str = "", **settings: Any) -> xr.Dataset:
        """Average repeats; arguments and result as of `xpcs_dask.average`."""
        from xpcs_dask.physics.average import average

        return average(self._curves("average"), over, **settings)

    def quality(self, **settings: Any) -> Any:
        """Errors that weigh the points and what is wrong with points; as of `xpcs_dask.quality`."""
        from xpcs_dask.api import quality

        return quality(self._curves("quality"), **settings)

    def dispersion(self, law: Any = "diffusion", **settings: Any) -> Any:
        """Fit a law tau(q) to results of `fit`; arguments and result as of `xpcs_dask.dispersion`."""
        from xpcs_dask.physics.dispersion import dispersion

        return dispersion(self._results("dispersion"), law, **settings)

    def summary(self) -> dict[str, Any]:
        """Count how the fits ended, as of `xpcs_dask.results.summary`; computes what it counts."""
        from xpcs_dask.results.summary import summary

        return summary(self._results("summary"))

    def save(self, path: str | os.PathLike[str], **settings: Any) -> Any:
        """Write results; arguments as of `xpcs_dask.save`."""
        from xpcs_dask.results import save

        return save(self._results("save"), path, **settings)

    @property
    def plot(self) -> XpcsPlots:
        """Figures of `xpcs_dask.plots` of these data: ``plot()`` the first one to look at, ``plot.tau_q()`` any."""
        return XpcsPlots(self._data)

    def report(self, output: str | os.PathLike[str] = "report.html", **settings: Any) -> Path:
        """Write an HTML page about results; arguments and result as of `xpcs_dask.report`."""
        from xpcs_dask.reporting import report

        return report(self._results("report"), output, **settings)

    def _curves(self, verb: str) -> Any:
        return self._with("g2", f"{verb} takes curves (a variable g2), as open_g2 gives them")

    def _results(self, verb: str) -> Any:
        return self._with("value", f"{verb} takes results (a variable value), as fit gives them")

    def _with(self, name: str, needs: str) -> Any:
        nodes = self._data.subtree if isinstance(self._data, xr.DataTree) else [self._data]
        if not any(name in node.data_vars for node in nodes):
            raise ConfigError(f"{needs}; these data have {', '.join(map(str, self._data.data_vars)) or 'no variables'}")
        return self._data


xr.register_dataset_accessor("xpcs")(XpcsAccessor)
xr.register_datatree_accessor("xpcs")(XpcsAccessor)
