from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from xpcs_dask.cli import app
from xpcs_dask.engine.cache import Cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four fits of about 1 kB, last used 4, 3, 2 and 1 days ago."""
    monkeypatch.setenv("XPCS_CACHE_DIR", str(tmp_path / "cache"))
    cache = Cache(tmp_path / "cache")
    for k in range(4):
        cache.put(bytes([k]) * 16, np.zeros(1000, np.uint8))
    for entry in cache.entries():
        then = time.time() - (4 - int(entry.path.stem[:2])) * 86400
        os.utime(entry.path, (then, then))
    return cache


def ask(*words, code=0):
    result = CliRunner().invoke(app, ["cache", *words])
    assert result.exit_code == code, result.output
    return result


def left(cache):
    return sorted(int(entry.path.stem[:2]) for entry in cache.entries())


def test_info_tells_what_there_is(folder, monkeypatch):
    monkeypatch.setenv("XPCS_CACHE_LIMIT", "5MB")
    folder.get(bytes([3]) * 16)
    told = json.loads(ask("info", "--json").stdout)
    size = next(folder.entries()).nbytes
    assert told.pop("unused_days") == pytest.approx(4, abs=0.01)
    assert told.pop("oldest_days") < 0.01
    where = str(folder.folder)
    assert told == {"folder": where, "entries": 4, "bytes": 4 * size, "limit": 5_000_000, "uses": 1}
    lines = ask("info").stdout.splitlines()
    assert lines[:3] == [f"Folder: {where}", "Entries: 4", f"Bytes: {4 * size}"]


def test_prune_to_a_size(folder):
    size = next(folder.entries()).nbytes
    told = json.loads(ask("prune", "--limit", str(2 * size), "--json").stdout)
    assert told["removed"] == 2
    assert told["removed_bytes"] == told["bytes"] == 2 * size
    assert told["entries"] == 2
    assert left(folder) == [2, 3]


def test_prune_what_is_not_used(folder):
    assert "Removed: 1" in ask("prune", "--unused", "3.5").stdout
    assert left(folder) == [1, 2, 3]


def test_prune_without_options_keeps_to_the_limit(folder, monkeypatch):
    ask("prune")
    assert left(folder) == [0, 1, 2, 3]
    monkeypatch.setenv("XPCS_CACHE_LIMIT", "2500")
    ask("prune")
    assert left(folder) == [2, 3]


def test_clear(folder):
    assert json.loads(ask("clear", "--json").stdout)["removed"] == 4
    assert left(folder) == []


def test_a_size_that_is_none(folder):
    assert "--limit takes a size such as 500MB or 1GiB; got 'some'" in ask("prune", "--limit", "some", code=2).stderr
    assert left(folder) == [0, 1, 2, 3]


@pytest.mark.parametrize("verb", ["info", "prune", "clear"])
def test_a_folder_that_others_write_is_refused(folder, verb):
    folder.folder.chmod(0o777)
    assert "written by others (mode 777); run chmod 700" in ask(verb, code=2).stderr
    assert left(folder) == [0, 1, 2, 3]


def test_no_cache_says_so(monkeypatch):
    monkeypatch.setenv("XPCS_CACHE_DIR", "off")
    assert "XPCS_CACHE_DIR is 'off'" in ask("info", code=2).stderr
