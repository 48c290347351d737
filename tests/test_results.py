"""Labelled results: names, units and codes; whole on disk or not there; read back as they were."""

from __future__ import annotations

import json
import os
import pickle
import threading
from contextlib import nullcontext
from importlib.metadata import version

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from engine.counting import computes_at_most
from engine.stack import stack

import xpcs_dask as xd
from xpcs_dask.errors import ConfigError, FileRejected, OutputExistsError
from xpcs_dask.fitting.layout import SCHEMA_VERSION, ErrorsFrom, Flag, Rung, Status, fit_dtype
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.results import MIGRATIONS, atomic, covariance_matrix, open_results, save, summary
from xpcs_dask.results.atomic import whole

FORMATS = ["zarr", "nc"]
CODES = {"status": Status, "rung": Rung, "flags": Flag, "errors_from": ErrorsFrom, "quality": PointFlag}


@pytest.fixture(scope="module")
def data():
    found = stack(files=3, bins=4)
    found["g2"][0, 0] = np.nan
    start = np.array(["2026-01-02T03:04:05.123456789", "2026-01-02", "NaT"], "M8[ns]")
    return found.assign_coords(start=("file", start)).assign_attrs(source_format="aps_nexus", rejected="[]", other=1)


@pytest.fixture(scope="module")
def results(data):
    return xd.fit(data)


@pytest.fixture(scope="module")
def lazy(data):
    return xd.fit(data.chunk(file=2, qbin=3))


def same(found, expected):
    """Identical, down to types and attributes."""
    xr.testing.assert_identical(found, expected)
    for name, variable in expected.variables.items():
        assert found[name].dtype == variable.dtype, name
        assert list(found[name].attrs) == list(variable.attrs), name
        for key, value in variable.attrs.items():
            assert type(found[name].attrs[key]) is type(value), (name, key)
            assert getattr(found[name].attrs[key], "dtype", None) == getattr(value, "dtype", None), (name, key)
    assert {key: type(value) for key, value in found.attrs.items()} == {k: type(v) for k, v in expected.attrs.items()}


def test_variables_are_the_fields_of_the_layout(results):
    fields = fit_dtype(MODELS["single"], "full").fields
    assert [*fields, "quality"] == list(results.data_vars)
    for name, (dtype, *_) in fields.items():
        assert results[name].dtype == dtype.base
        assert results[name].dims[:2] == ("file", "qbin")
    assert results["value"].dims == results["stderr"].dims == ("file", "qbin", "parameter")
    assert results["covariance"].dims == ("file", "qbin", "pair")
    assert results["quality"].dims == ("file", "qbin", "delay")
    assert results["parameter"].values.tolist() == ["contrast", "tau", "stretch", "baseline"]
    assert results["unit"].values.tolist() == ["1", "s", "1", "1"]


def test_everything_has_a_unit_and_a_name(results):
    for name in (*results.data_vars, "parameter", "unit", "pair", "unit_pair"):
        assert results[name].attrs["units"], name
        assert results[name].attrs["long_name"], name


@pytest.mark.parametrize("name", CODES)
def test_codes_explain_themselves(results, name):
    variable, codes = results[name], list(CODES[name])
    numbers = variable.attrs["flag_masks" if name in ("flags", "quality") else "flag_values"]
    assert numbers.dtype == variable.dtype
    meanings = dict(zip(variable.attrs["flag_meanings"].split(), numbers.tolist(), strict=True))
    assert meanings == {code.name.lower(): int(code) for code in codes}


def test_failed_curve_is_nan_with_a_reason(results):
    failed = results.isel(file=0, qbin=0)
    assert failed["status"] == Status.NO_DATA
    for name in ("value", "stderr", "covariance", "chi2", "reduced_chi2", "aicc", "bic"):
        assert failed[name].isnull().all(), name
    assert (failed["quality"] & PointFlag.MISSING).all()


def test_covariance_matrix_unpacks_the_triangle(results, lazy):
    full = covariance_matrix(results)
    assert full.dims == ("file", "qbin", "parameter", "other")
    good = results["status"] == Status.CONVERGED
    matrix = full.values[good.values]
    np.testing.assert_array_equal(matrix, matrix.swapaxes(-1, -2))
    np.testing.assert_allclose(np.sqrt(np.diagonal(matrix, axis1=-2, axis2=-1)), results["stderr"].values[good.values])
    for k, pair in enumerate(results["pair"].values):
        first, second = pair.split(":")
        entry = full.sel(parameter=first, other=second).values
        np.testing.assert_array_equal(entry, results["covariance"][..., k].values)
    with computes_at_most(0):
        unpacked = covariance_matrix(lazy)
    xr.testing.assert_identical(unpacked.compute(scheduler="sync"), full)


