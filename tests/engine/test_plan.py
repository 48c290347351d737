from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpcs_dask.engine.plan import MODES, STREAMING, TASK, MemoryBudgetError, Sizes, make_plan, mode_of

MB, GB = 10**6, 10**9


def files(count=1000, bins=50, points=64, **more):
    row = bins * points * 4
    told = {"read": 2 * row, "largest": row, "result": bins * 90, "scratch": 10 * MB}
    return Sizes(rows=count, row_curves=bins, points=points, **told | more)


@pytest.mark.parametrize(
    ("size", "mode"),
    [
        (0, "standard"),
        (100 * MB - 1, "standard"),
        (100 * MB, "batch"),
        (GB - 1, "batch"),
        (GB, "chunked"),
        (5 * GB - 1, "chunked"),
        (5 * GB, "streaming"),
        (10**15, "streaming"),
    ],
)
def test_modes_by_size(size, mode):
    assert mode_of(size) == mode


def test_a_plan_counts_what_there_is():
    plan = make_plan([files(1000)], 2, 10 * GB)
    assert plan.curves == 50_000
    assert plan.input_bytes == 1000 * 2 * 50 * 64 * 4
    assert plan.result_bytes == 50_000 * 90
    assert plan.block_rows == (327,)  # 8 MiB of float64: 327 files of 25,600 bytes
    assert plan.blocks == 4
    assert (plan.mode, plan.together) == ("standard", True)


def test_blocks_are_whole_stored_pieces():
    assert make_plan([files(stored_rows=100)], 2, 10 * GB).block_rows == (300,)
    assert make_plan([files(stored_rows=400)], 2, 10 * GB).block_rows == (327,)


def test_large_inputs_come_in_larger_blocks():
    sizes = (3_800, 4_000, 39_000, 40_000, 200_000)  # files: 97 and 102 MB, 998 and 1,024 MB, 5.1 GB
    aimed = [make_plan([files(count, stored_rows=109)], 2, 10 * GB).block_rows[0] for count in sizes]
    assert aimed == [327, 327, 654, 4 * 327, 4 * 327]  # 102 MB are too few for larger blocks


def test_larger_blocks_leave_enough_for_every_worker():
    rows = [make_plan([files(200_000, scratch=MB)], workers, 1000 * GB).block_rows[0] for workers in (2, 12, 30, 70)]
    assert rows == [1310, 1310, 655, 327]


def test_many_refits_make_small_blocks():
    assert make_plan([files(resamples=1000)], 2, 10 * GB).block_rows == (79,)


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(1, 10**6),
    bins=st.integers(1, 5000),
    points=st.integers(5, 500),
    stored=st.integers(0, 500),
    workers=st.integers(1, 64),
    budget=st.integers(10 * MB, 64 * GB),
    held=st.integers(0, GB),
)
def test_a_plan_keeps_its_promises(count, bins, points, stored, workers, budget, held):
    sizes = files(count, bins, points, stored_rows=min(stored, count), held=held)
    try:
        plan = make_plan([sizes], workers, budget)
    except MemoryBudgetError as error:
        refused = error
    else:
        refused = None
    if refused:
        assert refused.needed > refused.limit == budget
        return
    (rows,) = plan.block_rows
    assert 1 <= rows <= count
    assert (plan.blocks - 1) * rows < count <= plan.blocks * rows
    assert plan.peak_bytes <= budget
    assert plan.task_bytes == sizes.task(rows) >= rows * sizes.read
    busy = min(workers, plan.blocks)
    assert plan.peak_bytes >= held + busy * plan.task_bytes
    if rows > 1:
        larger = {"standard": 1, "batch": 2}.get(plan.mode, 4)
        assert rows * bins * points * 8 <= larger * 8 * 2**20
        if rows * bins * points * 8 > 8 * 2**20:
            assert plan.blocks >= 8 * workers


