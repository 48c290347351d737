"""What must never matter: chunks, order, neighbours, schedulers. Same bits, not close numbers."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from engine.counting import computes_at_most
from engine.stack import stack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xpcs_dask as xd

FILES, BINS, DELAYS, PIXELS = 3, 5, 24, 10
CASES = {
    "single": {"model": "single"},
    "quoted": {"model": "single", "errors": "quoted"},
    "robust": {"model": "simple", "loss": "soft_l1"},
    "equal": {"model": "single", "errors": "none", "detail": "core"},
    "held": {"model": "single", "fixed": {"baseline": 1.0}, "bounds": {"tau": (1e-4, 1.0)}},
    "clipped": {"model": "simple", "robust": "clip", "diagnostics": "comprehensive", "interval": "covariance"},
    "profile": {"model": "simple", "errors": "quoted", "interval": "profile"},
    "generalised": {"model": "single", "weights": "gls"},
    "double": {"model": "double"},
    "double robust": {"model": "double", "loss": "huber"},
    "clusters": {"model": "simple", "covariance": "cluster"},
    "refits": {"model": "simple", "resamples": 30, "keep_replicates": True},
    "rounds": {"model": "single", "tolerance": 0.2, "max_resamples": 500, "over": "delay"},
}
case = st.sampled_from(list(CASES))
few = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def spoiled() -> xr.Dataset:
    """Curves of which some cannot be fitted, and some points cannot be used."""
    data = stack(FILES, BINS, DELAYS, seed=7)
    data["g2"][0, 1], data["g2"][1, 2, ::3] = np.nan, np.nan
    data["g2_err"][2, 0], data["g2_err"][1, 1, 5:9] = np.inf, 0.0
    counts = {"rate": (("file", "qbin"), np.geomspace(1e-3, 1e3, FILES * BINS).reshape(FILES, BINS))}
    noise = np.random.default_rng(8).normal(0, 0.01, (FILES, BINS, PIXELS, DELAYS))
    noise[1] = np.nan  # a file without pixels
    data["g2_cluster"] = (("file", "qbin", "cluster", "delay"), (data["g2"].values[:, :, None] + noise).astype("f4"))
    told = {"level": ("delay", np.zeros(DELAYS)), "n_pixels": ("qbin", np.full(BINS, 50.0)), "frame_time": 1e-4}
    return data.assign_coords(frames=("file", np.full(FILES, 2e5)), **told, **counts)


DATA = spoiled()


def run(data: xr.Dataset, options: dict[str, object]) -> xr.Dataset:
    """`fit`, or `bootstrap` where it is asked for; pixels only for those that look at them."""
    refits = "resamples" in options or "tolerance" in options
    if not refits and options.get("covariance") != "cluster":
        data = data.drop_vars("g2_cluster")
    return (xd.bootstrap if refits else xd.fit)(data, **options)


@pytest.fixture(scope="module")
def expected():
    return {name: run(DATA, options) for name, options in CASES.items()}


def splits(size: int):
    """Every way of cutting `size` into blocks."""
    cuts = st.sets(st.integers(1, size - 1))
    return cuts.map(lambda at: tuple(np.diff([0, *sorted(at), size]).tolist()))


def test_the_expected_results_have_failures_and_successes(expected):
    for fits in expected.values():
        assert 0 < (fits["status"] == 1).sum() < fits["status"].size


@few
@given(case, splits(FILES), splits(BINS), splits(DELAYS), st.sampled_from(["sync", "threads"]))
def test_chunks_and_threads(expected, name, files, bins, delays, scheduler):
    lazy = run(DATA.chunk(file=files, qbin=bins, delay=delays), CASES[name])
    xr.testing.assert_identical(lazy.compute(scheduler=scheduler), expected[name])


@few
@given(case, st.permutations(range(FILES)), st.permutations(range(BINS)), st.booleans())
def test_order_of_curves(expected, name, files, bins, lazy):
    order = {"file": list(files), "qbin": list(bins)}
    shuffled = DATA.isel(order).chunk(file=2) if lazy else DATA.isel(order)
    xr.testing.assert_identical(run(shuffled, CASES[name]).compute(), expected[name].isel(order))


@few
@given(case, st.integers(0, FILES - 1), st.integers(0, BINS - 1), st.booleans())
def test_one_curve_alone(expected, name, file, qbin, keep):
    at = {"file": [file], "qbin": [qbin]} if keep else {"file": file, "qbin": qbin}
    xr.testing.assert_identical(run(DATA.isel(at), CASES[name]), expected[name].isel(at))


@few
@given(case, st.integers(0, FILES - 1), st.integers(0, BINS - 1), st.integers(0, 2**32 - 1))
def test_neighbours(expected, name, file, qbin, seed):
    other = stack(FILES, BINS, DELAYS, seed=seed)
    mixed = DATA.copy(deep=True)
    mixed["g2"][:], mixed["g2_err"][:] = other["g2"].values, other["g2_err"].values
    mixed["g2"][file, qbin], mixed["g2_err"][file, qbin] = DATA["g2"][file, qbin], DATA["g2_err"][file, qbin]
    at = {"file": file, "qbin": qbin}
    xr.testing.assert_identical(run(mixed, CASES[name]).isel(at), expected[name].isel(at))


@few
@given(case, splits(FILES), splits(BINS), splits(DELAYS))
def test_building_runs_nothing(name, files, bins, delays):
    with computes_at_most(0):
        run(DATA.chunk(file=files, qbin=bins, delay=delays), CASES[name])


@pytest.mark.cluster
@pytest.mark.slow
def test_processes(expected):
    lazy = [run(DATA.chunk(file=1, qbin=2), options) for options in CASES.values()]
    for found, name in zip(dask.compute(*lazy, scheduler="processes", num_workers=2), CASES, strict=True):
        xr.testing.assert_identical(found, expected[name])


@pytest.mark.cluster
@pytest.mark.slow
def test_workers_of_a_cluster(expected, tmp_path):
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None, "local_directory": str(tmp_path)}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        lazy = [run(DATA.chunk(file=2, qbin=1), case) for case in CASES.values()]
        found = client.gather(client.compute(lazy))
        stored = xd.open_results(xd.save(lazy[0], tmp_path / "fits.zarr")).compute()
    for fits, name in zip(found, CASES, strict=True):
        xr.testing.assert_identical(fits, expected[name])
    xr.testing.assert_identical(stored, expected["single"])
