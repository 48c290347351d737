from __future__ import annotations

import math

import numpy as np
import pytest

import xpcs_dask as xd
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.view.choices import OPTIONS, Choices, default_box, number

DELAY = np.geomspace(1e-3, 1, 20)


def test_texts_become_settings():
    choices = Choices(model="simple", errors="quoted", robust="clip", last_delay="0.5", held={"baseline": "1"})
    config = choices.with_text("high", "tau", " 2e-1 ").config(DELAY)
    assert config.bounds == {"tau": (pytest.approx(1e-4), 0.2)}  # a tenth of the first delay stays below
    assert (config.fixed, config.errors, config.robust) == ({"baseline": 1.0}, "quoted", "clip")
    assert config.delay_range == (-math.inf, 0.5)


def test_settings_become_texts_and_back():
    config = xd.FitConfig(
        bounds={"tau": (1e-3, math.inf)}, fixed={"stretch": 1.0}, loss="huber", loss_scale=1.5, q_range=(0.001, 0.01),
        delay_range=(0.002, math.inf), min_products=2, covariance="hc3", search="thorough",
    )  # fmt: skip
    back = Choices.of("single", config).config(DELAY)
    assert back.bounds == {"tau": (1e-3, default_box(MODELS["single"], DELAY)["tau"][1])}
    for name in set(type(config).model_fields) - {"bounds"}:
        assert getattr(back, name) == getattr(config, name), name
    assert Choices.of("single", config) == Choices.of("single", config)


def test_texts_for_another_model_wait():
    choices = Choices(model="simple", held={"stretch": "not read"})
    assert choices.config(DELAY).fixed == {}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"first_delay": "abc"}, "first delay: 'abc' is not a number"),
        ({"first_delay": "1", "last_delay": "0.5"}, "is empty"),
        ({"low": {"tau": "5"}, "high": {"tau": "1"}}, "bounds of 'tau' are crossed"),
        ({"low": {"tau": "0"}}, "a relaxation time must stay above 0"),
        ({"held": {"tau": "nan"}}, "held value of tau: 'nan' is not a number"),
        ({"held": {"contrast": "7"}, "high": {"contrast": "1"}}, "outside its bounds"),
        ({"robust": "clip", "loss": "huber"}, "chooses the loss itself"),
        ({"loss_scale": "-1"}, "loss_scale"),
        ({"model": "my function"}, "a function of its user"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(changes, says):
    with pytest.raises(ConfigError, match=says) as error:
        Choices(**changes).config(DELAY)
    assert "\n" not in str(error.value)


def test_every_option_is_a_setting():
    for name, options in OPTIONS.items():
        for value in options:
            errors = {"errors": "none"} if value == "scaled" else {}
            found = getattr(Choices(**{name: value}, **errors).config(DELAY), name)
            assert found == (value or None)


def test_numbers_are_read_as_people_type_them():
    assert number(" 1e-3", "x") == 1e-3
    assert number("−2", "x") == -2.0
    assert number("  ", "x") is None
