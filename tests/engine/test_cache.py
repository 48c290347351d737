from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import dask
import numpy as np
import pytest

from tests.engine.stack import stack
from xpcs_dask import api, prepare
from xpcs_dask.config import BootstrapConfig, FitConfig
from xpcs_dask.engine import cache as caching
from xpcs_dask.engine.cache import Cache, Counts, NotCacheableError, counted, counting, with_cache
from xpcs_dask.engine.graph import Named, map_curves
from xpcs_dask.fitting.blocks import fit_block, fitted_points
from xpcs_dask.fitting.bootstrap import bootstrap_block, bootstrap_dtype
from xpcs_dask.fitting.models import resolve
from xpcs_dask.fitting.points import POINT
from xpcs_dask.results.provenance import fingerprint


def fits(data, folder=None, model="simple", boot=None, state=fingerprint, block=fit_block, **settings):
    """Records of a fit or a bootstrap, through the cache if a folder is given; lazy if the data are."""
    config = FitConfig.make(**{"detail": "core", "covariance": "hc3", **settings})
    curves, config = prepare.prepare(data, None, config)
    job = api.job_of(curves, config, resolve(model))
    g2, others = prepare.operands(curves, config, clusters=boot is not None)
    function, dtype = partial(block, job=job), POINT if block is fitted_points else job.dtype
    if boot is not None:
        others.append(Named(curves["curve_id"].values, ("file", "qbin")))
        function, dtype = partial(bootstrap_block, job=job, boot=boot), bootstrap_dtype(job, boot)
    if folder is not None:
        function = with_cache(function, state=state, folder=folder)
    return map_curves(
        function, g2, *others, core="delay", dtype=dtype, name="fit", own=("cluster",),
        keep_core=block is fitted_points,
    )  # fmt: skip


def counts_of(work):
    """What it returns, and which files were found meanwhile."""
    before = counted()
    found = work()
    after = counted()
    return found, Counts(after.hits - before.hits, after.misses - before.misses)


def same(one, other):
    assert isinstance(one, np.ndarray)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@pytest.fixture(scope="module")
def data():
    return stack(6, 4, 32)


@pytest.fixture(scope="module")
def plain(data):
    return fits(data)


def test_a_repeated_analysis_is_read(data, plain, tmp_path):
    first, counts = counts_of(lambda: fits(data, tmp_path))
    assert (counts.hits, counts.misses) == (0, 6)
    again, counts = counts_of(lambda: fits(data, tmp_path))
    assert (counts.hits, counts.misses) == (6, 0)
    assert same(first, plain)
    assert same(again, plain)
    assert Cache(tmp_path).info().entries == 6


def test_what_comes_from_the_cache_can_be_written_to(data, tmp_path):
    fits(data, tmp_path)
    fits(data, tmp_path)["flags"] |= 1


@pytest.mark.parametrize("chunks", [1, 2, 4, 6])
def test_files_are_found_in_any_block(data, plain, tmp_path, chunks):
    fits(data.isel(file=[4, 1, 3]), tmp_path)
    lazy = fits(data.chunk(file=chunks), tmp_path)
    found, counts = counts_of(lambda: lazy.compute(scheduler="threads"))
    assert (counts.hits, counts.misses) == (3, 3)
    assert same(found, plain)


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_building_a_graph_looks_nothing_up(data, plain, tmp_path, scheduler):
    lazy, counts = counts_of(lambda: fits(data.chunk(file=2), tmp_path / "cache"))
    assert (counts.hits, counts.misses) == (0, 0)
    assert not (tmp_path / "cache").exists()
    assert same(lazy.compute(scheduler=scheduler), plain)


@pytest.mark.parametrize("variable", ["g2", "g2_err", "n_products"])
def test_one_changed_bit_misses_in_its_file_alone(data, tmp_path, variable):
    fits(data, tmp_path)
    other = data.copy(deep=True)
    values = other[variable].values
    row = values[2]
    row.view(np.uint8).reshape(-1)[row.dtype.itemsize * 5] ^= 1
    found, counts = counts_of(lambda: fits(other, tmp_path))
    assert (counts.hits, counts.misses) == (5, 1)
    assert same(found, fits(other))


def test_g2_of_another_type_misses(data, tmp_path):
    fits(data, tmp_path)
    other = data.assign(g2=data["g2"].astype(np.float64))
    assert counts_of(lambda: fits(other, tmp_path))[1].hits == 0


