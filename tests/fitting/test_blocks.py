"""Blocks of curves in, packed rows out."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from engine.stack import stack
from scipy.optimize import curve_fit
from threadpoolctl import threadpool_info

from xpcs_dask.config import FitConfig
from xpcs_dask.fitting import slabs
from xpcs_dask.fitting.blocks import Job, fit_block
from xpcs_dask.fitting.layout import Flag, Status, fit_dtype
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.fitting.points import sigma_block
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.fitting.threads import one_thread

SINGLE = MODELS["single"]
DATA = stack(files=3, bins=4)
DELAY = DATA["delay"].values
G2, ERR = DATA["g2"].values, DATA["g2_err"].values
PRODUCTS = DATA["n_products"].values[:, None, :]
LOWER, UPPER = SINGLE.box(DELAY)


def run(g2=G2, err=ERR, products=PRODUCTS, *, model=SINGLE, box=None, **settings):
    lower, upper = box or model.box(DELAY)
    config = FitConfig.make(**{"errors": "quoted", **settings})
    return fit_block(g2, err, products, job=Job(delay=DELAY, model=model, config=config, lower=lower, upper=upper))


def points(g2=G2, err=ERR, products=PRODUCTS):
    return sigma_block(g2, err, products, delay=DELAY, config=FitConfig(errors="quoted"))


def test_same_minimum_as_scipy_on_the_points_that_are_used():
    found = run()
    for at in np.ndindex(G2.shape[:-1]):
        use = PRODUCTS[at[0], 0] >= 4
        y, sigma = G2[at][use].astype(float), ERR[at][use].astype(float)
        best, covariance = curve_fit(
            SINGLE.evaluate,
            DELAY[use],
            y,
            p0=DATA["truth"].values[at],
            sigma=sigma,
            absolute_sigma=True,
            bounds=(LOWER, UPPER),
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
            x_scale="jac",
            jac=SINGLE.jacobian,
        )
        np.testing.assert_allclose(found["value"][at], best, rtol=1e-5)
        np.testing.assert_allclose(found["stderr"][at], np.sqrt(np.diag(covariance)), rtol=1e-3)
        assert found["n_used"][at] == use.sum()
    assert not (PRODUCTS >= 4).all()


@pytest.mark.parametrize("slab", [1, 3 * 32, 10**6])
def test_rows_do_not_depend_on_slabs(slab, monkeypatch):
    expected = run()
    monkeypatch.setattr(slabs, "SLAB_POINTS", slab)
    assert run().tobytes() == expected.tobytes()
    used = np.broadcast_to(PRODUCTS >= 4, G2.shape)
    assert (points()["quality"] == np.where(used, 0, PointFlag.FEW_PRODUCTS | PointFlag.NOT_USED)).all()
    np.testing.assert_allclose(points()["sigma"], np.where(used, ERR, np.inf), rtol=1e-15)


def test_one_curve_alone_is_the_same_row():
    together = run()
    for at in np.ndindex(G2.shape[:-1]):
        assert run(G2[at], ERR[at], PRODUCTS[at[0], 0]).tobytes() == together[at].tobytes()


@pytest.mark.parametrize("shape", [(), (12,), (2, 6), (2, 3, 2, 1)])
def test_any_leading_dimensions(shape):
    def reshape(array):
        return np.broadcast_to(array, G2.shape).reshape(12, -1)[: np.prod(shape, dtype=int)].reshape(*shape, -1)

    found = run(reshape(G2), reshape(ERR), reshape(PRODUCTS))
    assert found.shape == shape
    assert found.tobytes() == run().reshape(-1)[: np.prod(shape, dtype=int)].tobytes()


@pytest.mark.parametrize("shape", [(1, 4, 32), (3, 1, 32), (4, 32), (32,), (1, 1, 1), (3, 4, 1), (1,), ()])
def test_errors_and_products_broadcast_as_in_numpy(shape):
    products = np.arange(1, 1 + np.prod(shape, dtype=int)).reshape(shape) * 3
    err = 1e-3 / np.sqrt(products)
    full = run(err=np.broadcast_to(err, G2.shape), products=np.broadcast_to(products, G2.shape))
    assert run(err=err, products=products).tobytes() == full.tobytes()


def test_blocks_without_curves():
    none = run(G2[:0], ERR[:0], PRODUCTS[:0])
    assert (none.shape, none.dtype) == ((0, 4), fit_dtype(SINGLE, "full"))
    assert points(G2[:, :0], ERR[:, :0], None).shape == (3, 0, 32)


def test_core_is_full_without_the_extras():
    core, full = run(detail="core"), run()
    assert core.dtype == fit_dtype(SINGLE, "core")
    assert full.dtype == fit_dtype(SINGLE, "full")
    assert all(core[name].tobytes() == full[name].tobytes() for name in core.dtype.names)


def test_float32_is_fitted_in_float64():
    assert run().tobytes() == run(G2.astype(float), ERR.astype(float)).tobytes()


def test_digits_beyond_float32_count():
    truth = np.array([0.2, 0.05, 0.9, 1.0])
    exact = SINGLE.evaluate(DELAY, *truth)[None]
    np.testing.assert_allclose(run(exact, 1e-3, None)["value"][0], truth, rtol=1e-9)
    assert abs(run(exact.astype("f4"), 1e-3, None)["value"][0, 1] / truth[1] - 1) > 1e-9


def test_curves_without_data_are_rows_that_say_so():
    g2, err = G2.copy(), ERR.copy()
    g2[0, 0], err[0, 1], err[0, 2], g2[0, 3] = np.nan, np.inf, 0.0, 0.0
    g2[1, 0, 4:] = np.nan
    found, sound = run(g2, err), run()
    assert found["status"][0].tolist() == [Status.NO_DATA] * 4
    assert found["status"][1, 0] == Status.TOO_FEW_POINTS
    lost = found["status"] != Status.CONVERGED
    assert np.isnan(found["value"][lost]).all()
    assert np.isnan(found["stderr"][lost]).all()
    assert found["n_used"][0].tolist() == [0] * 4
    assert found[~lost].tobytes() == sound[~lost].tobytes()
    excluded = (found["flags"][0] & Flag.POINTS_EXCLUDED) != 0
    assert excluded.tolist() == [False, True, True, True]


def test_equal_weights_use_what_quoted_errors_would_forbid():
    err = np.zeros_like(ERR)
    assert (run(err=err)["status"] == Status.NO_DATA).all()
    found = run(err=err, errors="none", absolute_sigma=False)
    assert (found["status"] == Status.CONVERGED).all()
    assert found.tobytes() == run(err=None, errors="none", absolute_sigma=False).tobytes()


def _raises(x, a, b):
    raise ZeroDivisionError


def test_a_model_that_raises_is_a_status():
    model = MODELS["single"].from_function(_raises)
    found = run(G2[0], ERR[0], None, model=model, box=(np.zeros(2), np.ones(2)))
    assert found["status"].tolist() == [Status.MODEL_FAILED] * 4


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_blas_has_one_thread_inside_overlapping_tasks_and_all_of_them_after():
    before = blas_threads()
    first, second = one_thread(), one_thread()
    first.__enter__()
    second.__enter__()
    assert set(blas_threads()) == {1}
    first.__exit__(None, None, None)
    assert set(blas_threads()) == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before


def test_blas_threads_come_back_after_many_tasks_at_once():
    before = blas_threads()
    threads = [threading.Thread(target=run, args=(G2[:1], ERR[:1], None)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blas_threads() == before
