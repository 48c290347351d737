"""The built site: no warning, nothing asked of another host, and everything public in its reference."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from sphinx.util.inventory import InventoryFile

import xpcs_dask
from docs.pages import codes
from docs.pages.api import modules
from xpcs_dask.cli.main import app
from xpcs_dask.config import BootstrapConfig, FitConfig, RunConfig
from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Rung, Status
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.io import schema
from xpcs_dask.io.formats import READERS
from xpcs_dask.jobs import Manifest
from xpcs_dask.physics.law_record import Note
from xpcs_dask.physics.repeats import Reason
from xpcs_dask.physics.used_bins import Lack
from xpcs_dask.results.label import LONG_NAMES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site as `make docs` does, elsewhere."""
    out = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(out / "doctrees")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(out / "html")],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_pages_are_links_and_other_files_downloads(site):
    downloads = {path.name for path in (site / "_downloads").rglob("*") if path.is_file()}
    assert not downloads & {path.name for path in (ROOT / "docs").glob("*.md")}
    assert {"README.md", "01_first_fit.ipynb", "run.json"} <= downloads
    assert 'href="../errors.html"' in (site / "generated" / "settings.html").read_text()


class Page(HTMLParser):
    """What a page asks for when it is read, and the text of its tables, row by row."""

    def __init__(self, text):
        super().__init__()
        self.asked, self.rows, self._cell = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag in ("script", "img", "iframe", "source"):
            self.asked.append(found.get("src") or "")
        if tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon", "shortcut icon", "preconnect"):
            self.asked.append(found.get("href") or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None and self.rows:
            self.rows[-1].append(" ".join(self._cell.split()))
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data


def page(site, name):
    return Page((site / f"{name}.html").read_text())


def firsts(site, name):
    """Return the first cells of all rows of a page, and what stands beside each."""
    return {row[0]: row[1:] for row in page(site, f"generated/{name}").rows if row}


def test_nothing_is_asked_of_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for path in pages:
        far = [asked for asked in Page(path.read_text()).asked if re.match(r"(?:https?:)?//", asked)]
        assert far == [], path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", path.read_text()), path.name


def test_every_public_name_has_an_entry(site):
    with (site / "objects.inv").open("rb") as file:
        known = InventoryFile.load(file, "", lambda base, path: path)
    documented = {name for kind, names in known.items() if kind.startswith("py:") for name in names}
    names = {f"xpcs_dask.{n}" for n in xpcs_dask.__all__ if not inspect.ismodule(getattr(xpcs_dask, n))}
    names |= {f"{module.__name__}.{n}" for module in modules() for n in module.__all__}
    names = {name for name in names if not name.endswith("__") and not inspect.ismodule(_find(name))}
    assert names - documented == set()
    assert {"xpcs_dask.fit", "xpcs_dask.simulate.speckle", "xpcs_dask.cluster.connect"} <= names


def _find(name):
    home, _, last = name.rpartition(".")
    return getattr(sys.modules[home], last)


def test_every_module_with_a_page_is_public(site):
    assert {"xpcs_dask.accessor", "xpcs_dask.simulate", "xpcs_dask.cluster", "xpcs_dask.errors"} <= {
        module.__name__ for module in modules()
    }


def test_every_verb_and_option_is_told(site):
    text = (site / "generated" / "command_line.html").read_text()
    program = typer.main.get_command(app).commands
    found = {name: verb for name, verb in program.items() if not hasattr(verb, "commands")}
    found |= {
        f"{name} {below}": verb for name in program.keys() - found for below, verb in program[name].commands.items()
    }
    assert {"fit", "info", "cache clear"} <= set(found)
    for name, verb in found.items():
        section = text.split(f'id="verb-{name.replace(" ", "-")}"')[1].split("</section>")[0]
        cells = [row[0] for row in Page(section).rows if row]
        for one in verb.params:
            if one.param_type_name == "option":
                assert ", ".join((*one.opts, *one.secondary_opts)) in cells, (name, one.name)
    fit = {row[0]: row[2] for row in Page(text.split('id="verb-fit"')[1].split("</section>")[0]).rows if len(row) > 2}
    assert fit["--model"] == "single"
    assert fit["--level"] == "0.95"
    assert fit["--strict"] == "off"
    assert fit["--bootstrap"] == ""


CODES = {
    "status": Status,
    "flags": Flag,
    "quality of points": PointFlag,
    "rung": Rung,
    "errors_from": ErrorsFrom,
    "flags of a law": Note,
    "excluded bins": Lack,
    "rejected repeats": Reason,
}


@pytest.mark.parametrize(("title", "kind"), CODES.items(), ids=CODES)
def test_every_code_is_told_with_its_meaning(site, title, kind):
    text = (site / "generated" / "codes.html").read_text()
    section = text.split(f">{title}<a", 1)[1].split("</section>")[0]
    rows = {row[1]: row for row in Page(section).rows if len(row) == 3}
    for one in kind:
        assert rows[one.name.lower()][0] == str(int(one))
        assert rows[one.name.lower()][2], one.name


def test_exit_codes_are_those_of_the_guide(site):
    guide = (ROOT / "docs" / "cli.md").read_text().split("## Exit codes")[1]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", guide, re.M)}
    assert told == set(codes.exit_codes())
    cells = firsts(site, "codes")
    assert {str(code) for code in told} <= set(cells)


def test_every_model_is_told_as_its_record(site):
    text = (site / "generated" / "models.html").read_text()
    for name, model in MODELS.items():
        section = text.split(f'id="model-{name}"')[1].split("</section>")[0]
        cells = {row[0]: row[1:] for row in Page(section).rows if row}
        for one in model.parameters:
            assert cells[one.name] == [one.unit, one.bounds, " ".join(one.description.split())]
        assert model.source.split(";")[0] in " ".join(section.split())


def test_every_variable_and_path_is_told(site):
    results, formats = firsts(site, "results"), firsts(site, "formats")
    assert set(LONG_NAMES) - set(results) == set()
    assert (set(schema.VARIABLES) | set(schema.SCALARS) | set(READERS)) - set(formats) == set()
    pairs = {tuple(row[:2]) for row in page(site, "generated/formats").rows}
    assert {(name, f"/{path}") for name, path in schema.APS_SCALARS.items()} <= pairs
    assert {("g2", f"/{schema.APS.g2}"), ("delay_list", f"/{schema.APS.delay_list}")} <= pairs


def test_every_setting_is_told(site):
    settings = firsts(site, "settings")
    for kind in (RunConfig, FitConfig, BootstrapConfig, Manifest):
        assert set(kind.model_fields) - set(settings) == set()
    assert settings["loss"][1] == '"linear"'
