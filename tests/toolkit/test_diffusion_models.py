"""The six models are what their definitions say, and so is what is told about them."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from tests.toolkit.diffusion_truth import RATES, curve, delays, truth
from xpcs_dask.toolkit.diffusion_models import DiffusionModels

INFO = DiffusionModels.get_model_info()


@pytest.mark.parametrize("name", INFO)
def test_a_model_is_its_definition(name):
    x = delays(7.0)
    p = truth(7.0)[name]
    np.testing.assert_allclose(INFO[name]["function"](x, *p), curve(name, x, p), rtol=1e-14)


@pytest.mark.parametrize("name", INFO)
def test_what_is_told_fits_the_function(name):
    told = INFO[name]
    assert set(told) == {"function", "parameters", "bounds", "description"}
    assert list(inspect.signature(told["function"]).parameters)[1:] == told["parameters"]
    assert [len(pair) for pair in told["bounds"]] == [2] * len(told["parameters"])
    assert all(low < high for low, high in told["bounds"])


@pytest.mark.parametrize("rate", RATES)
def test_bounds_have_room_for_every_rate(rate):
    for name, p in truth(rate).items():
        assert all(low < value < high for value, (low, high) in zip(p, INFO[name]["bounds"], strict=True)), name


def test_each_call_returns_records_of_its_own():
    first = DiffusionModels.get_model_info()
    first["simple_diffusion"]["bounds"].clear()
    assert len(DiffusionModels.get_model_info()["simple_diffusion"]["bounds"]) == 3
