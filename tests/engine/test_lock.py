from __future__ import annotations

import errno
import json
import os
import pickle
import socket
import subprocess
import sys
import time

import pytest

from xpcs_dask.engine import lock as module
from xpcs_dask.engine.lock import Lock, StoreLockedError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fits.zarr.unfinished" / "lock"


def owned_by(path, host, process, age=0.0):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"host": host, "process": process, "since": 0.0}))
    now = time.time()
    os.utime(path, (now - age, now - age))


def test_one_owner_at_a_time(path):
    with Lock(path):
        with pytest.raises(StoreLockedError) as caught, Lock(path):
            pass
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(caught.value)
        assert "fits.zarr.unfinished is being written" in str(caught.value)
        assert caught.value.exit_code == 8
        assert 0 <= caught.value.age < 5
    assert not path.exists()
    with Lock(path):
        assert json.loads(path.read_text())["process"] == os.getpid()


def test_an_error_inside_lets_go(path):
    with pytest.raises(ZeroDivisionError), Lock(path):
        raise ZeroDivisionError
    Lock(path).acquire().release()


def test_errors_survive_pickling():
    error = StoreLockedError("fits.zarr", "process 1 on here", 3.0)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.exit_code) == (str(error), 8)


DYING = """
import os, sys
from pathlib import Path
from xpcs_dask.engine.lock import Lock
Lock(Path(sys.argv[1])).acquire()
os.kill(os.getpid(), 9)
"""


def test_a_dead_owner_is_followed_at_once(path):
    assert subprocess.run([sys.executable, "-c", DYING, str(path)], check=False).returncode == -9
    assert path.exists()
    with Lock(path):
        assert json.loads(path.read_text())["process"] == os.getpid()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_lock_that_nobody_holds_is_taken(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    Lock(path).acquire().release()


def test_another_host_is_believed_while_it_gives_signs_of_life(path):
    """Some file systems keep locks to one host: then only the time of the file tells."""
    owned_by(path, "elsewhere", 1, age=module.SILENCE / 2)
    with pytest.raises(StoreLockedError, match=r"process 1 on elsewhere, last seen 3[0-9] s ago"):
        Lock(path).acquire()
    owned_by(path, "elsewhere", 1, age=module.SILENCE + 5)
    Lock(path).acquire().release()


def test_signs_of_life_make_the_lock_young(path, monkeypatch):
    monkeypatch.setattr(module, "BEAT", 0.0)
    with Lock(path) as lock:
        os.utime(path, (1, 1))
        lock.beat()
        assert time.time() - path.stat().st_mtime < 5
        monkeypatch.setattr(module, "BEAT", 1e6)
        os.utime(path, (1, 1))
        lock.beat()
        assert path.stat().st_mtime == 1


def test_where_locks_are_not_known_a_living_process_is_believed(path, monkeypatch):
    def unknown(file, operation):
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(module.fcntl, "flock", unknown)
    owned_by(path, socket.gethostname(), os.getppid())
    with pytest.raises(StoreLockedError):
        Lock(path).acquire()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    owned_by(path, socket.gethostname(), dead.pid)
    Lock(path).acquire().release()


def test_a_lock_that_was_removed_meanwhile_is_not_enough(path, monkeypatch):
    """The owner before removes its file and lets go of it, while the next one has it open already."""
    take, taken = Lock._take, []

    def slow(self, file):
        take(self, file)
        if not taken:
            path.unlink()
        taken.append(file)

    monkeypatch.setattr(Lock, "_take", slow)
    with Lock(path):
        assert len(taken) == 2
        assert os.path.samestat(os.fstat(taken[-1]), path.stat())


def test_other_errors_pass(path, monkeypatch):
    def broken(file, operation):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(module.fcntl, "flock", broken)
    with pytest.raises(OSError, match="broken"):
        Lock(path).acquire()
