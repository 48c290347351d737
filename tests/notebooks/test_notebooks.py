"""The notebooks run, headless, from top to bottom, and what they say is true."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import carried
from tests.notebooks.strip import NOTEBOOKS

pytestmark = pytest.mark.notebook

SECONDS = 240
"""That one cell may take."""
EXPECTED = {
    ("04_cluster", "stream"): re.compile(r"distributed\.(nanny|scheduler) - WARNING - (Restarting|Removing) worker")
}
"""What may be said on stderr: the notebook kills a worker, and tells that this is reported."""


class Ran:
    """A notebook that was executed, and what was asked of its kernel in the end."""

    def __init__(self, name: str, folder: Path, questions: dict[str, str]) -> None:
        self.name = name
        self.notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        asked = ", ".join(f"{word!r}: {question}" for word, question in questions.items())
        self.notebook.cells.append(
            nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{asked}}}))", id="questions-of-the-test")
        )
        client = NotebookClient(
            self.notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        client.execute()
        self.facts = json.loads(self.said("questions-of-the-test"))

    def outputs(self, cell: str) -> list[nbformat.NotebookNode]:
        [found] = [one for one in self.notebook.cells if one.id == cell]
        return found.outputs

    def said(self, cell: str) -> str:
        """Text of a cell: what it printed, and what it showed."""
        outputs = self.outputs(cell)
        return "".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs)

    def shown(self, cell: str) -> str:
        return "".join(one.data.get("text/html", "") for one in self.outputs(cell) if "data" in one)

    def complaints(self) -> list[str]:
        """Lines on stderr that nobody expects."""
        return [
            f"{cell.id}: {line}"
            for cell in self.notebook.cells
            for one in cell.get("outputs", [])
            if one.get("name") == "stderr"
            for line in one.text.splitlines()
            if line.strip() and not ((known := EXPECTED.get((self.name, cell.id))) and known.search(line))
        ]

    def figures(self) -> int:
        outputs = [one for cell in self.notebook.cells for one in cell.get("outputs", [])]
        return sum("image/png" in one.get("data", {}) for one in outputs)


@pytest.fixture
def ran(tmp_path):
    """Run a notebook in a copy of its folder, with the data where they are in the repository."""
    folder = tmp_path / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(".*"))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "data").symlink_to(carried("boost_corr").parent)

    def execute(name: str, questions: dict[str, str], figures: int) -> Ran:
        before = sorted(folder.iterdir())
        found = Ran(name, folder, questions)
        assert found.complaints() == []
        assert found.figures() == figures
        assert sorted(folder.iterdir()) == before  # all that it writes is in a temporary folder
        return found

    return execute


def test_a_first_fit_finds_the_truth(ran):
    found = ran(
        "01_first_fit",
        {
            "D": "(1 / (tau * run.q**2))[good].values.tolist()",
            "pull": "pull[good].values.tolist()",
            "flagged": "[word for word in words if word]",
        },
        figures=3,
    )
    truth = json.loads(carried("boost_corr/truth.json").read_text())["S0001_bright_a0000_f004096_r00001_results.hdf"]
    assert len(found.facts["D"]) == len(found.facts["pull"]) == 6
    assert all(abs(D / truth["D"] - 1) < 0.08 for D in found.facts["D"])
    assert max(map(abs, found.facts["pull"])) < 3
    assert "unidentifiable, slow" in found.facts["flagged"]
    assert "Kohlrausch" in found.shown("model")
    assert found.said("save") == "True"


def test_errors_that_are_true_and_errors_that_are_not(ran):
    found = ran(
        "02_true_errors",
        {
            "rows": "rows",
            "scatter": "scatter",
            "theory": 'float(fits["theory"].stderr.sel(parameter="tau").median())',
            "neighbours": "neighbours",
            "repeats": "[float(low), float(high)]",
        },
        figures=5,
    ).facts
    assert found["rows"].keys() == {"wald", "hc3", "theory", "cluster", "bootstrap"}
    assert all(0.9 < found["rows"][kind] < 0.98 for kind in ("theory", "cluster", "bootstrap"))
    assert found["rows"]["wald"] < 0.8
    assert found["rows"]["hc3"] < 0.6
    assert 0.9 < found["theory"] / found["scatter"] < 1.2
    assert found["neighbours"] > 0.8


def test_a_stream_that_is_stopped_goes_on(ran):
    found = ran(
        "03_streaming",
        {
            "same": "same",
            "stopped": "[seen[-1].blocks_done, seen[-1].blocks]",
            "before": "[int(done.sum()), done.size]",
            "share": "share",
        },
        figures=1,
    )
    assert found.facts["same"] is True
    done, blocks = found.facts["stopped"]
    assert 5 <= done < blocks == 100
    assert 5 * 480 <= found.facts["before"][0] < found.facts["before"][1] == 48_000
    assert 0.94 < found.facts["share"] < 0.985
    assert re.search(
        r"done: 48,000 of 48,000 curves, .*100 of 100 blocks \(\d+ by an earlier call\)", found.said("resume")
    )
    assert "Plan: standard" in found.shown("plan")


def test_a_cluster_that_loses_a_worker(ran):
    found = ran(
        "04_cluster",
        {
            "same": "same",
            "killed": "killed",
            "workers": "sorted(rows)",
            "blocks": "sum(worker.blocks for worker in rows.values())",
            "contrast": "contrast",
            "last": "[states[-1].stage, states[-1].curves_done]",
        },
        figures=1,
    )
    facts = found.facts
    assert facts["same"] is True
    assert len(facts["killed"]) == 1
    assert len(facts["workers"]) >= 2
    assert facts["blocks"] == 30
    assert facts["last"] == ["done", 180]
    assert abs(facts["contrast"] - 0.25) < 0.02
    assert re.search(r"<a href='http://127\.0\.0\.1:\d+/status'", found.shown("connect"))
    assert re.search(r"behind a proxy: /proxy/\d+/status", found.said("link"))


def test_a_pipeline_from_settings_to_diffusion(ran):
    found = ran(
        "05_pipeline",
        {
            "codes": "codes",
            "again": "again == manifest",
            "counts": "[manifest.counts.files, manifest.counts.files_rejected, manifest.counts.curves]",
            "D": "D.values.tolist()",
            "truth": 'list(np.unique([one["diffusion"] for one in records.values()]))',
            "inside": "inside",
            "rows": "len(table)",
        },
        figures=2,
    )
    facts = found.facts
    assert facts["codes"] == {"again": 0, "other settings": 6, "strict": 5, "no input": 3, "a slip": 2}
    assert facts["again"] is True
    assert facts["counts"] == [31, 1, 360]
    assert all(abs(D / truth - 1) < 0.03 for D, truth in zip(facts["D"], facts["truth"], strict=True))
    assert facts["inside"] >= 25
    assert facts["rows"] == 360
    assert "(1 by an earlier call)" in found.said("again")
    assert "the file is truncated" in found.said("rejected")
    assert "settings" in found.shown("run")
