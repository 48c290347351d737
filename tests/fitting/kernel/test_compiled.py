import ast
import os
import stat
import subprocess
import sys
from pathlib import Path

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


def test_every_module_whose_values_are_compiled_in_counts():
    here = Path(compiled.__file__).parent
    used = set()
    for path in here.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xpcs_dask.fitting."):
                used.add(node.module.removeprefix("xpcs_dask.fitting."))
    outside = {name for name in used if not name.startswith("kernel")}
    # these have types, and records that are read when kernels run, not when they are compiled
    assert {f"{name}.py" for name in outside - {"models", "recipe"}} <= set(compiled.BESIDE)


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


BITS = """
import hashlib
import numpy as np
from tests.fitting.kernel.curves import BOX, DELAYS, double_curves, single_curves
from xpcs_dask.fitting.kernel import run
from xpcs_dask.fitting.kernel.family import FAMILIES, family_of
found = hashlib.blake2b()
for name, make, loss in (("single", single_curves, "linear"), ("double", double_curves, "cauchy")):
    _, y, sigma = make(150, seed=1)
    fit = run.run_kernel(family_of(FAMILIES[name], *BOX[name]), DELAYS, y, 1 / sigma, loss, 1.0, None, thorough=False)
    for part in (fit.z, fit.chi2, fit.covariance, fit.evaluations):
        found.update(part.tobytes())
print(found.hexdigest())
"""


@pytest.mark.slow
def test_compiled_now_and_loaded_from_the_cache_give_the_same_bits(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    bits = [
        subprocess.run([sys.executable, "-c", BITS], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert bits[0] == bits[1]
