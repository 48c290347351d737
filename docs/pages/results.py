"""Variables of results, from the records that name them."""

from __future__ import annotations

from docs.pages.said import code, table
from docs.pages.said import page as put_together
from xpcs_dask.fitting.layout import RESAMPLED, SCHEMA_VERSION, fit_dtype
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.results.label import CODES, LAST, LONG_NAMES


def page() -> str:
    """Return one table of variables, and how many bytes they take."""
    rows = (
        (code(name), ", ".join(("…", *LAST.get(name, ()))), unit, text + _codes(name), _when(name))
        for name, (text, unit) in LONG_NAMES.items()
    )
    sizes = (
        (code(name), len(model.parameters), *(fit_dtype(model, kind).itemsize for kind in ("core", "full")))
        for name, model in MODELS.items()
    )
    return put_together(
        "# Variables of results",
        f"What `xpcs_dask.fit` and `xpcs_dask.bootstrap` return and stores hold (schema version {SCHEMA_VERSION}). "
        "… stands for the dimensions of the curves, such as `file` and `qbin`; delays are not among them, except for "
        "`quality` and `sigma`. All coordinates of the curves come along. A curve that was not fitted has NaN in all "
        "numbers and a `status` that says why.",
        table(("variable", "over", "unit", "what it is", "there"), rows),
        "The coordinate `parameter` has the names of the parameters and `unit` their units. Attributes hold the "
        "settings, versions, processor and input files that made the results.",
        "## Bytes a curve\n\nBefore compression, without diagnostics and intervals.",
        table(("model", "parameters", 'detail="core"', 'detail="full"'), sizes),
    )


def _codes(name: str) -> str:
    if name not in CODES:
        return ""
    heading = {"quality": "quality-of-points", "errors_from": "errors-from"}.get(name, name)
    return f" ([codes](codes.md#{heading}))"


def _when(name: str) -> str:
    """Say what has to be asked for to have a variable."""
    model = next(iter(MODELS.values()))
    if name in (fit_dtype(model).names or ()):
        return "always"
    if name == "interval":
        return "`interval=`, bootstrap"
    if name in (fit_dtype(model, "full").names or ()):
        return '`detail="full"`'
    if name in dict(RESAMPLED):
        return "bootstrap"
    return {"replicate": "`keep_replicates=True`", "quality": '`detail="full"`', "sigma": "`xpcs_dask.quality`"}.get(
        name, "`diagnostics=`"
    )
