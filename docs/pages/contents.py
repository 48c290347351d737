"""The table of contents of the site, read from the list of pages that `index.md` is for a reader of the repository."""

from __future__ import annotations

import re

GENERATED = ("models", "api", "command_line", "formats", "settings", "results", "codes", "history")
"""Generated pages that stand under "Reference", in this order; parts of the API stand below its page."""

MARK = "<!-- generated pages -->"
"""Where `index.md` shows links to them on the site; elsewhere they do not exist."""

LINK = re.compile(r"\]\((\w+)\.md(?:#[\w-]+)?\)")

TITLES = {
    "models": "Model records",
    "api": "API",
    "command_line": "Verbs and options",
    "formats": "Where formats keep what",
    "settings": "Settings and manifests",
    "results": "Variables of results",
    "codes": "Status, flags, exit codes",
    "history": "Changelog",
}


def with_contents(text: str) -> str:
    """`index.md` with a hidden table of contents: a caption for each heading, the pages it links to first."""
    parts = re.split(r"^## (.+)\n", text, flags=re.M)
    trees: list[str] = []
    placed: set[str] = set()
    for caption, body in zip(parts[1::2], parts[2::2], strict=True):
        pages = [page for page in dict.fromkeys(LINK.findall(body)) if page not in placed]
        placed.update(pages)
        if MARK in body:
            pages += [f"generated/{name}" for name in GENERATED]
        if pages:
            trees.append("\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"]))
    links = "\n".join(f"- [{TITLES[name]}](generated/{name}.md)" for name in GENERATED)
    return "\n\n".join([text.replace(MARK, links), *trees, ""])


def with_downloads(text: str) -> str:
    """Text of a page in which links to Markdown files outside of this folder are downloads: the site lacks them."""
    return re.sub(r"\]\((\.\./[\w./-]+\.md)\)", r"](<path:\1>)", text)
