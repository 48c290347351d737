"""Settings are refused where they make no sense, by name."""

from __future__ import annotations

import numpy as np
import pytest

from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError


@pytest.mark.parametrize("scale", [np.inf, np.nan, -np.inf, 0.0, -1.0])
def test_loss_scale_is_finite_and_positive(scale):
    with pytest.raises(ConfigError, match="loss_scale: "):
        FitConfig.make(loss="huber", loss_scale=scale)


def test_bounds_may_be_infinite():
    assert FitConfig.make(bounds={"contrast": (0.0, np.inf)}).bounds["contrast"] == (0.0, np.inf)


def test_unknown_setting_names_the_known_ones():
    with pytest.raises(ConfigError, match="losss: unknown setting; known are bounds, fixed, loss"):
        FitConfig.make(losss="huber")
