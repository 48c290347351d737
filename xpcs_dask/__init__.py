"""Fits of X-ray photon correlation spectroscopy (XPCS) curves: many curves, each fitted as well as one curve can be.

Files become one lazy Dataset (`open_g2`), every curve of it is fitted (`fit`, `fit_curves` for plain arrays), and the
results are one labelled Dataset too (`save`, `open_results`). Importing this package is light: what a name needs is
imported when the name is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpcs_dask import plots, simulate
    from xpcs_dask.api import fit, quality
    from xpcs_dask.bootstrapping import bootstrap
    from xpcs_dask.comparison import compare
    from xpcs_dask.config import BootstrapConfig, FitConfig, RunConfig
    from xpcs_dask.fitting.curves import fit_curves
    from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Rung, Status, flag_names
    from xpcs_dask.fitting.models import MODELS, Model, Parameter
    from xpcs_dask.fitting.quality import PointFlag
    from xpcs_dask.io.export import export
    from xpcs_dask.io.extras import open_arrays
    from xpcs_dask.io.open import open_g2
    from xpcs_dask.io.pack import pack
    from xpcs_dask.jobs import Manifest, run
    from xpcs_dask.physics.average import average, rejections
    from xpcs_dask.physics.dispersion import dispersion
    from xpcs_dask.physics.joint import joint
    from xpcs_dask.physics.qmaps import open_qmap, qmap
    from xpcs_dask.physics.regroup import regroup
    from xpcs_dask.physics.regroup_store import write_regrouped
    from xpcs_dask.planning import plan
    from xpcs_dask.reporting import report
    from xpcs_dask.results import open_results, save
    from xpcs_dask.streaming import stream

    __version__: str

__all__ = [
    "MODELS",
    "BootstrapConfig",
    "ErrorsFrom",
    "FitConfig",
    "Flag",
    "Manifest",
    "Model",
    "Parameter",
    "PointFlag",
    "RunConfig",
    "Rung",
    "Status",
    "__version__",
    "average",
    "bootstrap",
    "compare",
    "dispersion",
    "export",
    "fit",
    "fit_curves",
    "flag_names",
    "joint",
    "open_arrays",
    "open_g2",
    "open_qmap",
    "open_results",
    "pack",
    "plan",
    "plots",
    "qmap",
    "quality",
    "regroup",
    "rejections",
    "report",
    "run",
    "save",
    "simulate",
    "stream",
    "write_regrouped",
]

_HOME = {
    "MODELS": "xpcs_dask.fitting.models",
    "BootstrapConfig": "xpcs_dask.config",
    "ErrorsFrom": "xpcs_dask.fitting.layout",
    "FitConfig": "xpcs_dask.config",
    "Flag": "xpcs_dask.fitting.layout",
    "Manifest": "xpcs_dask.jobs",
    "Model": "xpcs_dask.fitting.models",
    "Parameter": "xpcs_dask.fitting.models",
    "PointFlag": "xpcs_dask.fitting.quality",
    "Rung": "xpcs_dask.fitting.layout",
    "RunConfig": "xpcs_dask.config",
    "Status": "xpcs_dask.fitting.layout",
    "average": "xpcs_dask.physics.average",
    "bootstrap": "xpcs_dask.bootstrapping",
    "compare": "xpcs_dask.comparison",
    "dispersion": "xpcs_dask.physics.dispersion",
    "export": "xpcs_dask.io.export",
    "fit": "xpcs_dask.api",
    "fit_curves": "xpcs_dask.fitting.curves",
    "flag_names": "xpcs_dask.fitting.layout",
    "joint": "xpcs_dask.physics.joint",
    "open_arrays": "xpcs_dask.io.extras",
    "open_g2": "xpcs_dask.io.open",
    "open_qmap": "xpcs_dask.physics.qmaps",
    "open_results": "xpcs_dask.results",
    "pack": "xpcs_dask.io.pack",
    "plan": "xpcs_dask.planning",
    "qmap": "xpcs_dask.physics.qmaps",
    "quality": "xpcs_dask.api",
    "regroup": "xpcs_dask.physics.regroup",
    "rejections": "xpcs_dask.physics.average",
    "report": "xpcs_dask.reporting",
    "run": "xpcs_dask.jobs",
    "save": "xpcs_dask.results",
    "stream": "xpcs_dask.streaming",
    "write_regrouped": "xpcs_dask.physics.regroup_store",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("xpcs-dask")
    if name in ("plots", "simulate"):
        return import_module(f"xpcs_dask.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'xpcs_dask' has no attribute '{name}'")
    found = getattr(import_module(_HOME[name]), name)
    _register()
    return found


def _register() -> None:
    """Give Datasets their ``.xpcs`` as soon as there can be any."""
    if "xarray" in sys.modules:
        import_module("xpcs_dask.accessor")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_register()
