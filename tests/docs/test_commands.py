"""Commands that pages show have verbs and options that the program has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from xpcs_dask.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
PROGRAM = typer.main.get_command(app)
COMMAND = re.compile(r"^(?:\.venv/bin/)?xpcs-dask ([^#\n]*)", re.M)


def commands(text):
    """Return the commands of the blocks of a page, as words."""
    blocks = re.findall(r"^```(?:bash|sh|console)?\n(.*?)^```", text, re.M | re.S)
    blocks += [re.sub(r"^ {4}", "", block, flags=re.M) for block in re.findall(r"(?:^ {4}.*\n)+", text, re.M)]
    return [line.strip() for block in blocks for line in COMMAND.findall(block)]


def strange(command):
    """Return the verb or the options of a command that do not exist."""
    words = shlex.split(command.replace("[", " ").replace("]", " ").replace("|", " "))
    verb = PROGRAM.commands.get(words[0]) if words else None
    while verb is not None and hasattr(verb, "commands") and len(words) > 1:
        words, verb = words[1:], verb.commands.get(words[1])
    owner = PROGRAM if words and words[0].startswith("-") else verb
    if owner is None:
        return words[:1]
    known = {name for one in owner.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    return [word for word in words if word.startswith("-") and word.split("=")[0] not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_exist(page):
    shown = [line for line in commands(page.read_text()) if not re.match(r"\w+\|", line) and line.split()[0] != "VERB"]
    assert {line: strange(line) for line in shown if strange(line)} == {}


def test_commands_that_do_not_exist_are_found():
    text = (
        "    xpcs-dask fits a.hdf\n    xpcs-dask fit a.hdf --modle single   # no\n\n```bash\nxpcs-dask --version\n```\n"
    )
    assert [strange(line) for line in commands(text)] == [[], ["fits"], ["--modle"]]


def test_the_guide_shows_every_verb():
    page = (ROOT / "docs" / "cli.md").read_text()
    shown = set(re.findall(r"\b[a-z]+\b", " ".join(re.findall(r"xpcs-dask ([a-z|]+)", page)).replace("|", " ")))
    assert set(PROGRAM.commands) - shown - {"plan", "cache"} == set()  # these have pages of their own
