"""The Python interface: every public name, by what it is for, with its docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import xpcs_dask
from docs.pages.said import first_line, table
from docs.pages.said import page as put_together

GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "api_curves": (
        "Curves: open, look, prepare",
        (
            "open_g2",
            "open_arrays",
            "open_qmap",
            "qmap",
            "quality",
            "average",
            "rejections",
            "regroup",
            "write_regrouped",
            "pack",
        ),
    ),
    "api_fits": (
        "Fits, intervals, models",
        ("fit", "fit_curves", "bootstrap", "compare", "flag_names", "Model", "Parameter", "MODELS"),
    ),
    "api_physics": ("tau(q) and diffusion", ("dispersion", "joint")),
    "api_jobs": ("Results and large jobs", ("save", "open_results", "export", "plan", "stream", "run", "Manifest")),
    "api_settings": ("Settings", ("FitConfig", "BootstrapConfig", "RunConfig")),
    "api_codes": ("Codes", ("Status", "Flag", "PointFlag", "Rung", "ErrorsFrom")),
}
"""Pages of names at the top of the package; a name that is in none of them goes to the first."""

MODULES: tuple[str, ...] = (
    "xpcs_dask.accessor",
    "xpcs_dask.simulate",
    "xpcs_dask.cluster",
    "xpcs_dask.plots",
    "xpcs_dask.reporting",
    "xpcs_dask.view",
    "xpcs_dask.errors",
)
"""Modules with a page of their own, which shows what is in their ``__all__``; those that do not exist are left out."""

FITTING = (
    "models.resolve",
    "curves.CurveFits",
    "layout.fit_dtype",
    "quality.quoted",
    "error_model.model_errors",
    "blocks.Job",
    "blocks.fit_block",
    "bootstrap.bootstrap_block",
    "selection.compare_block",
    "uncertainty.covariance",
    "clusters.cluster_errors",
    "intervals.interval",
    "diagnostics.diagnose",
)
"""What is called from outside of `xpcs_dask.fitting`, the part that knows no file, no Dask and no xarray."""


def page() -> str:
    """Return tables of all public names, and the contents of the pages below."""
    sections = [
        f"## [{title}]({name}.rst)\n\n{table(('name', ''), _rows('xpcs_dask', names))}"
        for name, (title, names) in groups().items()
    ]
    sections += [
        f"## [{module.__name__}]({page_of(module)}.rst)\n\n{first_line(module)}\n\n"
        + table(("name", ""), _rows(module.__name__, _public(module)))
        for module in modules()
    ]
    names = [*groups(), *map(page_of, modules()), "api_fitting"]
    return put_together(
        "# API",
        "Names at the top of the package (`import xpcs_dask as xd`), and modules below it. What starts with an "
        "underscore, and modules that are not named here, may change. The interface of the XPCS Toolkit has a "
        "[page of its own](../toolkit_api.md).",
        "\n".join(["```{toctree}", ":hidden:", "", *names, "```"]),
        *sections,
        "## [xpcs_dask.fitting](api_fitting.rst)\n\nThe fit of a block of curves, NumPy in and NumPy out.",
    )


def parts() -> Iterator[tuple[str, Callable[[], str]]]:
    """Name and writer of the pages below the table."""
    for name, (title, names) in groups().items():
        yield name, lambda title=title, names=names: _page(title, "", [f"xpcs_dask.{one}" for one in names])
    for module in modules():
        yield (
            page_of(module),
            lambda module=module: _page(
                module.__name__, first_line(module), [f"{module.__name__}.{name}" for name in _public(module)]
            ),
        )
    said = "The fit of a block of curves, NumPy in and NumPy out: what tasks call."
    yield "api_fitting", lambda: _page("xpcs_dask.fitting", said, [f"xpcs_dask.fitting.{name}" for name in FITTING])


def groups() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return `GROUPS`, with names that are in none of them in the first."""
    known = {one for _, names in GROUPS.values() for one in names}
    others = tuple(name for name in xpcs_dask.__all__ if name not in known and _documented(name))
    first = next(iter(GROUPS))
    return {name: (title, names + others if name == first else names) for name, (title, names) in GROUPS.items()}


def _documented(name: str) -> bool:
    """Whether a name of the package has an entry here: a module has a page, and the version is a text."""
    found = getattr(xpcs_dask, name)
    return name != "__version__" and not inspect.ismodule(found)


def modules() -> list[ModuleType]:
    """Return those of `MODULES` that exist and say what is public."""
    found = [import_module(name) for name in MODULES if find_spec(name)]
    return [module for module in found if getattr(module, "__all__", ())]


def page_of(module: ModuleType) -> str:
    """Name of the page of a module."""
    return "api_" + module.__name__.removeprefix("xpcs_dask.").replace(".", "_")


def _public(module: ModuleType) -> list[str]:
    return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]


def _rows(home: str, names: tuple[str, ...] | list[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        found = getattr(import_module(home), name)
        yield f"{{py:obj}}`{name} <{home}.{name}>`", first_line(found) if callable(found) else ""


def _page(title: str, said: str, names: list[str]) -> str:
    """Return a page with the docstring of each name, in reStructuredText as these are."""
    return put_together(f"{title}\n{'=' * len(title)}", said, *(_entry(name) for name in names))


def _entry(name: str) -> str:
    """Directive that shows one name."""
    home, _, last = name.rpartition(".")
    found: Any = getattr(import_module(home), last)
    if inspect.isclass(found):
        options = [":members:"] if not issubclass(found, BaseException) else []
        directive = "autoclass"
    else:
        options, directive = [], "autofunction" if callable(found) else "autodata"
    return "\n".join([f".. {directive}:: {name}", *(f"   {one}" for one in options)])
