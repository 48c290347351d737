"""Options of ``xpcs-dask fit`` about errors: what each says is in the store, as the Python call gives it."""

from __future__ import annotations

import pytest
import xarray as xr
from typer.testing import CliRunner

import xpcs_dask as xd
from xpcs_dask.cli import app
from xpcs_dask.simulate.files import write_series


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_series(tmp_path_factory.mktemp("files"), 2, seed=3, q=[0.005, 0.009], frames=20_000)


def fit(files, store, *options):
    return CliRunner().invoke(
        app, ["fit", "--scheduler", "sync", "--model", "simple", *map(str, (*files, "-o", store, *options))]
    )


def stored(files, path, *options):
    done = fit(files, path, *options)
    assert done.exit_code == 0, done.output
    found = xd.open_results(path)
    return (found if isinstance(found, xr.Dataset) else found["group_0"].to_dataset()).compute()


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--interval", "covariance", "--level", "0.9"], {"interval": "covariance", "level": 0.9}),
        pytest.param(
            ["--interval", "profile", "--errors", "quoted"],
            {"interval": "profile", "errors": "quoted"},
            marks=pytest.mark.slow,
        ),
        (["--robust", "clip", "--detail", "full"], {"robust": "clip", "detail": "full"}),
        pytest.param(["--weights", "gls"], {"weights": "gls"}, marks=pytest.mark.slow),
        (["--diagnostics", "standard"], {"diagnostics": "standard"}),
    ],
    ids=["covariance", "profile", "clip", "gls", "diagnostics"],
)
def test_options_are_settings_of_fit(files, tmp_path, options, settings):
    found = stored(files, tmp_path / "fits.zarr", *options)
    expected = xd.fit(xd.open_g2(files), "simple", **{"detail": "core", **settings}).compute()
    xr.testing.assert_identical(found.drop_attrs(deep=False), expected.drop_attrs(deep=False))


def test_bootstrap_is_that_of_python(files, tmp_path):
    options = ["--bootstrap", "300", "--interval", "basic", "--seed", "4", "--level", "0.9"]
    found = stored(files, tmp_path / "fits.zarr", *options)
    expected = xd.bootstrap(
        xd.open_g2(files), model="simple", detail="core", level=0.9, resamples=300, interval="basic", seed=4
    )
    xr.testing.assert_identical(found.drop_attrs(deep=False), expected.compute().drop_attrs(deep=False))


def test_another_seed_is_another_result(files, tmp_path):
    store = tmp_path / "fits.zarr"
    assert fit(files, store, "--bootstrap", "50").exit_code == 0
    again = fit(files, store, "--bootstrap", "50")
    assert again.exit_code == 0
    assert "nothing to do" in again.stderr
    other = fit(files, store, "--bootstrap", "50", "--seed", "1")
    assert other.exit_code == 6
    assert "bootstrap" in other.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--bootstrap", "many"], "--bootstrap takes auto or a number"),
        (["--bootstrap", "1"], "resamples"),
        (["--bootstrap", "50", "--over", "cluster"], "no clusters to resample"),
        (["--bootstrap", "50", "--interval", "profile"], "interval"),
        (["--covariance", "cluster"], "needs a variable g2_cluster"),
        (["--robust", "median"], "robust"),
        (["--interval", "profile", "--loss", "huber"], "'profile' needs the linear loss"),
    ],
)
def test_what_makes_no_sense_is_exit_2(files, tmp_path, options, says):
    done = fit(files, tmp_path / "fits.zarr", *options)
    assert done.exit_code == 2
    assert says in done.stderr
    assert not (tmp_path / "fits.zarr").exists()


def test_a_bootstrap_is_kept_and_taken_from_the_cache(files, tmp_path, monkeypatch):
    monkeypatch.setenv("XPCS_CACHE_DIR", str(tmp_path / "kept"))
    first = stored(files, tmp_path / "first.zarr", "--bootstrap", "60")
    again = stored(files, tmp_path / "again.zarr", "--bootstrap", "60")
    assert cached(tmp_path / "first.zarr") == (0, 2)
    assert cached(tmp_path / "again.zarr") == (2, 0)
    xr.testing.assert_identical(again.drop_attrs(deep=False), first.drop_attrs(deep=False))
    stored(files, tmp_path / "other.zarr", "--bootstrap", "60", "--no-cache")
    stored(files, tmp_path / "fits.zarr")
    assert cached(tmp_path / "other.zarr") == cached(tmp_path / "fits.zarr") == (0, 0)


def cached(store):
    work = xd.Manifest.read(f"{store}.manifest.json").work
    return work.cache_hits, work.cache_misses


def test_a_cache_that_others_can_write_is_refused(files, tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("XPCS_CACHE_DIR", str(folder))
    done = fit(files, tmp_path / "fits.zarr", "--cache")
    assert done.exit_code == 2
    assert str(folder) in done.stderr
