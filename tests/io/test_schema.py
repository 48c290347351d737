from __future__ import annotations

import pytest

from xpcs_dask.io.schema import APS_SCALARS, DEGREES, KEV, PER_ANGSTROM, SCALARS, SECONDS, VARIABLES


def test_every_variable_has_unit_and_long_name() -> None:
    for name, variable in {**VARIABLES, **SCALARS}.items():
        assert set(variable.attrs) == ({"long_name"} if name == "start_time" else {"units", "long_name"})
        assert variable.long_name


def test_known_scalars_have_a_place() -> None:
    assert set(APS_SCALARS) <= set(SCALARS)


def test_factors() -> None:
    assert PER_ANGSTROM["å⁻¹"] == PER_ANGSTROM["1/a"] == 1
    assert PER_ANGSTROM["nm⁻¹"] == PER_ANGSTROM["1/nm"] == 0.1
    assert DEGREES["rad"] * 3.141592653589793 == pytest.approx(180, rel=1e-15)
    assert (SECONDS["s"], SECONDS["ms"], SECONDS["us"], SECONDS["ns"]) == (1, 1e-3, 1e-6, 1e-9)
    assert SECONDS["\u00b5s"] == SECONDS["\u03bcs"] == 1e-6
    assert (KEV["kev"], KEV["ev"]) == (1, 1e-3)
