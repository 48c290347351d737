"""Where one point holds most of the weight of the quoted errors: which, how much, and what it does to tau."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.api import fit, quality
from xpcs_dask.config import FitConfig
from xpcs_dask.fitting.layout import Flag, flag_names
from xpcs_dask.reporting.data import of_curve
from xpcs_dask.reporting.slabs import relaxation_times
from xpcs_dask.reporting.source import Source
from xpcs_dask.spoken import measured, plain

__all__ = ["DEFAULT", "QUOTED", "Story", "Variant", "place_of", "quoted_shares", "tell"]

QUOTED, WITHOUT, DEFAULT = "quoted errors", "quoted errors, without that point", "default errors"
NEIGHBOURS = 4
"""Points before and after, with whose error that of the point is compared."""


@dataclass(frozen=True, slots=True)
class Variant:
    """The curve fitted in one way."""

    model: str
    errors: str
    value: Mapping[str, float]
    tau: float
    error: float
    flags: tuple[str, ...]
    """Those that say that there is no such time."""
    poor: bool
    """Whether the model does not describe the curve."""


@dataclass(frozen=True)
class Story:
    """One curve whose quoted weights one point dominates."""

    file: str
    where: str
    """Bin and q."""
    curve: xr.Dataset
    """One curve, ``g2 (delay)``."""
    point: int
    share: float
    shares: NDArray[np.float64]
    """Of the quoted weights (m,)."""
    default_shares: NDArray[np.float64]
    """Of the weights of default errors (m,); 0 where a point has none."""
    collapse: float
    """Its quoted error over the median one of its neighbours."""
    variants: Sequence[Variant]

    @property
    def delay(self) -> float:
        """Of the point, s."""
        return float(self.curve["delay"].values[self.point])

    def in_words(self) -> list[str]:
        """Tell it."""
        points = int(np.isfinite(self.curve["g2"].values).sum())
        default = float(self.default_shares[self.point])
        lines = [
            f"{self.file}, {self.where}: the point at a delay of {plain(self.delay, 3)} s (number {self.point + 1} of "
            f"{points}) holds {100 * self.share:.0f} % of the weight of the quoted errors. Its quoted error is "
            f"{plain(self.collapse, 2)} of the median of its neighbours'; so few products are averaged there that "
            "their scatter says nothing. The default errors give it "
            + (f"{100 * default:.1f} % of the weight." if default else "no weight.")
        ]
        for model in dict.fromkeys(one.model for one in self.variants):
            own = {one.errors: one for one in self.variants if one.model == model}
            quoted, without, default_fit = (own[name] for name in (QUOTED, WITHOUT, DEFAULT))
            text = f"Model {model}: relaxation time {_told(quoted)} with the quoted errors, {_told(without)} when this "
            text += f"one point is left out, {_told(default_fit)} with default errors"
            ratio = quoted.tau / default_fit.tau
            if np.isfinite(ratio) and not (quoted.flags or default_fit.flags):
                text += f": the quoted errors change it by a factor of {plain(ratio, 2)}"
            if default_fit.poor:
                text += ". The model does not describe this curve within its errors, whatever the weights"
            lines.append(text + ".")
        return lines


def tell(source: Source, group: xr.Dataset, own: xr.Dataset, file: str, where: Mapping[str, int]) -> Story:
    """Tell what one point does to the curve at `where` in `group`, which is among the curves `own` of its file."""
    curve = of_curve(own, group, where).load()
    shares = quoted_shares(*(np.ravel(curve[name].values) for name in ("g2", "g2_err")))
    point = int(shares.argmax())
    config = FitConfig.make(
        FitConfig(**source.config), detail="core", interval="none", diagnostics="none", errors="auto"
    )
    points: Any = quality(curve, config=config)
    sigma = np.ravel(points["sigma"].values)
    weight = np.where(np.isfinite(sigma), np.nan_to_num(sigma, nan=1.0) ** -2.0, 0.0)
    own_model = str(source.attrs["model"])
    variants = [
        variant for model in dict.fromkeys(["simple", own_model]) for variant in _variants(curve, model, config, point)
    ]
    return Story(
        file=file,
        where=place_of(group, where),
        curve=curve.squeeze([dim for dim in curve["g2"].dims if dim != "delay"], drop=True),
        point=point,
        share=float(shares[point]),
        shares=shares,
        default_shares=np.asarray(weight / weight.sum()) if weight.sum() > 0 else weight,
        collapse=_collapse(curve, point),
        variants=variants,
    )


def quoted_shares(g2: Any, error: Any) -> NDArray[np.float64]:
    """Share of the weight 1/error² of each point of its curve (..., m), errors taken as they are quoted."""
    g2, error = np.asarray(g2, dtype=np.float64), np.asarray(error, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(np.isfinite(g2) & (g2 != 0) & np.isfinite(error) & (error > 0), error**-2.0, 0.0)
        return np.nan_to_num(weight / weight.sum(axis=-1, keepdims=True))


def _variants(curve: xr.Dataset, model: str, config: FitConfig, point: int) -> list[Variant]:
    blind = FitConfig.make(config, errors="quoted", min_products=1, covariance="auto", weights="diagonal")
    if model != "simple":
        own = config
    else:
        own, blind = (FitConfig.make(one, bounds={}, fixed={}) for one in (config, blind))
    rest = curve.assign(g2_err=curve["g2_err"].where(np.arange(curve.sizes["delay"]) != point))
    pairs = ((QUOTED, curve, blind), (WITHOUT, rest, blind), (DEFAULT, curve, own))
    return [_variant(fit(data, model, config=settings).load(), model, errors) for errors, data, settings in pairs]


def _variant(fitted: xr.Dataset, model: str, errors: str) -> Variant:
    values, deviations = (np.ravel(fitted[name].values) for name in ("value", "stderr"))
    names = [str(name) for name in fitted["parameter"].values]
    time = names.index(relaxation_times(fitted)[0])
    doubts, bits = Flag.AT_BOUND | Flag.UNIDENTIFIABLE, int(np.ravel(fitted["flags"].values)[0])
    return Variant(
        model=model,
        errors=errors,
        value=dict(zip(names, values.tolist(), strict=True)),
        tau=float(values[time]),
        error=float(deviations[time]),
        flags=tuple(flag_names(bits & int(doubts))),
        poor=bool(bits & Flag.POOR_FIT),
    )


def _told(one: Variant) -> str:
    if not np.isfinite(one.tau):
        return "none (no fit)"
    if one.flags:
        return f"{plain(one.tau)} s ({' and '.join(flag.replace('_', ' ') for flag in one.flags)})"
    return f"{measured(one.tau, one.error)} s"


def _collapse(curve: xr.Dataset, point: int) -> float:
    error = np.ravel(curve["g2_err"].values).astype(np.float64)
    near = np.r_[error[max(point - NEIGHBOURS, 0) : point], error[point + 1 : point + 1 + NEIGHBOURS]]
    near = near[np.isfinite(near) & (near > 0)]
    return float(error[point] / np.median(near)) if near.size else float("nan")


def place_of(group: xr.Dataset, where: Mapping[str, int]) -> str:
    """Bin, q and other labels of a curve in words."""
    told: list[str] = []
    for dim, position in where.items():
        if dim != "file":
            label: Any = group[dim].values[position] if dim in group.coords else position
            told.append(f"{'bin' if dim == 'qbin' else dim} {label}")
    if "q" in group.coords and set(group["q"].dims) <= set(where):
        q = float(group["q"].isel({dim: where[str(dim)] for dim in group["q"].dims}))
        told.append(f"q = {plain(q)} 1/angstrom")
    return ", ".join(told)
