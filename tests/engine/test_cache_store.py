from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from xpcs_dask.engine import cache_entry, cache_store
from xpcs_dask.engine.cache_folder import CacheFolderError
from xpcs_dask.engine.cache_store import Cache
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.layout import fit_dtype
from xpcs_dask.fitting.models import MODELS

DAY = 86400


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", limit=10**9)


def name(k):
    return k.to_bytes(16, "little")


def file_of(cache, k):
    (found,) = (entry.path for entry in cache.entries() if entry.path.stem == name(k).hex())
    return found


def used(cache, k, days):
    """Say that an entry was last used so many days ago."""
    then = time.time() - days * DAY
    os.utime(file_of(cache, k), (then, then))


def there(cache):
    return {int.from_bytes(bytes.fromhex(entry.path.stem), "little") for entry in cache.entries()}


FITS = np.zeros((1, 36), fit_dtype(MODELS["double"], "full", interval=True))
FITS["value"] = np.random.default_rng(0).normal(size=FITS["value"].shape)
FITS["stderr"] = np.nan


@pytest.mark.parametrize(
    "array",
    [FITS, FITS[:0], np.arange(6, dtype=">i2").reshape(2, 3)[:, ::-1], np.array(1.5), np.array(["a", "bc"])],
    ids=["fits", "none", "turned round", "scalar", "texts"],
)
def test_what_was_put_comes_back(cache, array):
    assert cache.get(name(1)) is None
    assert cache.put(name(1), array)
    found = cache.get(name(1))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert cache.get(name(2)) is None


def test_entries_are_files_that_numpy_reads_without_pickle(cache):
    cache.put(name(1), FITS)
    found = np.load(file_of(cache, 1), allow_pickle=False)
    assert found.tobytes() == FITS.tobytes()


def test_objects_are_not_kept(cache):
    with pytest.raises(TypeError, match="without pickle"):
        cache.put(name(1), np.array([{}]))


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_a_pickle_in_the_folder_is_never_loaded(cache):
    """Not even one with a right seal: as if somebody knew how entries are made."""
    cache.put(name(1), FITS)
    path = file_of(cache, 1)
    np.save(path.with_name("trap.npy"), np.array([Trap()]), allow_pickle=True)
    body = path.with_name("trap.npy").read_bytes()
    for content in (body, pickle.dumps(Trap())):
        seal = cache_entry._seal(name(1), content)
        path.write_bytes(content + cache_entry.ABOUT.pack(seal, 0, 0.0))
        assert cache.get(name(1)) is None
        cache.put(name(1), FITS)
    assert not Trap.sprung


def damages(content):
    yield "nothing left", b""
    yield "cut short", content[:-1]
    yield "cut in the array", content[: len(content) // 2]
    yield "only a tail", content[-cache_entry.ABOUT.size :]
    yield "longer", content + b"x"
    for at in (0, 8, 20, 200, len(content) // 2, len(content) - 33, len(content) - 32, len(content) - 17):
        yield f"byte {at}", content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_a_damaged_entry_is_not_found_and_removed(cache):
    cache.put(name(1), FITS)
    path = file_of(cache, 1)
    for what, content in damages(path.read_bytes()):
        path.write_bytes(content)
        assert cache.get(name(1)) is None, what
        assert not path.exists(), what
        cache.put(name(1), FITS)
        assert cache.get(name(1)) is not None


def test_an_entry_under_another_name_is_damaged(cache):
    cache.put(name(1), FITS)
    cache.put(name(2), FITS[:0])
    file_of(cache, 1).rename(file_of(cache, 2))
    assert cache.get(name(2)) is None


def test_uses_are_counted_and_move_an_entry_to_the_front(cache):
    cache.put(name(1), FITS)
    used(cache, 1, 5)
    assert cache.info().uses == 0
    assert 4.99 < cache.info().unused_days < 5.01
    for _ in range(3):
        Cache(cache.folder.parent).get(name(1))
    found = cache.info()
    assert (found.entries, found.uses) == (1, 3)
    assert found.unused_days < 0.01
    assert found.bytes == file_of(cache, 1).stat().st_size > FITS.nbytes


def test_a_cache_that_cannot_be_written_is_still_read(cache):
    cache.put(name(1), FITS)
    file_of(cache, 1).chmod(0o400)
    assert cache.get(name(1)) is not None


def test_the_least_recently_used_go_first(cache):
    for k in range(6):
        cache.put(name(k), FITS)
        used(cache, k, 10 - k)
    size = file_of(cache, 0).stat().st_size
    cache.get(name(0))
    assert cache.prune(limit=3 * size) == (3, 3 * size)
    assert there(cache) == {0, 4, 5}


def test_of_equally_old_entries_those_used_less_go_first(cache):
    for k in range(6):
        cache.put(name(k), FITS)
        for _ in range(k == 0):
            cache.get(name(k))
        used(cache, k, 10 - 0.01 * k)
    size = file_of(cache, 0).stat().st_size
    cache.prune(limit=4 * size)
    assert there(cache) == {0, 3, 4, 5}


def test_what_was_not_used_for_long_goes(cache):
    for k, days in enumerate((0, 29, 31, 400)):
        cache.put(name(k), FITS)
        used(cache, k, days)
    assert cache.prune(unused_days=30)[0] == 2
    assert there(cache) == {0, 1}


def test_it_never_grows_far_beyond_its_limit(tmp_path):
    array = np.zeros(10_000, np.uint8)
    cache = Cache(tmp_path, limit=400_000)
    for k in range(200):
        assert cache.put(name(k), array)
    held = sum(entry.nbytes for entry in cache.entries())
    assert 0.7 * 400_000 < held <= 400_000 * (1 + 1 / cache_store.STRIDE) + 11_000
    assert 199 in there(cache)
    assert 0 not in there(cache)


def test_a_process_begins_by_looking_through_what_others_left(tmp_path):
    full = Cache(tmp_path, limit=10**9)
    for k in range(20):
        full.put(name(k), FITS)
    size = file_of(full, 0).stat().st_size
    (full.folder / "looked").unlink()
    Cache(tmp_path, limit=10 * size).put(name(99), FITS)
    assert sum(entry.nbytes for entry in full.entries()) <= 10 * size


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path):
    cache = Cache(tmp_path, limit=1000)
    assert not cache.put(name(1), np.zeros(2000, np.uint8))
    assert there(cache) == set()


def test_a_disk_that_is_short_of_space_gets_half_of_it_back(cache, monkeypatch):
    for k in range(8):
        cache.put(name(k), FITS)
        used(cache, k, 8 - k)
    (cache.folder / "looked").unlink()
    monkeypatch.setattr(cache_store, "_free", lambda folder: 10**9 if len(there(cache)) <= 4 else 0)
    assert cache.put(name(99), FITS)
    assert there(cache) == {4, 5, 6, 7, 99}


def test_a_full_disk_ends_nothing(cache, monkeypatch):
    cache.put(name(1), FITS)
    monkeypatch.setattr(cache_store, "_free", lambda folder: 0)
    assert not cache.put(name(2), FITS)
    monkeypatch.undo()

    def fail(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_store, "write_whole", fail)
    assert not cache.put(name(3), FITS)
    assert cache.get(name(3)) is None


def test_some_space_is_always_left(tmp_path, monkeypatch):
    import shutil

    disk = type("Disk", (), {"total": 100 * 2**30, "free": 3 * 2**30})
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk)
    assert cache_store._free(tmp_path) == 2 * 2**30
    disk.total = 4 * 2**30
    assert cache_store._free(tmp_path) == 3 * 2**30 - 4 * 2**30 // 20


