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
