import os
import stat
import subprocess
import sys

import pytest

from xpcs_dask.fitting.kernel import compiled


def test_folder_is_private_and_named_after_the_sources(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    folder = compiled.cache_folder()
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) & 0o022 == 0
    monkeypatch.setattr(compiled, "_sources_digest", lambda: "edited")
    assert compiled.cache_folder() != folder


def test_a_folder_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    folder = compiled.cache_folder()
    folder.chmod(0o777)
    assert compiled.cache_folder() != folder


def test_an_unwritable_home_falls_back_to_a_temporary_folder(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked))
    folder = compiled.cache_folder()
    assert folder.is_dir()
    assert str(folder).startswith(os.path.realpath("/tmp")) or "xpcs_dask-numba-" in folder.name


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path):
    code = (
        "import numpy as np; from xpcs_dask.fitting.kernel import single; "
        "a = np.ones(8); single.load_curve(a, a, a.copy(), a.copy()); "
        "s = single.load_curve.stats; print(sum(s.cache_hits.values()), sum(s.cache_misses.values()))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    counts = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert counts[0].split() == ["0", "1"]
    assert counts[1].split() == ["1", "0"]
