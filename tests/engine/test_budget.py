from __future__ import annotations

import psutil
import pytest

from xpcs_dask.engine.budget import SHARE, allowed, available, of_workers, parse_bytes
from xpcs_dask.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GiB", 2**30),
        ("500 MB", 500_000_000),
        ("2g", 2_000_000_000),
        ("1.5KiB", 1536),
        ("17", 17),
        (" 3 tb ", 3 * 10**12),
    ],
)
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "1GBB", "1 xB", "0.1"])
def test_other_words_are_refused(text):
    with pytest.raises(ConfigError, match="--memory"):
        parse_bytes(text)


def group(folder, limit, used):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")


def test_the_tightest_group_counts(tmp_path):
    process, groups = tmp_path / "cgroup", tmp_path / "fs"
    process.write_text("12:cpu:/x\n0::/job/step\n")
    group(groups / "job" / "step", "max", 5)
    group(groups / "job", 10_000_000, 4_000_000)
    group(groups, 90_000_000, 4_000_000)
    assert available(process, groups) == int(SHARE * 6_000_000)


def test_a_group_that_is_full_leaves_nothing(tmp_path):
    (tmp_path / "cgroup").write_text("0::/job\n")
    group(tmp_path / "fs" / "job", 1000, 1200)
    assert available(tmp_path / "cgroup", tmp_path / "fs") == 0


def test_without_groups_the_machine_counts(tmp_path):
    free = psutil.virtual_memory().available
    found = available(tmp_path / "nothing", tmp_path)
    assert 0.5 * SHARE * free < found < 1.5 * SHARE * free


def test_workers_share_their_memory_between_threads():
    workers = [{"nthreads": 4, "memory_limit": 8_000_000}, {"nthreads": 1, "memory_limit": 3_000_000}]
    assert of_workers(workers) == int(SHARE * 2_000_000) * 5
    assert of_workers([{"nthreads": 2, "memory_limit": 0}]) is None
    assert of_workers([]) is None


def test_what_is_told_counts_else_what_is_free():
    assert (allowed(7), allowed("2kB")) == (7, 2000)
    assert allowed(None) > 10**6
    with pytest.raises(ConfigError, match="such as 500MB"):
        allowed("much")
