"""Fields of settings files and manifests, from the schemas that are published beside the pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs.pages.said import code, of_attributes, table
from docs.pages.said import page as put_together
from xpcs_dask import config
from xpcs_dask.jobs import manifest

SCHEMAS = Path(__file__).parents[1] / "schemas"


def page() -> str:
    """Sections for the settings of a run and for its manifest; one table a record inside."""
    return put_together(
        "# Settings and manifests",
        "Fields of a settings file (`xpcs-dask run run.yaml`, `xpcs_dask.RunConfig`) and of the manifest that a job "
        "leaves. Both are published as JSON schemas: "
        "{download}`run.json <../schemas/run.json>` and {download}`manifest.json <../schemas/manifest.json>`. "
        "How they are used stands in [jobs](../jobs.md).",
        "## Settings of a run",
        *_records("run", "RunConfig", config),
        "## Manifest",
        *_records("manifest", "Manifest", manifest),
    )


def _records(name: str, top: str, module: Any) -> list[str]:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    inside = {of: record for of, record in schema.get("$defs", {}).items() if hasattr(module, of)}
    own = {of: record for of, record in inside.items() if getattr(module, of).__module__ == module.__name__}
    return [_record(of, record, module) for of, record in {top: schema, **own}.items()]


def _record(name: str, schema: dict[str, Any], module: Any) -> str:
    kind = getattr(module, name)
    said: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if owner.__module__ == module.__name__:
            said |= of_attributes(owner)
    needed = schema.get("required", [])
    rows = (
        (code(field), type_of(one), "needed" if field in needed else _default(one), said.get(field, ""))
        for field, one in schema["properties"].items()
    )
    return f"### {name}\n\n" + table(("field", "type", "default", "meaning"), rows)


def type_of(one: dict[str, Any]) -> str:
    """Say in a few words what a part of a schema allows."""
    if "$ref" in one:
        return one["$ref"].rsplit("/", 1)[-1]
    if "enum" in one:
        return ", ".join(code(value) for value in one["enum"])
    if "const" in one:
        return code(one["const"])
    if "anyOf" in one:
        return " or ".join(dict.fromkeys(type_of(part) for part in one["anyOf"]))
    kind = {"array": "list", "object": "mapping", "string": "text", "boolean": "true or false"}.get(
        one.get("type", ""), one.get("type", "anything")
    )
    inside = one.get("items") or one.get("additionalProperties")
    return f"{kind} of {type_of(inside)}" if isinstance(inside, dict) and inside else kind


def _default(one: dict[str, Any]) -> str:
    if isinstance(one.get("default"), dict) and one["default"]:
        return "its own defaults"
    return code(json.dumps(one["default"])) if "default" in one else ""
