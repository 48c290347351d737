from __future__ import annotations

import errno
import io
import os

import numpy as np
import pytest

from xpcs_dask.engine.cache_entry import ABOUT, about, count_use, open_entry, pack, unpack

NAME = bytes(range(16))
ARRAY = np.arange(10.0).reshape(2, 5)


@pytest.fixture
def entry(tmp_path):
    path = tmp_path / "entry.npy"
    path.write_bytes(pack(NAME, ARRAY))
    return path


def test_it_is_what_numpy_writes_and_32_bytes_more():
    file = io.BytesIO()
    np.save(file, ARRAY)
    content = pack(NAME, ARRAY)
    assert content[: -ABOUT.size] == file.getvalue()
    assert ABOUT.size == 32
    assert np.array_equal(unpack(NAME, content), ARRAY)


def test_another_name_gets_nothing():
    assert unpack(bytes(16), pack(NAME, ARRAY)) is None


def test_uses_are_counted(entry):
    for uses in range(3):
        assert about(entry)[0] == uses
        file = open_entry(entry)
        count_use(file, entry.read_bytes())
        os.close(file)
    assert np.array_equal(unpack(NAME, entry.read_bytes()), ARRAY)


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_what_cannot_be_written_is_opened_to_be_read(entry, monkeypatch, reason):
    real = os.open

    def refusing(path, flags):
        if flags & os.O_RDWR:
            raise OSError(reason, "no")
        return real(path, flags)

    monkeypatch.setattr(os, "open", refusing)
    file = open_entry(entry)
    count_use(file, entry.read_bytes())
    assert os.read(file, 6) == b"\x93NUMPY"
    os.close(file)


def test_what_is_not_there_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_entry(tmp_path / "none.npy")
    assert about(tmp_path / "none.npy") == (0, 0.0)
    (tmp_path / "short.npy").write_bytes(b"x")
    assert about(tmp_path / "short.npy") == (0, 0.0)


def test_a_use_that_cannot_be_counted_is_none_the_less(entry, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    file = open_entry(entry)
    monkeypatch.setattr(os, "pwrite", full)
    count_use(file, entry.read_bytes())
    os.close(file)
    assert about(entry)[0] == 0
