from __future__ import annotations

import numpy as np
import pytest

from xpcs_dask.errors import FileRejected
from xpcs_dask.io.columns import KINDS, column


@pytest.mark.parametrize(
    ("text", "kind", "unit"),
    [
        ("tau", "delay", ""),
        ("Delay (ms)", "delay", "ms"),
        ("lag[ us ]", "delay", "us"),
        ("t_s", "delay", "s"),
        ("g2", "g2", ""),
        ("g2_err", "g2_err", ""),
        ("g2_err (1)", "g2_err", "1"),
        ("std", "g2_err", ""),
        ("q_1/nm", "q", "1/nm"),
        ("q (Å⁻¹)", "q", "Å⁻¹"),
        ("phi_deg", "phi", "deg"),
        ("qbin", "qbin", ""),
    ],
)
def test_names_and_units(text: str, kind: str, unit: str) -> None:
    found = column("a", text, first=False)
    assert (found.kind, found.unit) == (kind, unit)
    assert np.isnan(found.q)


def test_named_by_q() -> None:
    assert column("a", "0.0123", first=True).q == 0.0123
    two = column("a", "1.5e-2_0.3", first=False)
    assert (two.kind, two.q, bool(two.note)) == ("curve", 0.015, True)
    assert not column("a", "0.0123", first=False).note


def test_row_numbers_have_no_name_and_come_first() -> None:
    assert column("a", "", first=True).kind == "index"
    with pytest.raises(FileRejected, match="the column '' is not known"):
        column("a", "", first=False)


@pytest.mark.parametrize("text", ["speed", "g3", "tau2", "0.1 x", "g2-1", "s_tau", "speed (s)"])
def test_unknown(text: str) -> None:
    with pytest.raises(FileRejected, match="is not known; known are " + ", ".join(KINDS)):
        column("a", text, first=False)
