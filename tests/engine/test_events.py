from __future__ import annotations

import io
import json
import logging

import pytest

from xpcs_dask.engine.events import Monitor, State, Worker, json_lines, log, worker_name

MB = 10**6


def entry(curves=4, failed=0, worker="a:1/t-0", seconds=0.5, memory=100 * MB, peak=150 * MB, **spent):
    status = {"converged": curves - failed, "no_data": failed, "not_converged": 0}
    return {
        "counts": {"curves": curves, "status_counts": status},
        "spent": {"seconds": seconds, "cpu": seconds / 2, "hits": 0, "misses": 0, **spent},
        "worker": worker,
        "memory": memory,
        "peak": peak,
    }


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def heard():
    return []


def test_a_job_from_its_files_to_its_end(clock, heard):
    monitor = Monitor([heard.append], clock=clock)
    monitor.opening(2, 2)
    clock.now += 1
    monitor.begin(blocks=4, curves=16, nbytes=1600)
    monitor.add(entry(), before=True)
    clock.now += 2
    monitor.add(entry(failed=1, hits=3))
    clock.now += 2
    monitor.add(entry(worker="a:2/t-0", memory=50 * MB, peak=75 * MB, misses=2))
    monitor.add(entry(worker="a:2/t-0", memory=70 * MB, peak=60 * MB))
    monitor.end()
    assert [state.stage for state in heard] == ["opening", "fitting", "fitting", "fitting", "done"]
    first, *_, last = heard
    assert (first.files_opened, first.files) == (2, 2)
    assert (last.blocks_done, last.blocks, last.blocks_before) == (4, 4, 1)
    assert (last.curves_done, last.curves, last.bytes_read, last.bytes) == (16, 16, 1600, 1600)
    assert last.failures == {"no_data": 1}
    assert last.curves_per_second == 3.0  # those of the earlier call took none of its time
    assert (last.elapsed, last.seconds_left) == (5.0, 0.0)
    assert last.workers["a:2/t-0"] == Worker(blocks=2, curves=8, seconds=1.0, memory=70 * MB)
    assert last.memory >= 170 * MB + MB  # and this process, which did no block
    assert heard[2].seconds_left == pytest.approx(8 / 2.0)
    assert heard[2].bytes_read == 800
    assert (monitor.before, monitor.peaks) == (1, {"a:1": 150 * MB, "a:2": 75 * MB})
    assert monitor.spent == {"seconds": 1.5, "cpu": 0.75, "hits": 3, "misses": 2}


def test_a_job_that_is_known_to_be_done(clock, heard):
    monitor = Monitor([heard.append], clock=clock)
    monitor.opening(2, 2)
    monitor.known(blocks=4, counts={"curves": 16, "status_counts": {"converged": 15, "no_data": 1}})
    last = heard[-1]
    assert (last.stage, last.curves_done, last.curves, last.curves_per_second) == ("done", 16, 16, 0.0)
    assert (last.blocks_done, last.blocks, last.blocks_before) == (4, 4, 4)
    assert last.failures == {"no_data": 1}


def test_listeners_are_not_told_more_often_than_they_can_show(clock, heard):
    monitor = Monitor([heard.append], clock=clock)
    monitor.begin(blocks=1000, curves=4000)
    for _ in range(1000):
        clock.now += 0.01
        monitor.add(entry())
    monitor.end()
    assert 35 <= len(heard) <= 45
    assert heard[-1].curves_done == 4000


def test_memory_counts_a_process_once_and_this_one_with_its_threads(clock):
    import psutil

    monitor, here = Monitor(clock=clock), worker_name()
    process = here.partition("/")[0]
    assert process.endswith(f":{psutil.Process().pid}")
    for thread in ("t-0", "t-1"):
        monitor.add(entry(worker=f"{process}/{thread}", memory=30 * MB))
    assert monitor.state().memory == 30 * MB


def test_nothing_done_has_no_speed(clock):
    monitor = Monitor(clock=clock)
    monitor.begin(blocks=3, curves=12)
    monitor.add(entry(), before=True)
    clock.now += 5
    state = monitor.state()
    assert (state.curves_per_second, state.seconds_left, state.curves_done) == (0.0, None, 4)


def test_json_lines_hold_the_whole_state():
    stream = io.StringIO()
    write = json_lines(stream)
    write(State(stage="fitting", curves=3, workers={"a:1/t": Worker(blocks=2)}))
    write(State(stage="done"))
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["stage"], first["curves"], first["workers"]["a:1/t"]["blocks"]) == ("fitting", 3, 2)
    assert second["stage"] == "done"


def test_the_log_hears_every_ten_seconds_and_the_end(caplog):
    caplog.set_level(logging.INFO, logger="xpcs_dask")
    tell = log()
    for second in range(25):
        tell(State(stage="fitting", elapsed=float(second), curves_done=second, curves=25, failures={"no_data": 2}))
    tell(State(stage="done", elapsed=25.0))
    assert [message.split(":")[0] for message in caplog.messages] == ["fitting"] * 3 + ["done"]
    assert "10 of 25 curves" in caplog.messages[1]
    assert "2 no_data" in caplog.messages[1]
