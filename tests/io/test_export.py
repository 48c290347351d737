from __future__ import annotations

import csv
import json
import pickle
import shutil

import dask
import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.aps_file import write
from tests.conftest import carried
from xpcs_dask.errors import ConfigError, FileRejected, NoUsableInputError, OutputExistsError
from xpcs_dask.fitting.layout import Flag, Rung, Status
from xpcs_dask.io.export import FORMATS, export, format_of, pieces
from xpcs_dask.simulate import curves, write_series

RUNS = ("results", "partial_results")
ENDINGS = [".nc", ".csv", ".parquet", ".nxs"]


def needs(path):
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return path


@pytest.fixture(scope="module")
def files():
    return [carried(f"boost_corr/S0001_bright_a0000_f004096_r00001_{name}.hdf") for name in RUNS]


@pytest.fixture(scope="module")
def fits(files):
    """2 files of 12 bins, in memory; one curve could not be fitted."""
    data = xd.open_g2(files, chunks=None)
    data["g2"][1, 3] = np.nan
    return xd.fit(data)


@pytest.fixture(scope="module")
def tree():
    """Groups of different bins and delays."""
    return xd.fit(xd.open_g2(carried("boost_corr"), on_mismatch="split", on_error="skip", chunks=None), "simple")


def plain_fits():
    """Fits of an array without files."""
    data = curves(2, q=[0.01, 0.02], seed=1)
    return xd.fit(data.g2.rename(file="sample", qbin="place").drop_vars(["curve_id", "rate", "n_pixels"]), "simple")


