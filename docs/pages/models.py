"""Every model that is known by name, from its record."""

from __future__ import annotations

from docs.pages.said import code, table
from docs.pages.said import page as put_together
from xpcs_dask.fitting.models import MODELS, Model


def page() -> str:
    """One section a model, after a table of all."""
    rows = (
        (f"[`{name}`](#model-{name})", code(model.formula), len(model.parameters)) for name, model in MODELS.items()
    )
    return put_together(
        "# Model records",
        "All of `xpcs_dask.MODELS`, from the records themselves. What to choose, and how conventions of tools differ, "
        "stands in [models](../models.md). Delays `t` and relaxation times are in seconds.",
        table(("name", "g2(t)", "parameters"), rows),
        *(_section(name, model) for name, model in MODELS.items()),
    )


def _section(name: str, model: Model) -> str:
    rows = ((code(p.name), p.unit or "", p.bounds, p.description) for p in model.parameters)
    facts = [
        f"- fitted by: {'the compiled kernel `' + model.family + '`' if model.family else 'the general path'}",
        f"- derivatives: {'exact' if model.jacobian else 'complex step or differences'}",
        f"- source: {model.source}" if model.source else "",
    ]
    return put_together(
        f"(model-{name})=\n## {name}",
        f"    {model.formula}",
        table(("parameter", "unit", "default bounds", ""), rows),
        "\n".join(fact for fact in facts if fact),
    ).rstrip("\n")
