"""What decides what is shown needs no page; and nothing of a page is imported before it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    ["xpcs_dask.cli", "xpcs_dask.view.server"],
)
def test_no_page_is_imported(module):
    program = f"import {module}, sys, json; print(json.dumps([n for n in ('panel', 'bokeh') if n in sys.modules]))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == []
