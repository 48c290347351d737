from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module

import h5py
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import xpcs_dask as xd
from tests.conftest import carried, shared
from xpcs_dask.cli import app
from xpcs_dask.simulate.files import write_series

provenance = import_module("xpcs_dask.results.provenance")  # as an attribute, that name is a function

KEYS = [
    "curves",
    "ok",
    "failed",
    "flagged",
    "status_counts",
    "rung_counts",
    "rejected",
    "seconds",
    "curves_per_second",
    "output",
    "manifest",
    "version",
]
Q = np.array([0.005, 0.007, 0.009, 0.011])


@pytest.fixture
def files(tmp_path):
    return write_series(tmp_path / "files", 2, seed=3, q=Q, frames=20_000)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "fits.zarr"


def fit(*arguments):
    return CliRunner().invoke(app, ["fit", "--scheduler", "sync", *map(str, arguments)])


def group(path):
    results = xd.open_results(path)
    return results if isinstance(results, xr.Dataset) else results["group_0"].to_dataset()


def state(path):
    return {str(p): p.stat().st_mtime_ns for p in [path, *path.rglob("*")]}


def test_json_is_one_object_with_the_promised_keys(files, store):
    result = fit(*files, "-o", store, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert list(report) == KEYS
    assert (report["curves"], report["ok"], report["failed"], report["rejected"]) == (8, 8, 0, [])
    assert report["status_counts"]["converged"] == sum(report["rung_counts"].values()) == 8
    assert report["output"] == str(store)
    assert report["version"] == xd.__version__
    assert report["curves_per_second"] == pytest.approx(8 / report["seconds"], rel=0.05)


def test_lines_say_the_same(files, store):
    result = fit(*files, files[0], "-o", store)
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert lines["Curves"] == "8"
    assert lines["Rejected"] == "1"
    assert "duplicated" in lines["Rejected file"]
    assert lines["Output"] == str(store)


def test_the_store_holds_what_the_python_call_gives(files, store):
    result = fit(
        *files, "-o", store, "--model", "simple", "--bounds", "tau=1e-5,10", "--fix", "baseline=1", "--loss", "soft_l1",
        "--loss-scale", "2", "--q-range", "0.006,0.010", "--delay-range", "0,0.1", "--detail", "full", "--search",
        "thorough", "--chunks", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = xd.fit(
        xd.open_g2(files), "simple", bounds={"tau": (1e-5, 10)}, fixed={"baseline": 1.0}, loss="soft_l1", loss_scale=2,
        q_range=(0.006, 0.010), delay_range=(0, 0.1), detail="full", search="thorough",
    ).compute()  # fmt: skip
    found = group(store)
    assert found.sizes["qbin"] == 2
    assert float(found.delay.max()) <= 0.1
    for name in expected.data_vars:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert found.attrs["config"] == expected.attrs["config"]


def test_errors_none_weighs_all_points_equally(files, store):
    assert fit(*files, "-o", store, "--errors", "none").exit_code == 0
    expected = xd.fit(xd.open_g2(files), errors="none").compute()
    np.testing.assert_array_equal(group(store).value, expected.value)
    assert not np.array_equal(expected.value, xd.fit(xd.open_g2(files)).compute().value)


def test_netcdf_by_suffix(files, tmp_path):
    assert fit(*files, "-o", tmp_path / "fits.nc").exit_code == 0
    assert (tmp_path / "fits.nc").is_file()
    assert fit(*files, "-o", tmp_path / "fits.nc").stderr.strip().endswith("nothing to do")


def test_running_again_does_nothing_and_says_so(files, store):
    first = fit(*files, "-o", store, "--json")
    before = state(store)
    again = fit(*files, "-o", store, "--json")
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    assert "nothing to do" in again.stderr
    assert state(store) == before
    quiet = fit(*files, "-o", store, "--json", "--quiet")
    assert (quiet.stdout, quiet.stderr) == (first.stdout, "")
    relative = os.path.relpath(files[0]), os.path.relpath(files[1])
    assert "nothing to do" in fit(*relative, "-o", store, "--scheduler", "threads:1", "--chunks", "1").stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--loss", "huber"], "other settings (loss)"),
        (["--model", "simple"], "other settings (model)"),
        (["--q-range", "0.001,0.1"], "other settings (q_range)"),
        (["--fix", "baseline=1"], "other settings (fixed)"),
    ],
)
def test_other_settings_are_refused(files, store, options, says):
    assert fit(*files, "-o", store).exit_code == 0
    before = state(store)
    result = fit(*files, "-o", store, *options)
    assert result.exit_code == 6
    assert says in result.stderr
    assert "--overwrite" in result.stderr
    assert (result.stdout, state(store)) == ("", before)
    redone = fit(*files, "-o", store, *options, "--overwrite")
    assert redone.exit_code == 0
    assert "nothing to do" in fit(*files, "-o", store, *options).stderr


def test_other_inputs_are_refused(files, store):
    assert fit(files[0], "-o", store).exit_code == 0
    more = fit(*files, "-o", store)
    assert more.exit_code == 6
    assert "other inputs (1 files, now 2" in more.stderr
    with h5py.File(files[0], "r+") as file:
        file["xpcs/multitau/normalized_g2_err"][5, 0] *= 2
    os.utime(files[0], ns=(1, 1))
    changed = fit(files[0], "-o", store)
    assert changed.exit_code == 6
    assert f"an earlier state of {os.path.realpath(files[0])}" in changed.stderr


@pytest.mark.parametrize(
    ("package", "says"), [("numpy", "another version of numpy: "), ("numba", "numba"), ("xpcs-dask", "xpcs-dask")]
)
def test_another_version_is_refused(files, store, monkeypatch, package, says):
    assert fit(*files, "-o", store).exit_code == 0
    found = provenance.versions() | {package: "0.0.1"}
    monkeypatch.setattr(provenance, "versions", lambda: found)
    result = fit(*files, "-o", store)
    assert result.exit_code == 6
    assert says in result.stderr
    assert "instead of 0.0.1" in result.stderr
    assert fit(*files, "-o", store, "--overwrite").exit_code == 0


def test_another_processor_is_refused(files, store, monkeypatch):
    assert fit(*files, "-o", store).exit_code == 0
    here = provenance.cpu_target()
    monkeypatch.setattr(provenance, "cpu_target", lambda: "pentium4")
    result = fit(*files, "-o", store)
    assert result.exit_code == 6
    assert f"another processor: {here} instead of pentium4" in result.stderr


def test_other_versions_that_decide_no_number_do_not_matter(files, store, monkeypatch):
    assert fit(*files, "-o", store).exit_code == 0
    found = provenance.versions() | {"dask": "0.0.1"}
    monkeypatch.setattr(provenance, "versions", lambda: found)
    assert "nothing to do" in fit(*files, "-o", store).stderr


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_results_saved_in_python_can_be_overwritten(files, tmp_path, suffix):
    path = xd.save(xd.fit(xd.open_g2(files), "simple"), tmp_path / f"fits{suffix}")
    refused = fit(*files, "-o", path)
    assert refused.exit_code == 6
    assert "a call of save in Python" in refused.stderr
    assert fit(*files, "-o", path, "--overwrite").exit_code == 0
    assert group(path).attrs["model"] == "single"


def test_overwrite_leaves_other_things_alone(files, tmp_path):
    precious = tmp_path / "notes.zarr"
    precious.mkdir()
    (precious / "notes.txt").write_text("mine")
    result = fit(*files, "-o", precious, "--overwrite")
    assert result.exit_code == 2
    assert (precious / "notes.txt").read_text() == "mine"


def test_strict_tells_by_the_exit_code_and_still_writes(files, tmp_path, store):
    assert fit(*files, "-o", store, "--strict").exit_code == 0
    bad = tmp_path / "bad.hdf"
    bad.write_bytes(b"")
    other = tmp_path / "other.zarr"
    for _ in range(2):  # done, and found done
        result = fit(*files, bad, "-o", other, "--strict", "--json")
        assert result.exit_code == 5
        assert json.loads(result.stdout)["ok"] == 8
        assert "1 files were rejected and 0 curves failed" in result.stderr
    assert fit(*files, bad, "-o", other).exit_code == 0


def test_a_file_that_is_mended_is_another_input(files, tmp_path, store):
    bad = tmp_path / "late.hdf"
    bad.write_bytes(b"")
    assert fit(files[0], bad, "-o", store).exit_code == 0
    shutil.copy(files[1], bad)
    assert fit(files[0], bad, "-o", store).exit_code == 6


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--loss", "loud"], 2, "loss"),
        (["--loss-scale", "0"], 2, "loss_scale"),
        (["--model", "triple"], 2, "simple, single, double"),
        (["--scheduler", "lsf"], 2, "threads[:N]"),
        (["--scheduler", "tcp://nowhere"], 2, "tcp://HOST:PORT"),
        (["--chunks", "0"], 2, "--chunks"),
        (["--bounds", "tau=low,high"], 2, "'low' is not a number"),
        (["--q-range", "0.02,0.01"], 2, "q_range"),
        (["--fix", "tau=nan"], 2, "not a finite number"),
        (["--detail", "most"], 2, "detail"),
        (["--delay-unit", "fortnight"], 2, "s, ms, us, ns"),
        (["--q-unit", "inch"], 2, "1/angstrom, 1/nm, 1/m"),
        (["-o", "fits.hdf"], 2, ".zarr or .nc"),
        (["--nonsense"], 2, "--nonsense"),
    ],
)
def test_settings_that_make_no_sense(files, tmp_path, monkeypatch, options, code, says):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["fit", str(files[0]), *options])
    assert result.exit_code == code
    assert says in " ".join(result.stderr.split())
    assert [p.name for p in tmp_path.iterdir()] == ["files"]


