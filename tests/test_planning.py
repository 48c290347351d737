"""Plans of real work: what is planned bounds what is measured, closely, and nothing runs before it is asked to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from benchmarks.memory import Case, cases, measured
from engine.counting import computes_at_most
from engine.stack import stack

import xpcs_dask as xd
from xpcs_dask.config import FitConfig
from xpcs_dask.engine.plan import MemoryBudgetError
from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.planning import lazy_results, plan, seconds, sizes_of

QUOTED = (("errors", "quoted"), ("detail", "core"))


FEW = [
    Case(files=343, dtype="float64", settings=QUOTED),
    Case(files=343, settings=(("errors", "auto"), ("detail", "full"))),
    Case("single", 20, "float32", 200, QUOTED),
    Case(files=60, settings=(("errors", "auto"), ("covariance", "cluster")), clusters=30),
]


def check(case, folder):
    """How far clusters, the largest array, are packed is not known before they are read: up to a fifth may be saved."""
    peak, planned = measured(case, folder)
    assert peak <= planned
    assert planned <= (1.25 if case.clusters else 1.05) * peak + 2e6 or peak < 16e6


@pytest.mark.parametrize("case", FEW, ids=str)
def test_planned_bytes_bound_measured_bytes(case, tmp_path):
    """tracemalloc sees all that NumPy and Zarr allocate; tasks of 16 MB and more are planned to 5 % and 2 MB."""
    check(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in cases() if case not in FEW], ids=str)
def test_planned_bytes_bound_measured_bytes_of_all_that_can_be_asked_for(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.cluster
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are those that Linux keeps")
@pytest.mark.parametrize("case", [FEW[1], FEW[2], Case("double", 200, "float64", settings=QUOTED)], ids=str)
def test_a_worker_process_grows_by_what_is_planned(case, tmp_path):
    """Beside arrays there are what the allocator keeps, and code that is loaded late."""
    program = (
        "import sys; from tests.benchmarks.memory import Case, grown; from pathlib import Path;"
        f"print(*grown(Case(*{tuple(case)!r}), Path(sys.argv[1])))"
    )
    root = Path(__file__).parents[1]
    said = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )
    growth, planned = map(int, said.stdout.split())
    assert 0.5 * planned < growth <= 1.25 * planned + 50e6


def lazy(files=40, **more):
    return stack(files, 4).drop_vars("truth").chunk(file=5, **more)


def test_planning_runs_nothing():
    with computes_at_most(0):
        found = plan(lazy(), memory="1GiB", workers=2)
    assert (found.mode, found.curves, found.workers, found.budget_bytes) == ("standard", 160, 2, 2**30)
    assert found.input_bytes == 160 * 32 * 8
    assert found.blocks == 1


def test_result_bytes_are_those_of_the_results():
    data = lazy()
    for detail in ("core", "full"):
        results = xd.fit(data, detail=detail)
        expected = sum(results[name].nbytes for name in results.variables if results[name].chunks)
        assert plan(data, detail=detail).result_bytes == pytest.approx(expected, abs=40)  # whole bytes a row


def test_groups_are_planned_each():
    tree = xr.DataTree.from_dict({"/a": lazy(40), "/b": lazy(10)})
    found = plan(tree)
    assert found.curves == 200
    assert found.block_rows == (40, 10)


def test_a_range_of_q_leaves_fewer_curves_but_reads_all():
    data = lazy()
    q = float(data.q[1])
    found = plan(data, q_range=(0.0, q))
    assert found.curves == 80
    assert found.input_bytes == plan(data).input_bytes


def test_refits_count():
    single = plan(lazy(), memory="1GiB", workers=1)
    refitted = plan(lazy(), bootstrap=1000, memory="1GiB", workers=1)
    assert refitted.task_bytes > single.task_bytes + 160 * 1000 * 4 * 8


def test_too_little_memory_is_refused():
    with pytest.raises(MemoryBudgetError, match="only 1,000,000 are allowed"):
        plan(lazy(), memory="1MB")


def test_arguments_are_checked():
    with pytest.raises(ConfigError, match="--memory"):
        plan(lazy(), memory="much")
    with pytest.raises(NoUsableInputError, match="in memory already"):
        plan(stack(3, 4))


def test_sizes_of_files_and_stacks(tmp_path):
    from xpcs_dask.simulate.files import write_series

    files = write_series(tmp_path / "files", 3, seed=3, q=np.array([0.005, 0.009]), frames=20_000)
    xd.pack(files, tmp_path / "stack.zarr")
    config = FitConfig.make()
    for source, stored in ((files, 0), (tmp_path / "stack.zarr", 3)):
        data = xd.open_g2(source)
        sizes = sizes_of(data, lazy_results(data, "single", config), config)["/"]
        assert (sizes.rows, sizes.row_curves, sizes.stored_rows) == (3, 2, stored)
        assert sizes.read == 2 * data.g2.nbytes // 3
        assert sizes.largest == data.g2.nbytes // 3


def test_time_is_estimated_from_a_probe(monkeypatch):
    from xpcs_dask import planning

    asked = []

    def timed(results):
        asked.append(results.sizes["file"])
        return 1.0 + 0.1 * results.sizes["file"] if len(asked) == 1 else 0.1 * results.sizes["file"]

    monkeypatch.setattr(planning, "_time", timed)
    results = lazy_results(lazy(), "single", FitConfig.make())
    assert seconds(results, 2, probe=1.0) == pytest.approx(0.1 * 40 / 2)
    assert asked == [1, 1, 2, 4, 8]
    both = {"/a": results["/"], "/b": results["/"].isel(file=slice(20))}
    assert seconds(both, 2, probe=1.0) == pytest.approx(0.1 * 60 / 2)
