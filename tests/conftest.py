"""Where test data is found, and what every test can ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for kept in ("XPCS_DASK_CACHE", "XPCS_CACHE_DIR"):  # tests that need an index or results name a folder of their own
    os.environ.setdefault(kept, "off")

CARRIED = Path(__file__).parent / "data"
SHARED = Path(os.environ.get("XPCS_DASK_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def carried(name: str) -> Path:
    """Return the path of a file that the repository carries (made for this project, or public domain)."""
    path = CARRIED / name
    assert path.exists(), f"{path} is missing from the checkout"
    return path


def shared(name: str) -> Path:
    """Return the path of data that must not be carried; skip the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not here; set XPCS_DASK_TEST_DATA to the folder that holds {name}")
    return path
