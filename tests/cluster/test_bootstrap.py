"""The bootstrap on workers that are processes of their own, and on workers that die."""

from __future__ import annotations

import os
import signal

import pytest
import xarray as xr

import xpcs_dask as xd
from xpcs_dask import bootstrapping
from xpcs_dask.simulate import speckle

pytestmark = pytest.mark.cluster

PIXELS = speckle(6, frames=512, frame_time=1e-3, pixels=24, counts=1.0, normalization="pixel", clusters=True)
SETTINGS = {"model": "simple", "resamples": 1000, "keep_replicates": True}


@pytest.fixture(scope="module")
def expected():
    return xd.bootstrap(PIXELS, **SETTINGS)


@pytest.fixture
def grid(monkeypatch):
    """Refits of one curve in pieces of their own: 6 files x 4 pieces of tasks."""
    monkeypatch.setattr(bootstrapping, "PIECE", 250)


def workers(number):
    from distributed import LocalCluster

    return LocalCluster(n_workers=number, threads_per_worker=1, dashboard_address="127.0.0.1:0")


@pytest.mark.parametrize("number", [1, 2, 3])
def test_same_bits_on_any_number_of_workers(number, expected, grid):
    from distributed import Client

    with workers(number) as cluster, Client(cluster):
        xr.testing.assert_identical(xd.bootstrap(PIXELS.chunk(file=1), **SETTINGS).compute(), expected)


def test_same_bits_after_a_worker_was_killed(expected, grid):
    """Killed while it holds refits that no other worker has: these are made again."""
    from distributed import Client, wait

    with workers(2) as cluster, Client(cluster) as client:
        running = client.persist(xd.bootstrap(PIXELS.chunk(file=1), **SETTINGS))
        wait(running)
        held = {address: keys for address, keys in client.has_what().items() if keys}
        assert len(held) == 2
        lost = next(iter(held))
        os.kill(client.run(os.getpid, workers=[lost])[lost], signal.SIGKILL)
        xr.testing.assert_identical(running.compute(), expected)
        assert lost not in client.scheduler_info()["workers"]
