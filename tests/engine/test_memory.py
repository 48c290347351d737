from __future__ import annotations

import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from xpcs_dask.engine import memory
from xpcs_dask.engine.memory import Pressure, give_back, groups, used_here, used_of_workers
from xpcs_dask.engine.stream import Hands, stream

GIB = 2**30


class Readings:
    """Shares of memory that are used, one a second."""

    def __init__(self, *shares):
        self.shares, self.second = shares, -1

    def clock(self):
        self.second += 1
        return float(self.second)

    def read(self):
        return self.shares[min(self.second, len(self.shares) - 1)]


def pressure(*shares, **more):
    readings = Readings(*shares)
    return Pressure(read=readings.read, clock=readings.clock, **more)


def test_nothing_happens_below_the_threshold():
    calm = pressure(0.1, 0.5, 0.79, 0.8)
    assert [calm.blocks_in_flight(8) for _ in range(6)] == [8] * 6
    assert (calm.halvings, calm.highest) == (0, 0.8)


def test_blocks_are_halved_down_to_one_and_grow_back_slowly():
    full = pressure(0.2, 0.81, 0.9, 0.99, 0.99, *[0.3] * 30)
    found = [full.blocks_in_flight(8) for _ in range(34)]
    assert found[:5] == [8, 4, 2, 1, 1]
    assert found[5:] == [1] * 3 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [6] * 4 + [7] * 4 + [8] * 2
    assert full.blocks_in_flight(20) == 20
    assert (full.halvings, full.highest) == (3, 0.99)


def test_there_is_one_more_only_if_there_is_room_for_it():
    """A fifth is taken by others. One block takes two fifths, so two are too many; a quarter, and they are not."""
    full = pressure(0.2, 0.9, 0.9, 0.9, *[0.6] * 20, *[0.45] * 4, 0.69)
    found = [full.blocks_in_flight(8) for _ in range(29)]
    assert found[3:] == [1] * 24 + [2] * 2


def test_one_reading_without_room_starts_the_wait_again():
    full = pressure(0.2, 0.9, 0.3, 0.3, 0.3, 0.75, 0.3, 0.3, 0.3, 0.3)
    assert [full.blocks_in_flight(8) for _ in range(10)] == [8] + [4] * 8 + [5]


def test_the_threshold_is_as_told():
    assert pressure(0.6, threshold=0.5).blocks_in_flight(8) == 4
    assert pressure(0.85, threshold=0.9).blocks_in_flight(8) == 8


def test_workers_may_come_and_go():
    full = pressure(0.5, 0.9, 0.79, 0.79, 0.9)
    assert [full.blocks_in_flight(wanted) for wanted in (8, 8, 2, 100, 2)] == [8, 4, 2, 4, 1]


def test_all_workers_lost_is_not_taken_for_pressure():
    """Zero is what the stream waits and gives up on; one is what it may always have."""
    full = pressure(0.9)
    assert full.blocks_in_flight(0) == 0
    assert full.blocks_in_flight(1) == 1


def test_memory_is_not_read_more_often_than_asked_for():
    times = iter([0.0, 0.1, 0.4, 0.6, 0.7])
    reads = []
    full = Pressure(read=lambda: reads.append(0) or 0.9, clock=lambda: next(times), pause=0.5)
    assert [full.blocks_in_flight(8) for _ in range(5)] == [4, 4, 4, 2, 2]
    assert len(reads) == 2


def test_caches_are_asked_to_give_memory_back_and_it_is_said(caplog):
    asked = []
    full = pressure(0.5, 0.9, 0.5, 0.9, relieve=[lambda: asked.append("a"), lambda: asked.append("b")])
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            full.blocks_in_flight(8)
    assert asked == ["a", "b"] * 2
    assert "90 % of the memory is used, more than 80 %: at most 4 blocks at once instead of 8" in caplog.text


def test_with_one_block_left_caches_are_asked_again_now_and_then():
    asked = []
    full = pressure(0.9, relieve=[lambda: asked.append(0)])
    for _ in range(34):
        full.blocks_in_flight(2)
    assert len(asked) == 4
    assert full.halvings == 1


@pytest.mark.parametrize(("settings", "what"), [({"threshold": 0}, "threshold"), ({"threshold": 1}, "threshold"),
                                                ({"limit": 0}, "limit")])  # fmt: skip
def test_settings_that_make_no_sense(settings, what):
    with pytest.raises(ValueError, match=f"{what} must be"):
        Pressure(**settings)


def group(root, files):
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / name).write_text(content)


def test_control_groups_of_version_2(tmp_path):
    (tmp_path / "process").write_text("0::/user/job\n")
    stat = "anon 5\ninactive_file 100\nactive_file 7\n"
    group(tmp_path, {"memory.max": "9000", "memory.current": "8000"})
    group(tmp_path / "user", {"memory.max": "max", "memory.current": "700"})
    group(tmp_path / "user" / "job", {"memory.max": "1000", "memory.current": "600", "memory.stat": stat})
    assert list(groups(tmp_path / "process", tmp_path)) == [(500, 1000), (8000, 9000)]


def test_control_groups_of_version_1(tmp_path):
    (tmp_path / "process").write_text("5:cpu,cpuacct:/job\n4:hugetlb,memory:/job\n0::/elsewhere\n")
    none = {"memory.limit_in_bytes": str(2**63 - 4096), "memory.usage_in_bytes": "900"}
    stat = {"memory.stat": "inactive_file 1\ntotal_inactive_file 50\n"}
    group(tmp_path / "memory", none)
    group(tmp_path / "memory" / "job", {"memory.limit_in_bytes": "1000", "memory.usage_in_bytes": "600", **stat})
    assert list(groups(tmp_path / "process", tmp_path)) == [(550, 1000)]