def test_nobody_at_the_scheduler_is_exit_7(files, store):
    result = CliRunner().invoke(app, ["fit", str(files[0]), "-o", str(store), "--scheduler", "tcp://127.0.0.1:1"])
    assert result.exit_code == 7
    assert "tcp://127.0.0.1:1" in result.stderr
    assert not store.exists()


def test_an_internal_error_is_exit_1_and_debug_shows_where(files, store, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("xpcs_dask.api.packed_fits", broken)
    short, long = fit(files[0], "-o", store), fit(files[0], "-o", store, "--debug")
    assert (short.exit_code, long.exit_code) == (1, 1)
    assert short.stderr.startswith("xpcs-dask: internal error: RuntimeError: a fault of ours")
    assert len(short.stderr.splitlines()) == 1
    assert "in broken" in long.stderr


def test_progress_is_on_stderr_when_asked_for(files, store):
    result = fit(*files, "-o", store, "--json", "--progress", "bar")
    assert "8/8" in result.stderr
    assert list(json.loads(result.stdout)) == KEYS
    result = fit(*files, "-o", store, "--json", "--overwrite", "--progress", "json")
    states = [json.loads(line) for line in result.stderr.splitlines()]
    assert [state["stage"] for state in (states[0], states[-1])] == ["opening", "done"]
    assert (states[-1]["curves_done"], states[-1]["curves"], states[-1]["blocks_done"]) == (8, 8, states[-1]["blocks"])
    assert fit(*files, "-o", store, "--progress", "json", "--quiet").stderr == ""
    assert fit(*files, "-o", store, "--progress", "often").exit_code == 2


def test_files_that_differ_become_groups(store):
    result = fit(carried("boost_corr"), "-o", store, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["curves"] == 155
    [rejected] = report["rejected"]
    assert "S0005" in rejected["file"]
    assert "two-time results only" in rejected["reason"]
    tree = xd.open_results(store)
    sizes = [node["status"].size for node in tree.subtree if "status" in node.data_vars]
    assert len(sizes) > 2
    assert sum(sizes) == 155
    names = [str(name) for node in tree.subtree if "file" in node.coords for name in node["file"].values]
    assert len(names) == len(set(names)) == 11


@pytest.mark.slow
def test_a_store_of_groups_is_known_again_each_time(store):
    folder = carried("boost_corr")
    first = fit(folder, "-o", store, "--model", "simple", "--json")
    for _ in range(8):
        again = fit(folder, "-o", store, "--model", "simple", "--json")
        assert again.exit_code == 0, again.stderr
        assert "nothing to do" in again.stderr
        assert again.stdout == first.stdout
    assert fit(folder, "-o", store, "--model", "simple", "--overwrite").exit_code == 0
    assert fit(folder, "-o", store).exit_code == 6


def test_json_is_printed_when_no_file_can_be_used(store, tmp_path):
    empty = tmp_path / "empty.hdf"
    empty.write_bytes(b"")
    gone = tmp_path / "gone.hdf"
    result = fit(empty, gone, "-o", store, "--json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert list(report) == KEYS
    assert (report["curves"], report["ok"], report["failed"], report["output"]) == (0, 0, 0, None)
    assert {item["file"] for item in report["rejected"]} == {str(empty), str(gone)}
    assert any("empty (0 bytes)" in item["reason"] for item in report["rejected"])
    assert "no usable file" in result.stderr
    assert not store.exists()


def test_json_is_printed_when_no_curve_is_left(files, store, tmp_path):
    empty = tmp_path / "empty.hdf"
    empty.write_bytes(b"")
    result = fit(*files, empty, "-o", store, "--json", "--q-range", "0.5,0.6")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert list(report) == KEYS
    assert report["curves"] == sum(report["status_counts"].values()) == 0
    assert [item["file"] for item in report["rejected"]] == [str(empty)]
    assert "no q of the data is in q_range" in result.stderr


def table(path):
    """Curves of two q in ms and 1/nm, which the file does not say."""
    delay = np.geomspace(0.1, 100, 30)
    columns = [1 + 0.2 * np.exp(-2 * delay / tau) for tau in (3.0, 5.0)]
    rows = zip(delay, *columns, strict=True)
    path.write_text("delay,0.05,0.07\n" + "\n".join(",".join(f"{x:.8g}" for x in row) for row in rows) + "\n")
    return path


UNITS = ["--delay-unit", "ms", "--q-unit", "1/nm", "--errors", "none", "--model", "simple"]


def test_units_of_a_table_are_told(tmp_path, store):
    path = table(tmp_path / "curves.csv")
    untold = fit(path, "-o", store, "--errors", "none")
    assert untold.exit_code == 3
    assert "delay_unit=" in untold.stderr
    assert fit(path, "-o", store, *UNITS).exit_code == 0
    fits = group(store)
    np.testing.assert_allclose(fits.value.sel(parameter="tau")[0], [3e-3, 5e-3], rtol=1e-4)
    np.testing.assert_allclose(fits.q, [0.005, 0.007])
    assert "nothing to do" in fit(path, "-o", store, *UNITS).stderr
    other = fit(path, "-o", store, *UNITS, "--delay-unit", "us")
    assert other.exit_code == 6
    assert "other settings (delay_unit)" in other.stderr


def test_the_entry_is_told(tmp_path, store):
    path = tmp_path / "uid=7_Res.h5"
    delay = np.geomspace(1e-3, 1, 30)
    with h5py.File(path, "w") as file:
        file["taus"], file["tausb"] = delay, delay
        for name, tau in (("g2", 0.03), ("g2b", 0.05)):
            file[name] = (1 + 0.2 * np.exp(-2 * delay / tau))[:, None]
        file["qval_dict"] = np.zeros(1)
        file["qval_dict"].attrs["0"] = [0.005]
    for entry, tau in (("g2", 0.03), ("g2b", 0.05)):
        result = fit(path, "-o", store, "--errors", "none", "--model", "simple", "--entry", entry, "--overwrite")
        assert result.exit_code == 0, result.output
        assert group(store).value.sel(parameter="tau").values.item() == pytest.approx(tau, rel=1e-4)
    assert "other settings (entry)" in fit(path, "-o", store, "--errors", "none", "--model", "simple").stderr


def test_real_files(store):
    expected = 0
    for path in shared("aps").glob("*.hdf"):
        with h5py.File(path) as file:
            expected += file["xpcs/multitau/normalized_g2"].shape[1]
    result = fit(shared("aps"), "-o", store, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["rejected"] == []
    assert report["curves"] == expected
    assert report["ok"] > 0.8 * report["curves"]


@pytest.mark.cluster
@pytest.mark.parametrize("scheduler", ["threads:2", "processes:2", "local:1"])
def test_the_program_gives_the_same_bits_with_any_scheduler(files, store, tmp_path, scheduler):
    assert fit(*files, "-o", store).exit_code == 0
    program = [sys.executable, "-c", "from xpcs_dask.cli import main; main()"]
    other = tmp_path / "other.zarr"
    done = subprocess.run(
        [*program, "fit", *map(str, files), "-o", str(other), "--chunks", "1", "--scheduler", scheduler, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)) == KEYS
    one, two = group(store), group(other)
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


SLOW = """
import signal
import time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs with &
from xpcs_dask import api
from xpcs_dask.cli import main
packed_fits = api.packed_fits
def slow(*args, **kwargs):
    print("begun", flush=True)
    time.sleep(60)
    return packed_fits(*args, **kwargs)
api.packed_fits = slow
main()
"""


@pytest.mark.cluster
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_nothing_and_exits_with_75(files, store, signum):
    arguments = ["fit", *map(str, files), "-o", str(store)]
    run = subprocess.Popen(
        [sys.executable, "-c", SLOW, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout.readline() == "begun\n"
    time.sleep(0.1)
    run.send_signal(signum)
    _, err = run.communicate(timeout=50)
    assert run.returncode == 75, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert [p.name for p in store.parent.iterdir()] == ["files"]


def test_a_stack_is_fitted_like_its_files_and_noticed_when_it_is_another(files, tmp_path):
    packed = tmp_path / "stack.zarr"
    xd.pack(files, packed)
    assert fit(packed, "-o", tmp_path / "a.zarr", "--include", "temperature").exit_code == 0
    assert fit(*files, "-o", tmp_path / "b.zarr").exit_code == 0
    first, second = (xd.open_results(tmp_path / name).compute() for name in ("a.zarr", "b.zarr"))
    for one, other in zip(first.leaves, second.leaves, strict=True):
        xr.testing.assert_equal(one["value"], other["value"])
    assert "nothing to do" in fit(packed, "-o", tmp_path / "a.zarr", "--include", "temperature").stderr
    xd.pack(files[:1], packed, overwrite=True)
    assert fit(packed, "-o", tmp_path / "a.zarr", "--include", "temperature").exit_code == 6
    shown = CliRunner().invoke(app, ["info", str(packed)])
    assert shown.exit_code == 0
    assert "Files: 1" in shown.stdout