@pytest.mark.parametrize(
    "change",
    [
        {"model": "single"},
        {"loss": "huber"},
        {"bounds": {"tau": (1e-6, 1.0)}},
        {"fixed": {"baseline": 1.0}},
        {"errors": "quoted"},
        {"detail": "full"},
        {"delay_range": (1e-4, 1.0)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_analysis_misses(data, tmp_path, change):
    some = data.isel(file=slice(2))
    fits(some, tmp_path)
    found, counts = counts_of(lambda: fits(some, tmp_path, **change))
    assert (counts.hits, counts.misses) == (0, 2)
    assert same(found, fits(some, **change))


def test_delays_count(data, tmp_path):
    fits(data, tmp_path)
    other = data.assign_coords(delay=("delay", data["delay"].values * 2, {"units": "s"}))
    assert counts_of(lambda: fits(other, tmp_path))[1].hits == 0


def test_names_and_q_decide_nothing(data, tmp_path):
    fits(data, tmp_path)
    other = data.assign_coords(q=data["q"] * 2, file=[f"copy{k}" for k in range(6)])
    assert counts_of(lambda: fits(other, tmp_path))[1].hits == 6


def another_machine():
    return {**fingerprint(), "cpu": "another"}


def test_another_processor_or_version_misses(data, tmp_path):
    fits(data, tmp_path)
    assert counts_of(lambda: fits(data, tmp_path, state=another_machine))[1].hits == 0


def test_another_program_misses(data, tmp_path, monkeypatch):
    fits(data, tmp_path)
    monkeypatch.setattr(caching, "program", lambda: b"another")
    assert counts_of(lambda: fits(data, tmp_path))[1].hits == 0


def test_results_of_another_function_are_not_taken(data, tmp_path):
    fits(data, tmp_path)
    points, counts = counts_of(lambda: fits(data, tmp_path, block=fitted_points))
    assert counts.hits == 0
    again, counts = counts_of(lambda: fits(data, tmp_path, block=fitted_points))
    assert counts.hits == 6
    assert same(points, again)
    assert same(again, fits(data, block=fitted_points))


def test_a_bootstrap_goes_by_its_settings_and_the_identity_of_curves(data, tmp_path):
    some = data.isel(file=slice(2))
    boot = BootstrapConfig(resamples=20)
    made = fits(some, boot=boot)
    assert same(fits(some, tmp_path, boot=boot), made)
    found, counts = counts_of(lambda: fits(some, tmp_path, boot=boot))
    assert (counts.hits, counts.misses) == (2, 0)
    assert same(found, made)
    others = [boot.make(boot, seed=1), boot.make(boot, resamples=21), boot.make(boot, level=0.9)]
    assert [counts_of(partial(fits, some, tmp_path, boot=other))[1].hits for other in others] == [0, 0, 0]
    renamed = some.assign_coords(curve_id=some["curve_id"] + np.uint64(1))
    assert counts_of(lambda: fits(renamed, tmp_path, boot=boot))[1].hits == 0


def test_damaged_entries_are_made_again(data, plain, tmp_path):
    fits(data, tmp_path)
    for k, entry in enumerate(Cache(tmp_path).entries()):
        if k < 2:
            content = bytearray(entry.path.read_bytes())
            content[len(content) // 2] ^= 4
            entry.path.write_bytes(content)
    found, counts = counts_of(lambda: fits(data, tmp_path))
    assert (counts.hits, counts.misses) == (4, 2)
    assert same(found, plain)
    assert counts_of(lambda: fits(data, tmp_path))[1].hits == 6


@pytest.mark.parametrize("dims", [("delay",), ("qbin", "delay"), ("repeat", "file", "qbin", "delay")])
def test_curves_of_any_dimensions(data, tmp_path, dims):
    other = data.isel({dim: 0 for dim in ("file", "qbin") if dim not in dims})
    if "repeat" in dims:
        other = other.expand_dims(repeat=2).drop_vars("curve_id")
    want = fits(other)
    assert same(fits(other, tmp_path), want)
    found, counts = counts_of(lambda: fits(other, tmp_path))
    assert counts.misses == 0
    assert counts.hits == (2 if "repeat" in dims else 1)
    assert same(found, want)


def test_functions_of_the_user_are_known_by_content(data, tmp_path):
    def line(slope):
        return lambda x, a, b: a + b * np.log(slope * x)

    some = data.isel(file=slice(1))
    assert counts_of(lambda: fits(some, tmp_path, line(1.0)))[1].misses == 1
    found, counts = counts_of(lambda: fits(some, tmp_path, line(1.0)))
    assert counts.hits == 1
    assert same(found, fits(some, model=line(1.0)))
    assert counts_of(lambda: fits(some, tmp_path, line(2.0)))[1].misses == 1


def test_what_cannot_be_known_again_is_refused_before_anything_runs(data, tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(NotCacheableError, match=r"Generator.* could change unseen"):
        fits(data.chunk(file=1), tmp_path, lambda x, a, b: a * x + b * rng.normal())


def test_no_private_folder_no_cache(data, plain, tmp_path, caplog):
    tmp_path.chmod(0o777)
    for _ in range(2):
        assert same(fits(data, tmp_path), plain)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "not cached" in warnings[0]
    assert "chmod 700" in warnings[0]
    assert not (tmp_path / "fits").exists()


def test_without_a_folder_the_environment_decides_where_it_runs(data, plain, tmp_path, monkeypatch):
    curves, config = prepare.prepare(data, None, FitConfig(covariance="hc3", detail="core"))
    job = api.job_of(curves, config, resolve("simple"))
    g2, others = prepare.operands(curves, config)
    function = with_cache(partial(fit_block, job=job), state=fingerprint)
    run = partial(map_curves, function, g2, *others, core="delay", dtype=job.dtype, name="fit")
    monkeypatch.setenv("XPCS_CACHE_DIR", "off")
    assert same(run(), plain)
    monkeypatch.setenv("XPCS_CACHE_DIR", str(tmp_path / "here"))
    assert same(run(), plain)
    assert Cache(tmp_path / "here").info().entries == 6


def test_it_travels_to_workers(data, plain, tmp_path):
    lazy = pickle.loads(pickle.dumps(fits(data.chunk(file=3), tmp_path)))
    assert same(lazy.compute(scheduler="sync"), plain)


def test_dask_gives_the_same_names_with_and_without(data, tmp_path):
    """So that a run that was stopped can go on with or without the cache."""
    lazy = data.chunk(file=2)
    one, two, plain = fits(lazy, tmp_path), fits(lazy, tmp_path / "other"), fits(lazy)
    assert one.name == two.name == plain.name
    assert fits(lazy, tmp_path, loss="huber").name != one.name


def test_counts_are_those_of_a_task(data, tmp_path):
    def task(k):
        with counting() as counts:
            fits(data.isel(file=[k]), tmp_path)
        return counts

    with ThreadPoolExecutor(3) as pool:
        assert [(c.hits, c.misses) for c in pool.map(task, range(6))] == [(0, 1)] * 6
        assert [(c.hits, c.misses) for c in pool.map(task, range(6))] == [(1, 0)] * 6
    with counting() as counts:
        fits(data.chunk(file=2), tmp_path).compute(scheduler="sync")
    assert (counts.hits, counts.misses) == (6, 0)


def test_files_that_are_not_known_are_fitted_in_runs(tmp_path):
    """Neighbours together, as views: a block that is half known takes no more memory than one that is not."""
    asked = []

    def block(values, same_for_all, none):
        asked.append((values[:, 0, 0].tolist(), same_for_all.shape, none, values.base is not None))
        return values.sum(axis=-1)

    values = np.arange(8.0)[:, None, None] * np.ones((8, 2, 3))
    cached = caching.Cached(block, fingerprint, str(tmp_path), None)
    shared = np.ones((1, 1, 3))
    cached(values[[2, 5]], shared, None)
    asked.clear()
    found = cached(values, shared, None)
    assert [rows for rows, *_ in asked] == [[0, 1], [3, 4], [6, 7]]
    assert all(rest == [(1, 1, 3), None, True] for _, *rest in asked)
    assert np.array_equal(found, values.sum(axis=-1))


def test_pieces_of_one_curve_are_told_apart(tmp_path):
    """Refits that are spread over tasks differ in nothing but first and last."""

    def block(values, *, first, last):
        return np.arange(first, last) * values[..., :1]

    cached = caching.Cached(block, fingerprint, str(tmp_path), None)
    values = np.ones((2, 2, 3))
    for first, last in ((0, 2), (2, 4), (0, 2)):
        found = cached(values, first=first, last=last)
        assert np.array_equal(found, block(values, first=first, last=last))
    assert Cache(tmp_path).info().uses == 2


def test_an_empty_block_is_left_to_its_function(tmp_path):
    cached = with_cache(np.negative, state=fingerprint, folder=tmp_path / "cache")
    assert cached(np.empty((0, 2, 3))).shape == (0, 2, 3)
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.cluster
def test_several_processes_of_a_pool_share_it(data, plain, tmp_path):
    lazy = fits(data.chunk(file=1), tmp_path)
    with dask.config.set(num_workers=2):
        assert same(lazy.compute(scheduler="processes"), plain)
        assert same(lazy.compute(scheduler="processes"), plain)
    assert Cache(tmp_path).info().entries == 6
    assert Cache(tmp_path).info().uses == 6
