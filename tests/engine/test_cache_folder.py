from __future__ import annotations

import os
import pickle
import stat

import pytest

from xpcs_dask.engine import cache_folder
from xpcs_dask.engine.cache_folder import CacheFolderError, is_in_memory, private_folder


def test_the_environment_names_the_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XPCS_CACHE_DIR", raising=False)
    assert str(cache_folder.cache_folder()) == "/home/somebody/.xpcs_toolkit"
    monkeypatch.setenv("XPCS_CACHE_DIR", "/data/kept")
    assert str(cache_folder.cache_folder()) == "/data/kept"
    monkeypatch.setenv("XPCS_CACHE_DIR", "~/kept")
    assert str(cache_folder.cache_folder()) == "/home/somebody/kept"
    monkeypatch.setenv("XPCS_CACHE_DIR", "off")
    assert cache_folder.cache_folder() is None


def test_a_new_folder_is_for_its_user_alone(tmp_path):
    before = os.umask(0)
    try:
        made = private_folder(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702])
def test_a_folder_that_others_write_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(
        CacheFolderError, match=rf"written by others \(mode {mode:o}\); run chmod 700 .* XPCS_CACHE_DIR"
    ):
        private_folder(tmp_path)


def test_a_folder_that_others_only_read_is_taken(tmp_path):
    tmp_path.chmod(0o755)
    assert private_folder(tmp_path) == tmp_path


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(CacheFolderError, match=f"belongs to another user .number {tmp_path.stat().st_uid}"):
        private_folder(tmp_path)


def test_a_file_or_no_home_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CacheFolderError, match="cannot be used as a folder"):
        private_folder(tmp_path / "file")
    with pytest.raises(CacheFolderError, match="not an absolute path; name another folder with OTHER"):
        private_folder(tmp_path.relative_to("/"), "OTHER")


def test_the_error_travels():
    error = CacheFolderError("/a", "is not yours", "take /b")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "/a is not yours; take /b"
    assert error.exit_code == 2


def test_files_in_memory_are_told_from_files_on_disk(monkeypatch, tmp_path):
    import psutil

    def mounted(*pairs):
        kinds = [type("Disk", (), {"mountpoint": at, "fstype": kind}) for at, kind in pairs]
        monkeypatch.setattr(psutil, "disk_partitions", lambda all: kinds)

    mounted(("/", "ext4"), (str(tmp_path), "tmpfs"))
    assert is_in_memory(tmp_path / "deep" / "down")
    assert not is_in_memory(tmp_path.parent)
    mounted(("/", "tmpfs"), (str(tmp_path), "ext4"))
    assert not is_in_memory(tmp_path)
