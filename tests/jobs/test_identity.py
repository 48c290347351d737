from __future__ import annotations

import copy
import os

import numpy as np
import pytest
import xarray as xr

from xpcs_dask.config import RunConfig
from xpcs_dask.errors import ConfigError, OutputExistsError
from xpcs_dask.jobs.identity import RUN, Files, check_place, files_of, finished, identity, record
from xpcs_dask.jobs.manifest import Counts, Cpu, Input, Manifest, Memory, Rejected, Work
from xpcs_dask.results import save

CONFIG = RunConfig.make(inputs=["/data/*.hdf"], fit={"bounds": {"tau": (1e-6, np.inf)}})
FILES = Files(
    inputs=(Input(file="/data/a.hdf", content="0f", size=10, modified="2026-01-01T00:00:00.000000005Z"),),
    rejected=(Rejected(file="/data/b.hdf", reason="it is empty", size=0, modified="2026-01-01T00:00:00Z"),),
)
FINGERPRINT = {
    "versions": {"xpcs-dask": "0.1.0", "numpy": "2.3.1", "scipy": "1.16.0", "numba": None},
    "cpu": "znver4",
}
JOB = identity(CONFIG, FILES, 1, FINGERPRINT)


def manifest(**fields):
    counts = {"files": 2, "files_rejected": 1, "curves": 4, "ok": 4}
    counts |= {"status_counts": {"converged": 4}, "rung_counts": {"compiled": 4}}
    known = {
        "version": "0.1.0", "begun": "2026-01-01T00:00:00.000+00:00", "seconds": 1.0, "curves_per_second": 4.0,
        "host": "here", "cpu_target": "znver4", "versions": FINGERPRINT["versions"], "results_schema": 1,
        "config": CONFIG, "seed": None, "inputs": FILES.inputs, "rejected": FILES.rejected, "mode": "standard",
        "counts": Counts(**counts), "work": Work(blocks=1), "cpu": Cpu(), "memory": Memory(),
        "output": "fits.zarr", "manifest": "fits.zarr.manifest.json",
    }  # fmt: skip
    return Manifest(**known | fields)


@pytest.fixture
def store(tmp_path):
    results = xr.Dataset({"status": ("qbin", [1, 1])}, attrs=record(manifest()))
    return save(results, tmp_path / "fits.zarr")


def changed(**edits):
    job = copy.deepcopy(JOB)
    for path, value in edits.items():
        *way, last = [int(part) if part.isdecimal() else part for part in path.split("__")]
        at = job
        for part in way:
            at = at[part]
        at[last] = value
    return job


def test_the_same_job_gives_its_manifest_again(store):
    assert finished(store, copy.deepcopy(JOB)) == manifest()


def test_nothing_there_is_nothing_done(tmp_path):
    assert finished(tmp_path / "fits.zarr", JOB) is None


@pytest.mark.parametrize(
    ("job", "says"),
    [
        (changed(**{"versions__xpcs-dask": "0.2.0"}), "another version of xpcs-dask: 0.1.0 instead of 0.2.0"),
        (changed(versions__numpy="2.4.0"), "another version of numpy: 2.3.1 instead of 2.4.0"),
        (changed(versions__scipy="1.17.0"), "another version of scipy: 1.16.0 instead of 1.17.0"),
        (changed(versions__numba="0.61.2"), "another version of numba: none instead of 0.61.2"),
        (changed(cpu="skylake"), "another processor: znver4 instead of skylake"),
        (changed(schema_version=2), "schema version 1 instead of 2"),
        (changed(settings__loss="huber"), r"other settings \(loss\)"),
        (changed(settings__bounds={"tau": [1e-6, 2.0]}, settings__model="double"), r"other settings \(bounds, model\)"),
        (changed(settings__fresh=1), r"other settings \(fresh\)"),
        (changed(inputs__0__content="10"), "an earlier state of /data/a.hdf"),
        (changed(inputs__0__size=11), "an earlier state of /data/a.hdf"),
        (changed(inputs__0__modified="6"), "an earlier state of /data/a.hdf"),
        (changed(inputs__0__file="/data/c.hdf"), "other inputs"),
        (changed(inputs__1={"file": "/data/b.hdf", "content": "1", "size": 0, "modified": "5"}), "other inputs"),
        (changed(inputs=JOB["inputs"][:1]), r"other inputs \(2 files, now 1; /data/b.hdf"),
    ],
)
def test_another_job_is_refused_with_what_differs(store, job, says):
    with pytest.raises(OutputExistsError, match=says) as caught:
        finished(store, job)
    assert str(store) in str(caught.value)


