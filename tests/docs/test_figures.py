"""The committed figures are those that the code makes now."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import image

from docs.figures import first_look, layers
from tests.docs.test_links import ROOT


def test_the_diagram_has_the_layers_of_the_contract():
    made = layers.svg()
    assert layers.FILE.read_text() == made, "the layers or their first lines have changed: make figures"
    for name in ("cli", "io", "fitting", "errors"):
        assert f">{name}</text>" in made
    tops = [made.index(f">{name}</text>") for name in layers.layers()]
    assert tops == sorted(tops)
    assert set(layers.layers()) <= set(layers.contract())


def test_every_part_of_the_package_is_a_layer():
    """But the two that only start it."""
    here = {path.stem for path in (ROOT / "xpcs_dask").glob("*.py")}
    here |= {path.parent.name for path in (ROOT / "xpcs_dask").glob("*/__init__.py")}
    assert here - {"__init__", "__main__"} == set(layers.layers())


@pytest.fixture(scope="module")
def look():
    return first_look.look()


@pytest.mark.slow
def test_the_figure_of_the_readme_is_reproducible(look, tmp_path):
    assert first_look.FILE.stat().st_size <= 200_000
    first_look.draw(look).savefig(tmp_path / "again.png", dpi=110)
    kept, again = (image.imread(path)[..., :3] for path in (first_look.FILE, tmp_path / "again.png"))
    assert kept.shape == again.shape
    # Fonts of another release of matplotlib may differ by a little; another curve or interval differs by more.
    assert np.sqrt(np.mean((kept - again) ** 2)) < 0.04


@pytest.mark.slow
def test_the_readme_says_what_the_figure_shows(look):
    text = " ".join((ROOT / "README.md").read_text().split())
    ours, theirs = (int(look.holds(who).sum()) for who in (first_look.OURS, first_look.THEIRS))
    assert f"of {first_look.EXPERIMENTS} intervals at 95 %, {ours} hold" in text
    assert f"and {theirs} when each curve goes through scipy" in text
    low, high = look.law["interval"].sel(parameter="D").values[0]
    assert low <= first_look.DIFFUSION <= high
