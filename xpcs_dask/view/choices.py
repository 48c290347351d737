"""What a person has chosen, as the texts and words of the page; and the settings of a fit that they make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from xpcs_dask.config import FitConfig
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats, Model, by_name

__all__ = ["OPTIONS", "Choices", "default_box", "number"]

OPTIONS: Mapping[str, Mapping[str, str]] = {
    "errors": {
        "auto": "auto: error model", "smoothed": "smoothed quoted", "quoted": "quoted in the file",
        "none": "none: all equal",
    },
    "robust": {
        "": "none", "clip": "clip: leave outliers out", "cauchy": "Cauchy loss", "mm": "MM (Tukey)",
    },
    "covariance": {
        "auto": "auto", "theory": "theory of the noise", "hc3": "HC3: from residuals", "wald": "errors as they are",
        "scaled": "errors up to a factor",
    },
    "loss": {name: name for name in ("linear", "soft_l1", "huber", "cauchy", "arctan", "tukey")},
    "search": {"fast": "fast", "thorough": "thorough"},
}  # fmt: skip
"""Settings that are chosen from a list: what may be chosen, and how it is called."""
PAGE = ("bounds", "fixed", "errors", "robust", "covariance", "loss", "loss_scale", "search", "delay_range", "q_range")
"""Settings that the page shows; others stay as they were in the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Settings as the page shows them; empty texts are defaults."""

    model: str = "single"
    low: Mapping[str, str] = field(default_factory=dict)
    """Lower bounds by parameter."""
    high: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    """Values of parameters that are held."""
    errors: str = "auto"
    robust: str = ""
    covariance: str = "auto"
    loss: str = "linear"
    loss_scale: str = ""
    search: str = "fast"
    first_delay: str = ""
    """s"""
    last_delay: str = ""
    """s"""
    base: FitConfig = field(default_factory=FitConfig)
    """Settings that the page does not show."""

    @classmethod
    def of(cls, model: str, config: FitConfig) -> Self:
        """Those of a fit that was made."""
        first, last = config.delay_range or (-math.inf, math.inf)
        hidden = {name: value for name, value in config.model_dump().items() if name not in PAGE or name == "q_range"}
        return cls(
            model=model,
            low={name: _text(low) for name, (low, _) in config.bounds.items()},
            high={name: _text(high) for name, (_, high) in config.bounds.items()},
            held={name: _text(value) for name, value in config.fixed.items()},
            errors=config.errors,
            robust=config.robust or "",
            covariance=config.covariance,
            loss=config.loss,
            loss_scale="" if config.loss_scale == 1 else _text(config.loss_scale),
            search=config.search,
            first_delay=_text(first),
            last_delay=_text(last),
            base=FitConfig.make(**hidden),
        )

    def with_text(self, what: str, name: str, text: str) -> Self:
        """Another text for one parameter; `what` is low, high or held."""
        changed: dict[str, Any] = {what: {**getattr(self, what), name: text}}
        return replace(self, **changed)

    def config(self, delay: Floats) -> FitConfig:
        """Read them as the settings of a fit.

        Parameters
        ----------
        delay : array, shape (m,)
            In s; where one bound is given and the other not, the other is the default for these delays.

        Raises
        ------
        ConfigError
            For a text that is no number, or settings that do not go together; one line, which names them.
        """
        record, held = self.record, self._numbers(self.held, "held value")
        low, high = self._numbers(self.low, "lower bound"), self._numbers(self.high, "upper bound")
        first, last = number(self.first_delay, "first delay"), number(self.last_delay, "last delay")
        span = (-math.inf if first is None else first, math.inf if last is None else last)
        limits = None if first is last is None else span
        box = default_box(record, delay, limits)
        bounds = {
            name: (low.get(name, box[name][0]), high.get(name, box[name][1]))
            for name in record.names
            if name in low or name in high
        }
        scale = number(self.loss_scale, "loss scale")
        config = FitConfig.make(
            self.base,
            bounds=bounds,
            fixed=held,
            errors=self.errors,
            robust=self.robust or None,
            covariance=self.covariance,
            loss=self.loss,
            loss_scale=1.0 if scale is None else scale,
            search=self.search,
            delay_range=limits,
        )
        record.box(delay, config.bounds, config.fixed)
        return config

    @property
    def record(self) -> Model:
        """The model."""
        record = by_name(self.model)
        if record is None:
            raise ConfigError(
                f"the model '{self.model}' is a function of its user, which no store keeps; choose another"
            )
        return record

    def _numbers(self, texts: Mapping[str, str], what: str) -> dict[str, float]:
        """Those given for parameters of the model; texts for those of other models wait."""
        found = {name: number(texts.get(name, ""), f"{what} of {name}") for name in self.record.names}
        return {name: value for name, value in found.items() if value is not None}


def default_box(
    record: Model, delay: Floats, limits: tuple[float, float] | None = None
) -> dict[str, tuple[float, float]]:
    """Bounds that the model has by default on those delays (m,), in s, that are within `limits`."""
    low, high = limits or (-np.inf, np.inf)
    inside = delay[(delay >= low) & (delay <= high)]
    lower, upper = record.box(inside if inside.size else delay)
    return {name: (float(a), float(b)) for name, a, b in zip(record.names, lower, upper, strict=True)}


def number(text: str, what: str) -> float | None:
    """Read a number as people type it; None for an empty text, and for no bound (inf)."""
    text = text.strip()
    if not text:
        return None
    try:
        value = float(text.replace("−", "-"))
    except ValueError:
        raise ConfigError(f"{what}: '{text[:40]}' is not a number") from None
    if math.isnan(value):
        raise ConfigError(f"{what}: '{text}' is not a number")
    return value


def _text(value: Any) -> str:
    """Shortest text that reads back as the same number; empty where there is no limit."""
    return "" if math.isinf(value) else repr(float(value))
