"""Freed arrays of slabs are kept for the next slab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xpcs_dask.io.stack import write_stack
from xpcs_dask.simulate import curves

PROGRAM = """
import resource, sys
import numpy as np
from xpcs_dask.engine.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        slab = [np.ones(2**17) for _ in range(4)]
        del slab
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
told = keep_freed_memory()
faults()
print(int(told), first, faults())
"""


@pytest.mark.cluster
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is told")
def test_slabs_of_a_worker_use_the_same_pages_again():
    """Under the setting that workers of distributed start with."""
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told, before, after = map(int, program.stdout.split())
    if not told:
        pytest.skip("this C library cannot be told")
    assert before > 20_000  # 4 MiB, 50 times, in pages of 4 KiB
    assert after < 2_000


NAMES = """
import sys
import pyarrow
import xpcs_dask as xd
stack, out = sys.argv[1:]
xd.run(inputs=stack, output=out, model="simple", scheduler="threads:1", fit={"errors": "quoted", "detail": "core"})
print(pyarrow.default_memory_pool().max_memory())
"""


def test_a_job_keeps_names_of_files_out_of_arrow(tmp_path):
    pytest.importorskip("pyarrow")
    stack = tmp_path / "stack.zarr"
    write_stack(curves(500, q=[0.01], seed=1), stack)
    program = [sys.executable, "-c", NAMES, str(stack), str(tmp_path / "fits.zarr")]
    ran = subprocess.run(program, capture_output=True, text=True, check=True)
    assert int(ran.stdout) == 0