def test_what_is_no_finished_fit_is_refused_and_never_overwritten(tmp_path):
    folder, file, link = tmp_path / "folder.zarr", tmp_path / "file.nc", tmp_path / "link.zarr"
    folder.mkdir()
    (folder / "precious.txt").write_text("x")
    file.write_text("x")
    link.symlink_to(tmp_path / "nowhere")
    for output in (folder, file, link):
        with pytest.raises(OutputExistsError, match="something else"):
            finished(output, JOB)
        with pytest.raises(OutputExistsError, match=r"choose another output$"):
            finished(output, JOB)
        with pytest.raises(ConfigError, match="no results of xpcs_dask, so --overwrite does not remove it"):
            check_place(output, overwrite=True)


@pytest.mark.parametrize("form", ["zarr", "nc"])
def test_results_of_a_python_call_are_refused_but_may_be_overwritten(tmp_path, form):
    by_hand = save(xr.Dataset({"status": ("qbin", [1])}), tmp_path / f"by_hand.{form}")
    with pytest.raises(OutputExistsError, match="a call of save in Python; choose another output or pass --overwrite"):
        finished(by_hand, JOB)
    check_place(by_hand, overwrite=True)


@pytest.mark.parametrize("run", ["no JSON", "[]", "{}", 7])
def test_a_record_that_makes_no_sense_is_none(tmp_path, run):
    odd = save(xr.Dataset({"status": ("qbin", [1])}, attrs={RUN: run}), tmp_path / "odd.zarr")
    with pytest.raises(OutputExistsError, match="a call of save in Python"):
        finished(odd, JOB)


def test_a_fault_of_ours_is_not_taken_for_something_else(store, monkeypatch):
    def broken(path):
        raise ValueError("conflicting sizes for dimension 'qbin'")

    monkeypatch.setattr("xpcs_dask.results.open_results", broken)
    with pytest.raises(ValueError, match="conflicting sizes"):
        finished(store, JOB)


def test_places_where_results_can_go(store, tmp_path):
    check_place(store, overwrite=True)
    check_place(tmp_path / "new" / "deeper" / "fits.nc", overwrite=False)


def test_places_where_they_cannot(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="nothing can be written"):
        check_place(tmp_path / "file" / "fits.zarr", overwrite=False)
    with pytest.raises(ConfigError, match="told by the suffix"):
        check_place(tmp_path / "fits.hdf", overwrite=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="nothing can be written"):
        check_place(tmp_path / "fits.zarr", overwrite=False)


def test_settings_that_do_not_decide_numbers_are_no_part_of_it(store):
    for other in ({"scheduler": "sync"}, {"chunks": 3}, {"memory": "1GiB"}, {"cache": True}, {"overwrite": True}):
        assert identity(RunConfig.make(CONFIG, **other), FILES, 1, FINGERPRINT) == JOB
    for other in ({"delay_unit": "ms"}, {"include": ("run",)}, {"bootstrap": {"seed": 1}}, {"model": "double"}):
        assert identity(RunConfig.make(CONFIG, **other), FILES, 1, FINGERPRINT) != JOB


def test_files_are_told_by_content_size_and_time(tmp_path):
    there, gone = tmp_path / "a.hdf", tmp_path / "b.hdf"
    there.write_bytes(b"123")
    os.utime(there, ns=(0, 1_700_000_000_123_456_789))
    (tmp_path / "link.hdf").symlink_to(there)
    data = xr.Dataset(
        coords={"path": ("file", [str(tmp_path / "link.hdf")]), "content_hash": ("file", np.uint64([255]))}
    )
    files = files_of(CONFIG, [data], [{"file": str(gone), "reason": "gone"}])
    assert files.inputs == (
        Input(file=str(there), content="00000000000000ff", size=3, modified="2023-11-14T22:13:20.123456789Z"),
    )
    assert files.rejected == (Rejected(file=str(gone), reason="gone"),)
    assert files.stack is None