def test_clear_removes_its_own_files_only(tmp_path):
    (tmp_path / "settings.json").write_text("{}")
    cache = Cache(tmp_path)
    cache.put(name(1), FITS)
    (file_of(cache, 1).parent / "notes.txt").write_text("mine")
    size = file_of(cache, 1).stat().st_size
    assert cache.clear() == (1, size)
    assert there(cache) == set()
    assert (tmp_path / "settings.json").exists()
    assert len(list(cache.folder.rglob("notes.txt"))) == 1


def test_what_was_left_half_written_is_removed_after_a_while(cache):
    cache.put(name(1), FITS)
    old, new = (file_of(cache, 1).with_name(f".{name(2).hex()}.npy.{k}") for k in "ab")
    old.touch()
    new.touch()
    then = time.time() - 2 * cache_store.ABANDONED
    os.utime(old, (then, then))
    cache.prune()
    assert (old.exists(), new.exists()) == (False, True)
    assert there(cache) == {1}


def test_memory_is_given_back_where_files_take_some(cache, monkeypatch):
    for k in range(8):
        cache.put(name(k), FITS)
        used(cache, k, 8 - k)
    monkeypatch.setattr(cache_store, "is_in_memory", lambda folder: False)
    cache.relieve()
    assert len(there(cache)) == 8
    monkeypatch.setattr(cache_store, "is_in_memory", lambda folder: folder == cache.folder)
    cache.relieve()
    assert there(cache) == {4, 5, 6, 7}


@pytest.mark.parametrize("which", [".", "fits"])
def test_a_folder_that_others_write_is_refused(tmp_path, which):
    Cache(tmp_path)
    (tmp_path / which).chmod(0o777)
    with pytest.raises(CacheFolderError, match="written by others"):
        Cache(tmp_path)


def test_the_environment_names_folder_and_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("XPCS_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("XPCS_CACHE_LIMIT", "5MB")
    cache = Cache.of_environment()
    assert (cache.folder, cache.limit) == (tmp_path / "fits", 5_000_000)
    monkeypatch.setenv("XPCS_CACHE_LIMIT", "much")
    with pytest.raises(ConfigError, match=r"XPCS_CACHE_LIMIT takes a size such as .*; got 'much'"):
        Cache.of_environment()
    monkeypatch.setenv("XPCS_CACHE_DIR", "off")
    assert Cache.of_environment() is None


CROWD = """
import sys, numpy as np
from pathlib import Path
from xpcs_dask.engine.cache_store import Cache
cache, rng, bad, hits = Cache(Path(sys.argv[1]), limit=60_000), np.random.default_rng(int(sys.argv[2])), 0, 0
for k in rng.integers(0, 40, 600):
    name, right = int(k).to_bytes(16, "little"), np.full(300, k, np.int64)
    found = cache.get(name)
    if found is None:
        cache.put(name, right)
    else:
        hits += 1
        bad += not np.array_equal(found, right)
    if k == 0:
        cache.prune(limit=30_000)
print(bad, hits)
"""


def test_several_processes_use_one_folder_at_once(tmp_path):
    running = [
        subprocess.Popen([sys.executable, "-c", CROWD, tmp_path, str(seed)], stdout=subprocess.PIPE, text=True)
        for seed in range(3)
    ]
    told = [process.communicate()[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert [bad for bad, _ in told] == ["0"] * 3
    assert min(int(hits) for _, hits in told) > 50
    assert not [path for path in Path(tmp_path).rglob(".*") if path.is_file()]