def test_units_of_pairs(results):
    units = dict(zip(results["pair"].values.tolist(), results["unit_pair"].values.tolist(), strict=True))
    assert (units["contrast:contrast"], units["tau:contrast"], units["tau:tau"]) == ("1", "s", "s^2")


def test_provenance(results):
    attrs = results.attrs
    assert attrs["schema_version"] == SCHEMA_VERSION
    assert (attrs["model"], attrs["formula"]) == ("single", MODELS["single"].formula)
    assert json.loads(attrs["config"])["min_products"] == 4
    np.testing.assert_allclose(json.loads(attrs["bounds"])["tau"], [1e-5, 100.0])
    assert json.loads(attrs["versions"])["numpy"] == np.__version__
    assert json.loads(attrs["versions"])["xpcs-dask"] == version("xpcs-dask")
    assert (attrs["covariance_kind"], attrs["cpu"] != "") == ("theory", True)
    assert (attrs["source_format"], attrs["rejected"]) == ("aps_nexus", "[]")
    assert "other" not in attrs


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "theory"),
        ({"errors": "quoted"}, "wald"),
        ({"errors": "none"}, "scaled"),
        ({"covariance": "hc3"}, "hc3"),
        ({"loss": "soft_l1"}, "m_estimator"),
    ],
)
def test_provenance_names_the_covariance_that_was_made(data, settings, kind):
    assert xd.fit(data.isel(file=[0], qbin=[0]), "simple", **settings).attrs["covariance_kind"] == kind


def test_bounds_in_the_provenance_are_json_everybody_reads(data):
    attrs = xd.fit(data, bounds={"contrast": (0.0, np.inf)}, fixed={"baseline": 1.0}).attrs
    assert json.loads(attrs["bounds"])["contrast"] == [0.0, None]
    assert json.loads(attrs["bounds"])["baseline"] == [1.0, 1.0]
    assert "Infinity" not in attrs["bounds"] + attrs["config"]


@pytest.mark.parametrize("form", FORMATS)
def test_round_trip_is_lossless(lazy, results, tmp_path, form):
    path = save(lazy, tmp_path / f"fits.{form}")
    with computes_at_most(0):
        opened = open_results(path)
    assert all(isinstance(opened[name].data, da.Array) for name in opened.data_vars)
    same(opened.compute(), results)
    same(open_results(save(opened, tmp_path / f"again.{form}")).compute(), results)
    assert set(os.listdir(tmp_path)) == {path.name, f"again.{form}"}


@pytest.mark.parametrize("form", FORMATS)
def test_numbers_of_a_user_come_back_as_numbers(results, tmp_path, form):
    noted = results.assign_attrs(run=7, temperature=293.5)
    noted["q"].attrs["offset"] = 2
    opened = open_results(save(noted, tmp_path / f"fits.{form}"))
    for attrs, name, value in (
        (opened.attrs, "run", 7),
        (opened.attrs, "temperature", 293.5),
        (opened.q.attrs, "offset", 2),
    ):
        assert (attrs[name], type(attrs[name])) == (value, type(value))


@pytest.mark.parametrize("form", FORMATS)
def test_others_can_read_it(results, tmp_path, form):
    path = save(results, tmp_path / f"fits.{form}")
    with nullcontext(zarr.open_group(path, mode="r")) if form == "zarr" else h5py.File(path) as file:
        np.testing.assert_array_equal(file["value"][...], results["value"].values)
        np.testing.assert_array_equal(file["curve_id"][...], results["curve_id"].values)
        assert [str(name, "utf8") if form == "nc" else name for name in file["parameter"][...]] == list(
            results["parameter"].values
        )


def test_zarr_is_version_3_with_text_of_variable_length(results, tmp_path):
    path = save(results, tmp_path / "fits.zarr")
    kinds = {name: json.loads((path / name / "zarr.json").read_text()) for name in ("parameter", "file", "unit")}
    assert {kind["data_type"] for kind in kinds.values()} == {"string"}
    assert json.loads((path / "zarr.json").read_text())["zarr_format"] == 3
    assert "consolidated_metadata" not in json.loads((path / "zarr.json").read_text())


def test_blocks_of_any_size_can_be_saved(data, results, tmp_path):
    uneven = xd.fit(data.chunk(file=(1, 2), qbin=(1, 2, 1)))
    same(open_results(save(uneven, tmp_path / "fits.zarr")).compute(), results)


@pytest.mark.parametrize("form", FORMATS)
def test_groups_round_trip(data, results, lazy, tmp_path, form):
    tree = xr.DataTree.from_dict({"group_0": results, "group_1": lazy, "deep/er": results.isel(file=[0])})
    tree.attrs["run"] = "{}"
    opened = open_results(save(tree, tmp_path / f"fits.{form}"))
    assert isinstance(opened, xr.DataTree)
    assert opened.attrs == {"run": "{}", "schema_version": SCHEMA_VERSION}
    for name in ("group_0", "group_1", "deep/er"):
        same(opened[name].to_dataset().compute(), tree[name].to_dataset().compute())


