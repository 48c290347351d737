"""The Python blocks of the documentation run, and its tables of codes are those of the package."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import carried
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.fitting.quality import PointFlag

DOCS = Path(__file__).parents[1] / "docs"
FITTING = (DOCS / "fitting.md").read_text()


def rows(section):
    text = FITTING.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return {int(code): name for code, name in re.findall(r"^\| (\d+) \| (\w+) \|", text, re.M)}


@pytest.mark.parametrize(
    ("section", "codes"),
    [("status", Status), ("flags", Flag), ("quality of points", PointFlag)],
    ids=["status", "flags", "points"],
)
def test_the_tables_of_codes_are_complete(section, codes):
    assert rows(section) == {int(code): str(code.name).lower() for code in codes}


def test_every_model_is_documented():
    text = (DOCS / "models.md").read_text()
    for name, model in MODELS.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert line.endswith(f"| {', '.join(model.names)} |")


WALKED = ("tutorial",)
"""Pages whose bash blocks make what their Python blocks read: `tests/docs` runs both, in their order."""
PAGES = [*(page for page in sorted(DOCS.glob("*.md")) if page.stem not in WALKED), DOCS.parent / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_blocks_run(page, tmp_path, monkeypatch):
    """In a folder with result files, and with a few curves at hand."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    for run, name in (("run7", "results"), ("run8", "partial_results")):
        source = carried(f"boost_corr/S0001_bright_a0000_f004096_r00001_{name}.hdf")
        (tmp_path / "results" / f"{run}_results.hdf").symlink_to(source)
    x = np.geomspace(1e-4, 1, 30)
    y = np.random.default_rng(0).normal(1 + 0.2 * np.exp(-2 * x / 0.01), 1e-3, (4, 30))
    names = {"x": x, "y": y, "sigma": np.full_like(y, 1e-3)}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
