"""Pages that the package writes about itself: names, verbs, models, formats, codes, settings, results.

Each module here makes the text of one page from what the code holds (records, enums, schemas, the command line), so
that a page cannot be behind it. They are written when the site is built; git does not keep them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.pages import api, codes, command_line, formats, history, models, results, settings

PAGES: Mapping[str, Callable[[], str]] = {
    "models.md": models.page,
    "api.md": api.page,
    **{f"{name}.rst": page for name, page in api.parts()},
    "command_line.md": command_line.page,
    "formats.md": formats.page,
    "settings.md": settings.page,
    "results.md": results.page,
    "codes.md": codes.page,
    "history.md": history.page,
}
"""Text of each page, by the name of its file. Docstrings are reStructuredText, and so are their pages."""


def write(folder: Path) -> None:
    """Write all pages into `folder`; files that hold the same already keep their time, others are removed."""
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / name, page()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in folder.iterdir():
        if path.name not in PAGES:
            path.unlink()