@pytest.mark.parametrize("form", FORMATS)
def test_every_group_keeps_its_own_coordinates_and_place(results, tmp_path, form):
    """Zarr lists groups in another order at each opening; those of one size could get each other's coordinates."""
    groups = {
        f"group_{k}": results.assign_coords(q=results["q"] + k, qbin=results["qbin"] + 10 * k) for k in (0, 1, 2, 10)
    }
    path = save(xr.DataTree.from_dict(groups), tmp_path / f"fits.{form}")
    for _ in range(4 if form == "zarr" else 1):
        opened = open_results(path)
        assert list(opened.children) == list(groups)
        for name, expected in groups.items():
            xr.testing.assert_identical(
                opened[name].to_dataset().drop_vars(expected.data_vars),
                expected.coords.to_dataset().assign_attrs(expected.attrs),
            )
            np.testing.assert_array_equal(opened[name]["value"].sel(qbin=expected["qbin"]), expected["value"])


@pytest.mark.parametrize("form", FORMATS)
def test_existing_output_is_kept_unless_told(results, data, tmp_path, form):
    path = save(results, tmp_path / f"fits.{form}")
    other = xd.fit(data, "simple")
    with pytest.raises(OutputExistsError, match="another model, bounds;") as caught:
        save(other, path)
    assert caught.value.path == str(path)
    with pytest.raises(OutputExistsError, match="the same settings and inputs"):
        save(results, path)
    same(open_results(path).compute(), results)
    same(open_results(save(other, path, overwrite=True)).compute(), other)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("form", FORMATS)
def test_a_store_can_replace_what_it_was_read_from(results, tmp_path, form):
    path = save(results, tmp_path / f"fits.{form}")
    half = open_results(path).isel(file=slice(0, 2))
    same(open_results(save(half, path, overwrite=True)).compute(), results.isel(file=slice(0, 2)))


def test_overwrite_removes_no_folder_of_something_else(results, tmp_path):
    precious = tmp_path / "photos.zarr"
    precious.mkdir()
    (precious / "cat.jpg").write_text("cat")
    with pytest.raises(OutputExistsError, match="holds no results"):
        save(results, precious, overwrite=True)
    assert (precious / "cat.jpg").read_text() == "cat"


@pytest.mark.parametrize("form", FORMATS)
def test_overwrite_removes_no_store_of_another_program(results, tmp_path, form):
    path, other = tmp_path / f"map.{form}", xr.Dataset({"height": ("x", [1.0])})
    other.to_netcdf(path) if form == "nc" else other.to_zarr(path, zarr_format=3, consolidated=False)
    with pytest.raises(OutputExistsError, match=r"something else: it holds no results; choose another output$"):
        save(results, path, overwrite=True)
    with pytest.raises(OutputExistsError, match=r"choose another output$") as caught:
        save(results, path)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.args) == (str(caught.value), caught.value.args)
    options = {"engine": "h5netcdf"} if form == "nc" else {"engine": "zarr", "consolidated": False}
    with xr.open_dataset(path, **options) as kept:
        assert kept["height"].item() == 1.0


@pytest.mark.parametrize("form", FORMATS)
def test_results_of_a_schema_that_cannot_be_read_may_be_replaced(results, tmp_path, form):
    path = save(results.assign_attrs(schema_version=SCHEMA_VERSION + 1), tmp_path / f"fits.{form}")
    with pytest.raises(OutputExistsError, match=r"results that cannot be read.* or pass --overwrite"):
        save(results, path)
    same(open_results(save(results, path, overwrite=True)).compute(), results)


def test_what_another_thread_writes_after_a_failure_is_removed_too(tmp_path):
    failed, folders = threading.Event(), []

    def write_late():
        failed.wait()
        (folders[0] / "g2").mkdir(parents=True)
        (folders[0] / "g2" / "c.0").write_bytes(b"1")

    def fail():
        with whole(tmp_path / "fits.zarr") as folder:
            folders.append(folder)
            threading.Timer(0.05, failed.set).start()
            raise RuntimeError("worker lost")

    late = threading.Thread(target=write_late)
    late.start()
    with pytest.raises(RuntimeError, match="worker lost"):
        fail()
    late.join()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("exists", [False, True])
def test_an_interrupted_write_leaves_what_was_there(results, lazy, tmp_path, form, exists):
    path = tmp_path / f"fits.{form}"
    if exists:
        save(results, path)

    def lost(block):
        raise RuntimeError("worker lost")

    broken = lazy.copy()
    broken["chi2"].data = broken["chi2"].data.map_blocks(lost, dtype="f8", meta=np.empty((0, 0)))
    with pytest.raises(RuntimeError, match="worker lost"):
        save(broken, path, overwrite=True)
    assert os.listdir(tmp_path) == ([path.name] if exists else [])
    if exists:
        same(open_results(path).compute(), results)


