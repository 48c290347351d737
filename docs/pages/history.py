"""The changelog, with its links seen from here."""

from __future__ import annotations

from pathlib import Path

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def page() -> str:
    """Return `CHANGELOG.md` with links that lead from the folder of generated pages."""
    return CHANGELOG.read_text().replace("](docs/", "](../")
