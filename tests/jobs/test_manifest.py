from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from jobs.test_identity import manifest
from pydantic import ValidationError

from xpcs_dask.config import RunConfig
from xpcs_dask.errors import FileRejected
from xpcs_dask.jobs.manifest import Counts, Manifest, manifest_path


def test_it_is_read_back_as_it_was_written(tmp_path):
    one, place = manifest(), manifest_path(tmp_path / "fits.zarr")
    one.write(place)
    assert place.name == "fits.zarr.manifest.json"
    assert Manifest.read(place) == one == pickle.loads(pickle.dumps(one))
    assert json.loads(place.read_text())["config"]["fit"]["bounds"] == {"tau": [1e-6, None]}


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"ok": 3}, "ok and failed sum up to 3, but there are 4 curves"),
        ({"status_counts": {"converged": 3}}, "status_counts sum up to 3"),
        ({"rung_counts": {"compiled": 5}}, "rung_counts sum up to 5"),
    ],
)
def test_counts_that_do_not_add_up_are_refused(counts, says):
    good = {"curves": 4, "ok": 4, "status_counts": {"converged": 4}, "rung_counts": {"compiled": 4}}
    assert Counts(**good).curves == 4
    with pytest.raises(ValidationError, match=says):
        Counts(**good | counts)


def test_files_that_do_not_add_up_are_refused():
    with pytest.raises(ValidationError, match="0 inputs and 1 rejected files are not the 2"):
        manifest(inputs=())
    with pytest.raises(ValidationError, match="2 inputs and 0 rejected"):
        manifest(inputs=manifest().inputs * 2, rejected=())


def test_it_is_short_to_read():
    one = manifest()
    assert (
        repr(one)
        == str(one)
        == ("Manifest(2 files, 1 rejected; 4 curves, 4 converged, 0 failed, 0 flagged; output='fits.zarr')")
    )
    assert repr(one.counts) == (
        "Counts(files=2, files_rejected=1, curves=4, ok=4, status_counts={'converged': 4}, rung_counts={'compiled': 4})"
    )
    assert repr(one.work) == "Work(blocks=1)"


def test_a_notebook_shows_a_table_of_it():
    counts = {"files": 2, "files_rejected": 1, "curves": 5, "ok": 3, "failed": 2, "flagged": 2}
    counts |= {"status_counts": {"converged": 3, "no_data": 2}, "rung_counts": {"compiled": 5}}
    bad = manifest().rejected[0].model_copy(update={"reason": "<script>"})
    one = manifest(
        counts=Counts(**counts, flag_counts={"slow": 1, "weak": 2, "no_signal": 0}),
        rejected=(bad,),
        work=manifest().work.model_copy(update={"blocks": 3, "before": 2}),
    )
    shown = one._repr_html_()
    for text in (
        "2, 1 rejected", "5: 3 converged, 2 failed (2 no_data)", "2 curves to look at; of all flags: 2 weak, 1 slow",
        "/data/b.hdf: &lt;script&gt;", "3, 2 of them by an earlier call", "FitConfig(", "fits.zarr",
    ):  # fmt: skip
        assert text in shown, text
    assert "<script>" not in shown
    assert "no_signal" not in shown
    assert shown.count("<tr>") == shown.count("</tr>") > 8
    assert "curves" in one.counts._repr_html_()


@pytest.mark.parametrize("content", [None, "no JSON", "{}", '{"manifest_version": 1}'])
def test_what_is_no_manifest_is_named(tmp_path, content):
    path = tmp_path / "fits.zarr.manifest.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FileRejected, match=str(path)):
        Manifest.read(path)


@pytest.mark.parametrize(("name", "kind"), [("run", RunConfig), ("manifest", Manifest)])
def test_the_published_schemas_are_those_of_the_code(name, kind):
    published = Path(__file__).parents[2] / "docs" / "schemas" / f"{name}.json"
    assert json.loads(published.read_text()) == kind.model_json_schema()