def test_a_store_appears_only_when_it_is_complete(results, tmp_path, monkeypatch):
    seen = []
    place = atomic._put

    def spy(finished, path):
        seen.append((path.exists(), finished.parent == path.parent, open_complete(finished)))
        place(finished, path)

    def open_complete(folder):
        return set(zarr.open_group(folder, mode="r").array_keys()) == set(results.variables)

    monkeypatch.setattr(atomic, "_put", spy)
    save(results, tmp_path / "fits.zarr")
    assert seen == [(False, True, True)]


@pytest.mark.parametrize("form", FORMATS)
def test_version_1_said_nothing_of_its_errors(results, tmp_path, form):
    old = results.drop_vars(["errors_from", "errors_dof"]).assign_attrs(schema_version=1)
    found = open_results(save(old, tmp_path / f"fits.{form}")).compute()
    unknown = {"errors_from": xr.zeros_like(results["errors_from"]), "errors_dof": results["errors_dof"] * np.nan}
    expected = results.assign({name: array.assign_attrs(results[name].attrs) for name, array in unknown.items()})
    xr.testing.assert_identical(found, expected)


def test_older_schemas_go_through_all_versions(results, tmp_path, monkeypatch):
    """A fake version 0, in which chi2 was called cost."""
    old = results.rename(chi2="cost").drop_vars(["errors_from", "errors_dof"]).assign_attrs(schema_version=0)
    path = save(old, tmp_path / "fits.zarr")
    with pytest.raises(FileRejected, match="schema_version 0"):
        open_results(path)
    monkeypatch.setitem(MIGRATIONS, 0, lambda data: data.rename(cost="chi2"))
    xr.testing.assert_identical(open_results(path)["chi2"].compute(), results["chi2"])


def test_newer_schema_is_refused(results, tmp_path):
    path = save(results.assign_attrs(schema_version=SCHEMA_VERSION + 1), tmp_path / "fits.zarr")
    with pytest.raises(FileRejected, match="update xpcs-dask"):
        open_results(path)


def test_what_is_no_result_is_refused_by_name(tmp_path):
    xr.Dataset({"a": ("x", [1.0])}).to_zarr(tmp_path / "other.zarr", zarr_format=3, consolidated=False)
    (tmp_path / "text.nc").write_text("not NetCDF")
    for name, reason in (("other.zarr", "no schema_version"), ("text.nc", "cannot be read"), ("gone.zarr", "no such")):
        with pytest.raises(FileRejected, match=reason) as caught:
            open_results(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)


def test_suffix_tells_the_format(results, tmp_path):
    for path in (tmp_path / "fits", tmp_path / "fits.csv"):
        with pytest.raises(ConfigError, match=r"\.zarr or \.nc"):
            save(results, path)
        with pytest.raises(ConfigError, match=r"\.zarr or \.nc"):
            open_results(path)


def test_missing_folders_are_made(results, tmp_path):
    assert save(results, tmp_path / "a" / "b.nc").is_file()


def codes(status, rung, flags):
    values = {"status": np.array(status, "i1"), "rung": np.array(rung, "i1"), "flags": np.array(flags, "u4")}
    return xr.Dataset({name: ("curve", value) for name, value in values.items()})


def test_summary_counts():
    found = summary(codes([1, 1, 1, 2, 4], [1, 1, 4, 0, 0], [0, 32, 33, 32, 4]))
    assert {name: found[name] for name in ("curves", "ok", "failed", "flagged")} == {
        "curves": 5,
        "ok": 3,
        "failed": 2,
        "flagged": 1,
    }
    assert {k: v for k, v in found["status_counts"].items() if v} == {"converged": 3, "no_data": 1, "not_converged": 1}
    assert {k: v for k, v in found["rung_counts"].items() if v} == {"compiled": 2, "trf": 1, "none": 2}
    assert {k: v for k, v in found["flag_counts"].items() if v} == {"at_bound": 1, "poor_fit": 1, "points_excluded": 3}
    assert len(found["status_counts"]) == len(Status)
    assert json.loads(json.dumps(found)) == found


def test_summary_of_groups_adds_up_and_computes_little(results, lazy):
    tree = xr.DataTree.from_dict({"a": results, "b": lazy})
    one = summary(results)
    both = summary(tree)
    assert (both["curves"], both["failed"]) == (2 * one["curves"], 2 * one["failed"]) == (24, 2)
    assert summary(xr.DataTree())["curves"] == 0
    with computes_at_most(1):
        assert summary(lazy) == one
