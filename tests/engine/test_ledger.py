from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from threading import Thread

import pytest

from xpcs_dask.engine.ledger import Ledger, total, write_whole


@pytest.fixture
def ledger(tmp_path):
    return Ledger.begin(tmp_path / "ledger", {"job": {"model": "single"}, "blocks": 3})


def test_a_new_ledger_has_a_head_and_no_entries(ledger):
    assert ledger.head() == {"version": 1, "job": {"model": "single"}, "blocks": 3}
    assert ledger.entries() == {}


def test_entries_come_back_by_number(ledger):
    ledger.add(10, {"bytes": 5})
    ledger.add(2, {"bytes": 7})
    ledger.add(2, {"bytes": 8})
    assert ledger.entries() == {2: {"bytes": 8}, 10: {"bytes": 5}}


def test_only_what_is_believed_counts(ledger):
    ledger.add(1, {"bytes": 5})
    ledger.add(2, {"bytes": 6})
    assert ledger.entries(lambda block, entry: entry["bytes"] == 6) == {2: {"bytes": 6}}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_damaged_entries_are_not_believed(ledger, content):
    ledger.add(1, {"bytes": 5})
    (ledger.folder / "2.json").write_bytes(content)
    assert ledger.entries() == {1: {"bytes": 5}}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"version": 99}'])
def test_without_a_readable_head_there_is_no_ledger(ledger, content):
    (ledger.folder / "head.json").write_bytes(content)
    assert ledger.head() is None


def test_beginning_again_forgets(ledger):
    ledger.add(1, {"bytes": 5})
    again = Ledger.begin(ledger.folder, {"job": {}})
    assert again.entries() == {}
    assert again.head() == {"version": 1, "job": {}}


def test_no_head_no_ledger(tmp_path):
    assert Ledger(tmp_path / "nowhere").head() is None
    assert Ledger(tmp_path / "nowhere").entries() == {}


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "entry"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, "no bytes")
    assert path.read_bytes() == b"old"
    write_whole(path, memoryview(b"new"))
    assert path.read_bytes() == b"new"
    assert [item.name for item in tmp_path.iterdir()] == ["entry"]


def test_a_file_below_a_removed_folder_stays_away(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "gone" / "entry", b"x")
    assert not (tmp_path / "gone").exists()


def test_many_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "entry"
    texts = [json.dumps({"writer": k, "text": "x" * 50_000}).encode() for k in range(4)]
    threads = [Thread(target=lambda text=text: [write_whole(path, text) for _ in range(25)]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in texts
    assert [item.name for item in tmp_path.iterdir()] == ["entry"]


WRITER = """
import itertools, sys
from pathlib import Path
from xpcs_dask.engine.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
for k in itertools.count():
    ledger.add(k, {"number": k, "text": "x" * 100_000})
    if k == 20:
        print("going", flush=True)
"""


@pytest.mark.cluster
def test_a_writer_killed_at_any_moment_leaves_a_true_ledger(ledger):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(ledger.folder)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "going\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    found = ledger.entries()
    assert len(found) > 20
    assert sorted(found) == list(range(len(found)))
    assert all(entry == {"number": k, "text": "x" * 100_000} for k, entry in found.items())


def test_records_of_numbers_add_up_name_by_name():
    first = {"curves": 3, "status": {"ok": 2, "failed": 1}}
    assert total({}, first) == first
    assert total(first, {}) == first
    assert total(first, {"curves": 4, "status": {"ok": 4, "odd": 1}, "more": 1.5}) == {
        "curves": 7,
        "status": {"ok": 6, "failed": 1, "odd": 1},
        "more": 1.5,
    }
