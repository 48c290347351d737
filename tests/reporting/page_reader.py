"""A report as a reader sees it: headings, sentences, tables; and the rows that it carries."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """What stands in a page.

    Parameters
    ----------
    path : Path
        Of the page.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.problems: list[str] = []
        self.scripts: dict[str, str] = {}
        self.words: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self._script = ""
        self.feed(self.source)
        self.close()
        self.problems += [f"<{tag}> is not closed" for tag in self.open]
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"<{tag}> has an attribute twice")
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self._script = dict(attrs).get("id") or "code"
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif inside != "style":
            self.words.append(data)
            if self.headings and any(re.fullmatch("h[1-6]", tag) for tag in self.open):
                level, text = self.headings[-1]
                self.headings[-1] = (level, " ".join(f"{text}{data}".split()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def json(self, name: str):
        return json.loads(self.scripts[name])

    def rows(self, table: str) -> list[dict[str, str]]:
        packed = gzip.decompress(base64.b64decode(self.scripts[f"data-{table}"]))
        return list(csv.DictReader(io.StringIO(packed.decode("utf-8"))))

    @property
    def figures(self) -> list[str]:
        return [str(image["alt"]) for image in self.all("img")]