def lines(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


# --- CSV ---------------------------------------------------------------------------------------------------------


def test_csv_has_a_row_a_curve_with_units_and_errors(fits, tmp_path):
    table = pd.read_csv(export(fits, tmp_path / "fits.csv"))
    assert len(table) == 24
    assert list(table.columns) == [
        "file", "start_time", "qbin", "q (1/angstrom)", "phi (degree)", "curve_id", "temperature (degC)",
        "contrast", "contrast_stderr", "tau (s)", "tau_stderr (s)", "stretch", "stretch_stderr", "baseline",
        "baseline_stderr", "chi2", "reduced_chi2", "dof", "n_used", "aicc", "bic", "status", "rung", "flags",
    ]  # fmt: skip
    for number, row in table.iterrows():
        one = fits.isel(file=number // 12, qbin=number % 12)
        assert row["file"] == str(one.file.values)
        assert pd.Timestamp(row["start_time"]) == one.start_time.values
        for name in ("qbin", "curve_id", "dof", "n_used"):
            assert row[name] == int(one[name])
        for name, unit in (("q", " (1/angstrom)"), ("phi", " (degree)"), ("temperature", " (degC)")):
            assert row[name + unit] == float(one[name])
        for name, unit in (("contrast", ""), ("tau", " (s)"), ("stretch", ""), ("baseline", "")):
            np.testing.assert_equal(row[name + unit], float(one.value.sel(parameter=name)))
            np.testing.assert_equal(row[f"{name}_stderr{unit}"], float(one.stderr.sel(parameter=name)))
        for name in ("chi2", "reduced_chi2", "aicc", "bic"):
            np.testing.assert_equal(row[name], float(one[name]))
        assert row["status"] == Status(int(one.status)).name.lower()
        assert row["rung"] == Rung(int(one.rung)).name.lower()
        flags = [flag for flag in Flag if int(one.flags) & flag]
        assert ("" if pd.isna(row["flags"]) else row["flags"]) == " ".join(str(flag.name).lower() for flag in flags)


def test_csv_of_a_failed_curve_is_empty_and_says_why(fits, tmp_path):
    header, *rows = lines(export(fits, tmp_path / "fits.csv"))
    row = dict(zip(header, rows[12 + 3], strict=True))
    assert row["status"] == "no_data"
    assert row["tau (s)"] == row["tau_stderr (s)"] == row["reduced_chi2"] == ""
    assert "nan" not in (tmp_path / "fits.csv").read_text().lower()


def test_csv_of_groups_names_them_and_leaves_out_what_one_lacks(tree, tmp_path):
    tree["group_1"] = tree["group_1"].to_dataset().drop_vars("temperature")
    table = pd.read_csv(export(tree, tmp_path / "fits.csv"))
    sizes = {name: group["status"].size for name, group in tree.children.items()}
    assert table.groupby("group").size().to_dict() == sizes
    without = table["temperature (degC)"].isna()
    assert without[table.group == "group_1"].all()
    assert not without[table.group == "group_0"].any()
    for name, group in tree.children.items():
        expected = group["value"].sel(parameter="tau").values.ravel()
        np.testing.assert_array_equal(table["tau (s)"][table.group == name], expected)


def test_one_group_is_not_named(files, tmp_path):
    fits = xd.fit(xd.open_g2(files, on_mismatch="split", chunks=None))
    assert lines(export(fits, tmp_path / "fits.csv"))[0][0] == "file"


def test_other_dimensions_and_coordinates_have_columns(tmp_path):
    fits = plain_fits().assign_coords(
        concentration=("sample", [0.5, 2.0], {"units": "mg/ml"}), note=("place", ["inner, left", "ü"])
    )
    table = pd.read_csv(export(fits, tmp_path / "fits.csv"))
    assert table["place"].tolist() == [1, 2, 1, 2]
    assert table["sample"].tolist() == ["run00000", "run00000", "run00001", "run00001"]
    assert table["concentration (mg/ml)"].tolist() == [0.5, 0.5, 2.0, 2.0]
    assert table["note"].tolist() == ["inner, left", "ü"] * 2
    bare = fits.drop_vars(["place", "concentration", "note"])
    assert pd.read_csv(export(bare, tmp_path / "bare.csv"))["place"].tolist() == [0, 1, 0, 1]


def test_transposed_results_keep_every_number_with_its_curve(fits, tmp_path):
    turned = fits.transpose("parameter", "qbin", "delay", "file", ...)
    mixed = {name: turned[name].transpose("file", "qbin") for name in ("chi2", "flags", "curve_id")}
    turned = turned.assign(mixed).set_coords("curve_id")
    table = pd.read_csv(export(turned, tmp_path / "turned.csv"))
    straight = pd.read_csv(export(fits, tmp_path / "straight.csv"))
    order = ["file", "qbin"]
    pd.testing.assert_frame_equal(
        table.sort_values(order, ignore_index=True), straight.sort_values(order, ignore_index=True)
    )


def test_a_single_curve_is_a_row(fits, tmp_path):
    one = fits.isel(file=0, qbin=2)
    table = pd.read_csv(export(one, tmp_path / "one.csv"))
    assert table["tau (s)"].tolist() == [float(one.value.sel(parameter="tau"))]
    assert table["qbin"].tolist() == [3]
    for ending in (".nc", ".nxs"):
        export(one, tmp_path / f"one{ending}")
    with h5py.File(tmp_path / "one.nxs") as file:
        assert file["xpcs_dask_fit/fit/tau/tau"][()] == float(one.value.sel(parameter="tau"))


# --- Parquet -----------------------------------------------------------------------------------------------------


def test_parquet_carries_units_errors_and_types(fits, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    table = parquet.read_table(export(fits, tmp_path / "fits.parquet"))
    units = {field.name: field.metadata[b"units"].decode() for field in table.schema}
    assert units["tau"] == units["tau_stderr"] == "s"
    assert (units["contrast"], units["q"], units["phi"]) == ("1", "1/angstrom", "degree")
    assert table.schema.field("tau_stderr").metadata[b"long_name"] == b"standard error of tau"
    assert str(table.schema.field("curve_id").type) == "uint64"
    assert str(table.schema.field("start_time").type) == "timestamp[ns]"
    np.testing.assert_array_equal(table["curve_id"].to_numpy(), fits.curve_id.values.ravel())
    for name in ("tau", "contrast"):
        np.testing.assert_array_equal(table[name].to_numpy(), fits.value.sel(parameter=name).values.ravel())
        np.testing.assert_array_equal(
            table[f"{name}_stderr"].to_numpy(), fits.stderr.sel(parameter=name).values.ravel()
        )
    assert table["status"].to_pylist()[15] == "no_data"
    assert json.loads(table.schema.metadata[b"xpcs_dask"])["/"]["config"] == fits.attrs["config"]


def test_parquet_of_groups_has_nulls_where_one_lacks_a_column(tree, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    tree["group_1"] = tree["group_1"].to_dataset().drop_vars("temperature", errors="ignore")
    table = parquet.read_table(export(tree, tmp_path / "fits.parquet")).to_pydict()
    missing = {group for group, value in zip(table["group"], table["temperature"], strict=True) if value is None}
    assert missing == {"group_1"}


def test_missing_pyarrow_names_the_extra(fits, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"xpcs-dask\[parquet\]"):
        export(fits, tmp_path / "fits.parquet")
    assert list(tmp_path.iterdir()) == []


# --- NetCDF ------------------------------------------------------------------------------------------------------


def test_netcdf_loses_nothing(fits, tmp_path):
    path = export(fits, tmp_path / "fits.nc")
    found = xd.open_results(path)
    xr.testing.assert_identical(found.compute(), fits)
    for name, variable in fits.variables.items():
        assert found[name].dtype == variable.dtype, name
    with xr.open_dataset(path, engine="h5netcdf") as plain:
        assert plain.q.attrs["units"] == "1/angstrom"
        assert plain.unit.values.tolist() == ["1", "s", "1", "1"]
        np.testing.assert_array_equal(plain.value, fits.value)


@pytest.mark.slow
def test_netcdf_of_groups_keeps_the_attributes_of_the_root(tree, tmp_path):
    tree.attrs["run"] = "remembered"
    found = xd.open_results(export(tree, tmp_path / "fits.nc"))
    assert found.attrs["run"] == "remembered"
    for name, group in tree.children.items():
        xr.testing.assert_identical(found[name].to_dataset().compute(), group.to_dataset())


# --- in pieces ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_lazy_results_are_written_in_pieces_with_the_same_content(tmp_path, monkeypatch, ending):
    paths = write_series(tmp_path / "files", 5, seed=1, q=[0.005, 0.01], frames=2000)
    whole = export(xd.fit(xd.open_g2(paths, chunks=None)), needs(tmp_path / f"whole{ending}"))
    monkeypatch.setattr(pieces, "PIECE_CURVES", 4)
    sizes = []
    compute = xr.Dataset.compute

    def counted(self, **kwargs):
        sizes.append(self.sizes.get("file", 0))
        return compute(self, **kwargs)

    monkeypatch.setattr(xr.Dataset, "compute", counted)
    parts = export(xd.fit(xd.open_g2(paths, chunks=1)), tmp_path / f"parts{ending}")
    assert [size for size in sizes if size][-3:] == [2, 2, 1]
    if ending == ".csv":
        assert parts.read_text() == whole.read_text()
    elif ending == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        assert parquet.ParquetFile(parts).num_row_groups == 3
        assert parquet.read_table(parts).equals(parquet.read_table(whole))
    elif ending == ".nc":
        xr.testing.assert_identical(xd.open_results(parts).compute(), xd.open_results(whole).compute())
    else:
        assert datasets(parts) == datasets(whole)


def test_tables_compute_nothing_that_they_do_not_hold(files, tmp_path):
    fits = xd.fit(xd.open_g2(files))
    broken = fits.assign(
        covariance=fits.covariance.copy(
            data=fits.covariance.data.map_blocks(refuse, dtype="f8", meta=np.empty((0, 0, 0)))
        )
    )
    export(broken, tmp_path / "fits.csv")
    export(broken, tmp_path / "fits.nxs")
    with pytest.raises(RuntimeError, match="was computed"):
        export(broken, tmp_path / "fits.nc")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["fits.csv", "fits.nxs"]


def refuse(block):
    raise RuntimeError("the covariance was computed")


def datasets(path):
    """Every dataset of a file as bytes, and all attributes in words."""
    found = {}

    def visit(name, item):
        found[name] = [
            item[()].tobytes() if isinstance(item, h5py.Dataset) and item.dtype.kind != "O" else "",
            str([item[()].tolist()]) if isinstance(item, h5py.Dataset) and item.ndim and item.dtype.kind == "O" else "",
            {key: str(value) for key, value in item.attrs.items()},
        ]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


# --- NeXus -------------------------------------------------------------------------------------------------------


def nexus_rules(group):
    """Every NXdata below names a signal, its errors and axes, of shapes that fit; returns how many there are."""
    count = 0
    for item in group.values():
        if not isinstance(item, h5py.Group):
            continue
        assert "NX_class" in item.attrs, item.name
        if item.attrs["NX_class"] == "NXdata":
            count += 1
            signal = item[item.attrs["signal"]]
            axes = list(item.attrs["axes"])
            assert signal.shape == tuple(item[axis].shape[0] for axis in axes)
            for position, axis in enumerate(axes):
                assert item.attrs[f"{axis}_indices"] == position
            errors = f"{item.attrs['signal']}_errors"
            if errors in item:
                assert item[errors].shape == signal.shape
                assert item[errors].attrs["units"] == signal.attrs["units"]
        count += nexus_rules(item)
    return count


def test_nexus_has_signals_errors_axes_and_units(fits, tmp_path):
    with h5py.File(export(fits, tmp_path / "fits.nxs"), "r") as file:
        assert nexus_rules(file) == 5
        process = file["xpcs_dask_fit/fit"]
        assert (file["xpcs_dask_fit"].attrs["NX_class"], process.attrs["NX_class"]) == ("NXentry", "NXprocess")
        assert process["program"].asstr()[()] == "xpcs_dask"
        assert process["version"].asstr()[()] == xd.__version__
        for name, unit in (("tau", "s"), ("contrast", "1")):
            data = process[name]
            assert data.attrs["axes"].tolist() == ["file_number", "q"]
            assert data[name].attrs["units"] == data[f"{name}_errors"].attrs["units"] == unit
            np.testing.assert_array_equal(data[name], fits.value.sel(parameter=name))
            np.testing.assert_array_equal(data[f"{name}_errors"], fits.stderr.sel(parameter=name))
        assert data["q"].attrs["units"] == "1/angstrom"
        np.testing.assert_array_equal(data["q"], fits.q)
        goodness = process["goodness"]
        np.testing.assert_array_equal(goodness["flags"], fits.flags)
        assert "at_bound" in goodness["flags"].attrs["flag_meanings"]
        assert process["inputs/file"].asstr()[:].tolist() == fits.file.values.tolist()
        assert process["provenance/config"].asstr()[()] == fits.attrs["config"]


def test_nexus_axes_tell_bins_apart(fits, tmp_path):
    def axes(results, name):
        with h5py.File(export(results, tmp_path / name), "r") as file:
            return list(file["xpcs_dask_fit/fit/tau"].attrs["axes"])

    one = fits.isel(file=0)
    assert axes(one, "q.nxs") == ["q"]
    assert axes(one.assign_coords(q=one.q * 0 + 0.01), "twice.nxs") == ["qbin"]
    assert axes(one.assign_coords(q=one.q * np.nan), "nan.nxs") == ["qbin"]
    assert axes(one.drop_vars(["q", "qbin"]), "none.nxs") == ["qbin_number"]


def test_nexus_groups_are_entries(tree, tmp_path):
    with h5py.File(export(tree, tmp_path / "fits.nxs"), "r") as file:
        assert list(file) == [f"xpcs_dask_fit_{name}" for name in tree.children]
        assert file.attrs["default"] in file
        nexus_rules(file)


def test_nexusformat_finds_nothing_wrong(fits, tree, files, tmp_path):
    pytest.importorskip("nexusformat", reason="nexusformat is not installed")
    from nexusformat.nexus import nxload
    from nexusformat.nexus.validate import validate_file

    assert validate_file(export(fits, tmp_path / "fits.nxs")) == (0, 0)
    assert validate_file(export(tree, tmp_path / "tree.nxs")) == (0, 0)
    assert validate_file(export(plain_fits(), tmp_path / "plain.nxs")) == (0, 0)
    copy = export(fits, tmp_path / "copy.hdf", into=files[0])
    assert validate_file(copy, path="/xpcs_dask_fit") == (0, 0)
    with nxload(copy, "r") as root:
        data = root["xpcs_dask_fit/fit/tau"]
        assert data.nxsignal.nxname == "tau"
        assert [axis.nxname for axis in data.nxaxes] == ["q"]
        assert data.nxsignal.units == data.nxerrors.units == "s"
        expected = fits.sel(file=files[0].name, parameter="tau")
        np.testing.assert_array_equal(data.nxsignal.nxvalue, expected.value)
        np.testing.assert_array_equal(data.nxerrors.nxvalue, expected.stderr)


def test_a_copy_of_the_input_gets_its_own_fits_and_the_input_is_not_touched(fits, files, tmp_path):
    for source in files:
        mine = tmp_path / f"mine_{source.name}"
        shutil.copyfile(source, mine)
        before, content = mine.stat().st_mtime_ns, mine.read_bytes()
        copy = export(fits, tmp_path / f"copy_{source.name}", into=mine)
        assert (mine.stat().st_mtime_ns, mine.read_bytes()) == (before, content)
        added = datasets(copy)
        kept = {name: item for name, item in added.items() if not name.startswith("xpcs_dask_fit")}
        assert kept == datasets(source)
        with h5py.File(copy, "r") as file:
            assert "default" not in file.attrs
            expected = fits.sel(file=source.name, parameter="tau")
            np.testing.assert_array_equal(file["xpcs_dask_fit/fit/tau/tau"], expected.value)
        xr.testing.assert_equal(xd.open_g2(copy, chunks=None).g2.variable, xd.open_g2(source, chunks=None).g2.variable)


def test_a_second_fit_of_a_copy_lies_beside_the_first(fits, files, tmp_path):
    first = export(fits, tmp_path / "first.hdf", into=files[0])
    second = export(xd.fit(xd.open_g2(files, chunks=None), "simple"), tmp_path / "second.hdf", into=first)
    with h5py.File(second, "r") as file:
        assert {"xpcs_dask_fit", "xpcs_dask_fit_2"} <= set(file)
        assert "stretch" in file["xpcs_dask_fit/fit"]
        assert "stretch" not in file["xpcs_dask_fit_2/fit"]


def test_a_file_that_was_not_fitted_is_refused(fits, files, tmp_path):
    other = write(tmp_path / "other.hdf")
    with pytest.raises(NoUsableInputError, match=r"other\.hdf was not fitted here.*S0001"):
        export(fits, tmp_path / "copy.hdf", into=other)
    with pytest.raises(ConfigError, match="NeXus"):
        export(fits, tmp_path / "copy.csv", into=files[0])
    with pytest.raises(ConfigError, match="is no file"):
        export(fits, tmp_path / "copy.hdf", into=tmp_path / "nowhere.hdf")
    (tmp_path / "table.csv").write_text("1,2\n")
    with pytest.raises(ConfigError, match="not HDF5"):
        export(fits, tmp_path / "copy.hdf", into=tmp_path / "table.csv")
    assert not (tmp_path / "copy.hdf").exists()


# --- places ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_export_is_replaced_only_when_asked_and_nothing_else_ever(fits, files, tmp_path, ending):
    path = needs(tmp_path / f"fits{ending}")
    export(fits, path)
    with pytest.raises(OutputExistsError, match="--overwrite") as raised:
        export(fits, path)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    export(fits.isel(file=[0]), path, overwrite=True)
    for name, text in (("text", "file,tau\n1,2\n"), ("binary", "\x89\x00"), ("empty", "")):
        other = tmp_path / f"{name}{ending}"
        other.write_text(text)
        with pytest.raises(OutputExistsError, match="something else"):
            export(fits, other, overwrite=True)
        assert other.read_text() == text
    mine = tmp_path / f"mine{ending}"
    shutil.copyfile(files[0], mine)
    with pytest.raises(OutputExistsError, match="something else"):
        export(fits, mine, format="nexus", overwrite=True)
    assert mine.read_bytes() == files[0].read_bytes()


def test_an_input_is_never_the_output_even_if_it_is_an_export(fits, files, tmp_path):
    copy = export(fits, tmp_path / "copy.hdf", into=files[0])
    before = copy.read_bytes()
    with pytest.raises(ConfigError, match="never changed"):
        export(fits, copy, into=copy, overwrite=True)
    assert copy.read_bytes() == before


def test_formats_are_told_by_endings_or_by_name(fits, tmp_path):
    assert [format_of(tmp_path / name) for name in ("a.nc", "A.CSV", "a.parquet", "a.nxs", "a.h5", "a.hdf")] == [
        "netcdf", "csv", "parquet", "nexus", "nexus", "nexus",
    ]  # fmt: skip
    assert list(FORMATS) == ["netcdf", "csv", "parquet", "nexus"]
    with pytest.raises(ConfigError, match=r"'\.xls' tells no format; known are \.nc, \.csv"):
        export(fits, tmp_path / "fits.xls")
    with pytest.raises(ConfigError, match="'excel' is not known; known are netcdf, csv"):
        export(fits, tmp_path / "fits.csv", format="excel")
    path = export(fits, tmp_path / "fits.txt", format="csv")
    assert lines(path)[0][0] == "file"


def test_results_may_be_named_by_the_path_of_their_store(fits, tmp_path):
    store = xd.save(fits, tmp_path / "fits.zarr")
    assert export(store, tmp_path / "a.csv").read_text() == export(fits, tmp_path / "b.csv").read_text()
    with pytest.raises(FileRejected, match="no such file"):
        export(tmp_path / "none.zarr", tmp_path / "c.csv")


def test_data_that_are_no_fits_are_refused(files, tmp_path):
    with pytest.raises(NoUsableInputError, match="'value'"):
        export(xd.open_g2(files), tmp_path / "fits.csv")


def test_nothing_runs_before_the_place_is_checked(files, tmp_path):
    fits = xd.fit(xd.open_g2(files))

    def forbidden(*_, **__):
        raise AssertionError("a task ran")

    with dask.config.set(scheduler=forbidden), pytest.raises(ConfigError):
        export(fits, tmp_path / "fits.xls")
