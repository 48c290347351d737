"""Notebooks are kept without what a run leaves in them."""

from __future__ import annotations

import json
import re

import nbformat
import pytest

from tests.notebooks import strip
from tests.notebooks.strip import NOTEBOOKS, main, stripped

KEPT = sorted(NOTEBOOKS.glob("*.ipynb"))


def test_the_five_are_there():
    assert [path.stem for path in KEPT] == [
        "01_first_fit", "02_true_errors", "03_streaming", "04_cluster", "05_pipeline"
    ]  # fmt: skip


@pytest.mark.parametrize("path", KEPT, ids=lambda p: p.stem)
def test_kept_notebooks_are_stripped_and_valid(path):
    text = path.read_text()
    assert text == stripped(text)
    nbformat.validate(nbformat.reads(text, as_version=4))


@pytest.mark.parametrize("path", KEPT, ids=lambda p: p.stem)
def test_links_lead_somewhere(path):
    cells = nbformat.read(path, as_version=4).cells
    links = [link for cell in cells for link in re.findall(r"\]\(([^)#]+)", cell.source) if "://" not in link]
    assert links or path.stem == "04_cluster"
    assert all((path.parent / link).exists() for link in links)


def cell(**more):
    return {"cell_type": "code", "id": "a", "metadata": {}, "source": "1 + 1", "outputs": [], **more}


def notebook(*cells):
    return json.dumps({"cells": list(cells), "metadata": {"widgets": {}}, "nbformat": 4, "nbformat_minor": 5})


def test_what_a_run_leaves_is_removed():
    dirty = cell(execution_count=7, outputs=[{"output_type": "stream"}], metadata={"collapsed": True})
    text = {"cell_type": "markdown", "id": "b", "metadata": {"x": 1}, "source": ["# one\n", "two"]}
    clean = json.loads(stripped(notebook(dirty, text)))
    assert clean["cells"][0] == {
        "cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [], "source": ["1 + 1"]
    }  # fmt: skip
    assert clean["cells"][1] == text | {"metadata": {}}
    assert clean["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in clean["metadata"]


@pytest.mark.parametrize(("cells", "says"), [([cell(), cell()], "share"), ([cell(id="")], "no id: '1")])
def test_ids_are_there_and_differ(cells, says):
    with pytest.raises(ValueError, match=says):
        stripped(notebook(*cells))


def test_the_script_names_or_mends(tmp_path, monkeypatch, capsys):
    path = tmp_path / "one.ipynb"
    path.write_text(notebook(cell(execution_count=7)))
    monkeypatch.setattr(strip, "NOTEBOOKS", tmp_path)
    assert main(["--check"]) == 1
    assert str(path) in capsys.readouterr().out
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert path.read_text() == stripped(path.read_text())