@pytest.mark.parametrize("gigabytes", [0.05, 0.5, 2, 6, 20, 1000])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_mode_keeps_its_limit(gigabytes, workers):
    row = files().read
    plan = make_plan([files(int(gigabytes * GB) // row)], workers, 1000 * GB)
    blocks = workers * max(plan.block_rows) * row
    limit = next((memory for name, _, memory in MODES if name == plan.mode), STREAMING)
    result = 3 * plan.result_bytes if plan.together else 0
    within = plan.peak_bytes - result - (0 if plan.mode == "streaming" else blocks)
    assert within <= limit or max(plan.block_rows) == 1


def test_little_memory_makes_smaller_blocks():
    large, small = (make_plan([files()], 2, budget, together=False) for budget in (GB, 25 * MB))
    assert small.block_rows < large.block_rows
    assert small.peak_bytes <= 25 * MB


def test_the_memory_of_the_largest_group_counts():
    alone = make_plan([files(bins=500, points=300)], 2, GB)
    both = make_plan([files(bins=5), files(bins=500, points=300)], 2, GB)
    assert both.task_bytes == alone.task_bytes
    assert both.block_rows[1:] == alone.block_rows
    assert both.blocks == alone.blocks + make_plan([files(bins=5)], 2, GB).blocks


def test_blocks_that_are_decided_stay():
    assert make_plan([files()], 2, GB, rows=[7]).block_rows == (7,)
    with pytest.raises(MemoryBudgetError):
        make_plan([files()], 2, 30 * MB, rows=[1000])


@pytest.mark.parametrize(
    ("sizes", "options", "says"),
    [
        (files(100_000), {"together": True}, "a .zarr store"),
        (files(), {"workers": 8, "together": False}, "--scheduler threads:1"),
        (files(bins=100_000), {"workers": 1, "together": False}, "one block of 100,000 curves"),
    ],
)
def test_a_refusal_names_number_limit_and_knob(sizes, options, says):
    with pytest.raises(MemoryBudgetError) as caught:
        make_plan([sizes], options.pop("workers", 2), 15 * MB, **options)
    text = str(caught.value)
    assert says in text
    assert f"{caught.value.needed:,} bytes" in text
    assert "only 15,000,000 are allowed" in text
    assert "--memory" in text
    assert caught.value.exit_code == 4
    import distributed  # noqa: F401, changes how errors are pickled

    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == text


def test_the_largest_task_of_a_stack_counts_what_is_unpacked():
    sizes = files(stored_rows=300, scratch=MB)
    assert sizes.task(300) == TASK + 300 * sizes.read + 300 * sizes.largest * 90 // 100
    assert sizes.task(600) == TASK + 600 * (sizes.read + sizes.result) + MB
    assert sizes.task(310) == TASK + 310 * sizes.read + 300 * sizes.largest * 190 // 100
    assert sizes.task(10) == TASK + 10 * sizes.read + 300 * sizes.largest * 190 // 100
    assert files(stored_rows=300).task(10) == TASK + 10 * (sizes.read + sizes.result) + 10 * MB
    assert files(pointwise=999).task(10) == files().task(10) + 9990
    assert files(shipped=1000).task(10) == files().task(10) + 2 * 10 * 1000


def test_refits_take_memory_until_a_slab_is_full():
    plain, sizes = files(scratch=0), files(scratch=0, resamples=1000, refit=200, parent=500, together=120)
    both = plain.read + plain.result
    assert sizes.task(2) == TASK + 2 * both + 100 * (1000 * 200 + 500)
    assert sizes.task(50) == TASK + 50 * both + 120 * (1000 * 200 + 500)
    assert files(resamples=3, refit=200, together=10).task(9) == files().task(9)
    small = make_plan([sizes], 2, 40 * MB, together=False)
    assert small.block_rows == (1,)


def test_rows_in_pieces_take_the_memory_of_a_piece():
    """Stacks of many pixels are cut along other dimensions too."""
    whole, cut = files(4), files(4, pieces=10, piece=0.1)
    assert cut.task(1) < whole.task(1)
    assert cut.piece_curves == whole.row_curves // 10
    one, other = (make_plan([sizes], 2, 10 * GB, rows=[1], together=False) for sizes in (whole, cut))
    assert (one.blocks, other.blocks) == (4, 40)
    assert (one.curves, one.input_bytes) == (other.curves, other.input_bytes)
    assert other.peak_bytes == 2 * cut.task(1)