def test_a_container_that_sees_only_its_own_group(tmp_path):
    """It has the path that the host knows, but not the folder."""
    (tmp_path / "process").write_text("0::/host/knows/this\n")
    group(tmp_path, {"memory.max": "1000", "memory.current": "600"})
    assert list(groups(tmp_path / "process", tmp_path)) == [(600, 1000)]


@pytest.mark.parametrize("content", [None, "", "0::/a\n"])
def test_no_control_groups(tmp_path, content):
    if content is not None:
        (tmp_path / "process").write_text(content)
    assert list(groups(tmp_path / "process", tmp_path)) == []


def test_what_is_closest_to_its_end_counts(monkeypatch):
    machine = type("Machine", (), {"total": 100, "available": 60})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    monkeypatch.setattr(memory, "groups", lambda: iter([(10, 100), (50, 100)]))
    assert used_here() == pytest.approx(0.5)
    machine.available = 20
    assert used_here() == pytest.approx(0.8)


def test_a_limit_is_for_the_process_and_its_children(monkeypatch):
    own = psutil.Process().memory_info().rss
    assert used_here(10 * own) < used_here(own) == pytest.approx(1.0, rel=0.3)
    child = subprocess.Popen([sys.executable, "-c", "b = b'x' * 200_000_000; print(flush=True); input()"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        child.stdout.readline()
        grown = used_here(own) * own - psutil.Process().memory_info().rss
        assert 150e6 < grown < 400e6
    finally:
        child.communicate(b"\n")


def test_the_fullest_worker_counts():
    workers = [
        {"memory_limit": GIB, "metrics": {"memory": GIB // 4}},
        {"memory_limit": 4 * GIB, "metrics": {"memory": 3 * GIB}},
        {"memory_limit": 0, "metrics": {"memory": 8 * GIB}},
        {"memory_limit": GIB},
    ]
    assert used_of_workers(workers) == 0.75
    assert used_of_workers([]) == 0.0


def test_giving_memory_back_keeps_what_is_used():
    kept = np.ones(1_000_000)
    give_back()
    assert kept.sum() == 1_000_000


def test_the_stream_takes_fewer_tasks(monkeypatch):
    monkeypatch.setattr("xpcs_dask.engine.stream.LOOK", 0.0)
    flying = []

    def tasks():
        for number in range(40):
            flying.append(len(made) - done[0])
            made.append(number)
            yield number

    made, done = [], [0]
    full = Pressure(read=lambda: 0.1 if len(made) < 10 else 0.9 if len(made) < 14 else 0.75, pause=0.0)
    with ThreadPoolExecutor(8) as pool:
        for _ in stream(tasks(), lambda number: number, Hands(pool, full.limited(lambda: 8))):
            done[0] += 1
    assert len(made) == done[0] == 40
    assert full.halvings >= 3
    assert max(flying[:10]) > 8
    assert max(flying[25:]) <= 2


LIMITED = """
import resource, sys, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np, psutil
from xpcs_dask.engine import stream as streaming
from xpcs_dask.engine.memory import Pressure
MB, blocks = 2**20, 80
pool = ThreadPoolExecutor(8)
list(pool.map(lambda k: time.sleep(0.05), range(8)))  # threads take address space too
room = 700 * MB
have = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (have + room, have + room))
# The share of the room that is used, from the same reading that `used_here` has of the limit.
pressure = Pressure(read=lambda: (psutil.Process().memory_info().vms - have) / room, pause=0.005)
streaming.LOOK = 0.01
def run(size):
    block = np.ones(size * MB // 8)
    time.sleep(0.06)
    return float(block.sum())
sizes = [20] * 8 + [min(20 + 2 * k, 160) for k in range(blocks - 8)]
count = pressure.limited(lambda: 4) if sys.argv[1] == "guarded" else lambda: 4
try:
    found = sum(streaming.stream(iter(sizes), run, streaming.Hands(pool, count)))
except MemoryError:
    print("died")
else:
    print("finished", found == sum(sizes) * MB // 8, pressure.halvings)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_a_run_in_little_memory_is_slowed_down_instead_of_dying():
    """Blocks grow until eight of them at once do not fit any more, but two do."""

    def run(how):
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        ran = subprocess.run([sys.executable, "-c", LIMITED, how], capture_output=True, text=True, env=env, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.split()

    assert run("unguarded") == ["died"]
    what, right, halvings = run("guarded")
    assert (what, right) == ("finished", "True")
    assert int(halvings) >= 1


RLIMIT = """
import resource, psutil
from xpcs_dask.engine.memory import used_here
have = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (2 * have, 2 * have))
print(used_here())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_a_limit_of_the_process_is_read():
    ran = subprocess.run([sys.executable, "-c", RLIMIT], capture_output=True, text=True, check=True)
    assert 0.45 < float(ran.stdout) < 0.65


@pytest.mark.cluster
def test_a_real_scheduler_tells_what_is_needed():
    from distributed import Client

    with Client(processes=False, n_workers=1, threads_per_worker=1, memory_limit="64GiB", dashboard_address=None) as c:
        used = used_of_workers(c.scheduler_info(n_workers=-1)["workers"].values())
    assert 20e6 < used * 64 * GIB < 64 * GIB
