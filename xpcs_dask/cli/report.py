"""What a finished run says about itself: one record, printed as one JSON object or as ``Key: value`` lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpcs_dask.jobs import Manifest

Report = dict[str, Any]

COUNTS = ("curves", "ok", "failed", "flagged", "status_counts", "rung_counts")


def of_manifest(manifest: Manifest) -> Report:
    """Return what is printed of a finished job."""
    counts = manifest.counts.model_dump()
    return {name: counts[name] for name in COUNTS} | {
        "rejected": [{"file": item.file, "reason": item.reason} for item in manifest.rejected],
        "seconds": manifest.seconds,
        "curves_per_second": manifest.curves_per_second,
        "output": manifest.output,
        "manifest": manifest.manifest,
        "version": manifest.version,
    }


def as_json(report: Report) -> str:
    """One JSON object on one line."""
    return json.dumps(report)


def as_lines(report: Report) -> str:
    """Stable ``Key: value`` lines; each rejected file has a line of its own, and counts of 0 are left out."""
    lines = []
    for key, value in report.items():
        title = key.replace("_", " ").capitalize()
        if key == "rejected":
            lines.append(f"{title}: {len(value)}")
            lines += [f"Rejected file: {item['file']}: {item['reason']}" for item in value]
        elif isinstance(value, dict):
            lines.append(f"{title}: " + ", ".join(f"{name} {number}" for name, number in value.items() if number))
        else:
            lines.append(f"{title}: {value}")
    return "\n".join(lines)
