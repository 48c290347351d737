"""Settings of a fit, a bootstrap, a run: frozen records, explained field by field and validated once."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from xpcs_dask.errors import ConfigError
from xpcs_dask.readable import card, changed, written

Loss: TypeAlias = Literal["linear", "soft_l1", "huber", "cauchy", "arctan", "tukey"]
Covariance: TypeAlias = Literal["auto", "wald", "scaled", "hc3", "theory", "cluster"]
Weights: TypeAlias = Literal["diagonal", "gls"]
Robust: TypeAlias = Literal["clip", "cauchy", "mm"]
Diagnostics: TypeAlias = Literal["none", "basic", "standard", "comprehensive"]
FitInterval: TypeAlias = Literal["none", "covariance", "profile"]
Scheme: TypeAlias = Literal["auto", "cluster", "residual", "wild", "parametric", "pairs", "blocks"]
Interval: TypeAlias = Literal["auto", "percentile", "basic", "bca", "studentised", "t"]
Search: TypeAlias = Literal["fast", "thorough"]
ErrorChoice: TypeAlias = Literal["auto", "quoted", "smoothed", "none"]
Setting: TypeAlias = str | int | float | bool | tuple[str, ...] | Mapping[str, str] | None


NULL = WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]})
Low: TypeAlias = Annotated[float, BeforeValidator(lambda value: -math.inf if value is None else value), NULL]
High: TypeAlias = Annotated[float, BeforeValidator(lambda value: math.inf if value is None else value), NULL]
Range: TypeAlias = tuple[Low, High]
"""An infinite end is null in JSON."""


class Settings(BaseModel):
    """A frozen record of settings, validated once."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)

    @classmethod
    def make(cls, config: Self | None = None, **settings: Any) -> Self:
        """`config` with `settings` on top, validated; raises `ConfigError` that names the setting."""
        values = {**(config.model_dump(exclude_unset=True) if config else {}), **settings}
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "settings"
            message = first["msg"].removeprefix("Value error, ")
            if first["type"] == "extra_forbidden":
                message = f"unknown setting; known are {', '.join(cls._known(first['loc'][:-1]))}"
            raise ConfigError(f"{where}: {message}") from None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return changed(self, super().__repr_args__())

    def keywords(self) -> str:
        """Write the settings that are not at their default as they are given in a call."""
        return ", ".join(f"{name}={written(value)}" for name, value in self.__repr_args__())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.keywords()})"

    def _repr_html_(self) -> str:
        rows = {str(name): repr(value) for name, value in self.__repr_args__()}
        return card(type(self).__name__, rows or {"": "all settings at their defaults"})

    @classmethod
    def _known(cls, where: tuple[int | str, ...]) -> Iterable[str]:
        """Names of settings at a place inside."""
        found: Any = cls
        for name in where:
            inside = found.model_fields[name].annotation
            found = next((kind for kind in (inside, *get_args(inside)) if isinstance(kind, type)), found)
        return list(found.model_fields)


class FitConfig(Settings):
    """Settings of one fit, the same for every curve."""

    bounds: Mapping[str, tuple[Low, High]] = Field(default_factory=dict)
    """(lower, upper) by parameter name, null in JSON where there is none; others keep the model's own."""
    fixed: Mapping[str, float] = Field(default_factory=dict)
    """Values of parameters that are held."""
    loss: Loss = "linear"
    """Penalty on residuals; anything but linear is robust (definitions of scipy.optimize.least_squares, and Tukey)."""
    loss_scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Residual, in units of sigma, beyond which a robust loss takes over."""
    absolute_sigma: bool = True
    """Errors are taken as they are; False rescales the covariance by the reduced chi2."""
    covariance: Covariance = "auto"
    """Which covariance becomes stderr (docs/errors.md). theory: correlated noise from the fitted decay and the counts,
    hc3 where counts are not known; hc3: noise from the residuals; wald: errors as they are; scaled: errors up to a
    factor. auto is theory with errors="auto", wald with quoted or smoothed errors, scaled with relative ones."""
    weights: Weights = "diagonal"
    """diagonal: each point by its own error; gls: generalised least squares with the theoretical correlation of delays
    (docs/errors.md), for curves whose counts are known."""
    robust: Robust | None = None
    """What is done about outliers: clip leaves out points beyond 3.5 robust standard deviations of a Cauchy fit and
    fits again; cauchy and mm take that loss with its usual scale (mm: Tukey's biweight on a scale from the residuals).
    """
    interval: FitInterval = "none"
    """Intervals of the parameters: covariance takes quantiles of Student's t times stderr, in ln tau and logit
    fraction; profile follows the profile likelihood."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Coverage that intervals are made for."""
    diagnostics: Diagnostics = "none"
    """How much is said about the residuals of each curve (docs/diagnostics.md)."""
    search: Search = "fast"
    """How many minima are looked for."""
    errors: ErrorChoice = "auto"
    """Which errors weigh the points: auto takes the larger of the smoothed quoted and the counting error (see
    docs/errors.md), smoothed the smoothed quoted, quoted those of the file as they are, none weighs all points equally
    and rescales the covariance."""
    min_products: int = Field(default=4, ge=1)
    """Delays at which fewer products were averaged are not used: their quoted errors collapse."""
    q_range: Range | None = None
    """Keep bins with q in [low, high], 1/angstrom."""
    delay_range: Range | None = None
    """Keep delays in [low, high], s."""
    detail: Literal["core", "full"] = "full"
    """core: what every result has; full: covariance and criteria too."""

    @field_validator("q_range", "delay_range")
    @classmethod
    def _ordered(cls, value: Range | None) -> Range | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"the range ({value[0]:g}, {value[1]:g}) is empty; give (low, high) with low < high")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        robust = f"robust='{self.robust}'" if self.robust else f"loss='{self.loss}'" if self.loss != "linear" else ""
        if self.robust and self.loss != "linear":
            raise ValueError(f"robust='{self.robust}' chooses the loss itself; leave out loss='{self.loss}'")
        if self.weights == "gls":
            other = robust or ("interval='profile'" if self.interval == "profile" else "")
            other = other or (f"diagnostics='{self.diagnostics}'" if self.diagnostics != "none" else "")
            if other:
                raise ValueError(f"weights='gls' does not go with {other}, which takes diagonal weights")
        if self.interval == "profile" and robust and self.robust != "clip":
            raise ValueError(f"interval='profile' needs the linear loss, not {robust}; use robust='clip'")
        return self


class BootstrapConfig(Settings):
    """Settings of a bootstrap, the same for every curve."""

    resamples: Annotated[int, Field(ge=2)] | Literal["auto"] = "auto"
    """Refits of each curve; auto goes on in rounds of 250 until both ends of all intervals are known to `tolerance`."""
    over: str = "auto"
    """What is resampled: cluster (the pixels, segments or repeats of g2_cluster) or delay; auto takes clusters where
    there are any."""
    scheme: Scheme = "auto"
    """cluster draws clusters; residual, wild, parametric, pairs and blocks draw over delays, as if these were
    independent. auto is cluster, else wild."""
    interval: Interval = "auto"
    """Kind of interval; auto is percentile for 30 clusters and more, t below, percentile over delays."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Coverage that intervals are made for."""
    tolerance: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    """Monte-Carlo standard error of an end point, in half widths of the interval, at which auto stops."""
    max_resamples: int = Field(default=10_000, ge=250)
    """Where auto stops at the latest."""
    seed: int = Field(default=0, ge=0, lt=2**64)
    """Of the random numbers; these depend on nothing else but the curve and the number of the replicate."""
    keep_replicates: bool = False
    """Return the parameters of all refits too."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        delays = self.scheme not in ("auto", "cluster")
        if (self.over == "delay" and self.scheme == "cluster") or (self.over not in ("auto", "delay") and delays):
            raise ValueError(f"scheme '{self.scheme}' does not resample over '{self.over}'; leave one of them at auto")
        return self


class RunConfig(Settings):
    """Settings of a whole job: what is fitted, how, where it runs, and where the results go.

    Paths are relative to the folder in which the job is started.
    """

    inputs: tuple[str, ...] = Field(min_length=1)
    """Result files, folders or patterns, or one packed stack."""
    output: str = "fits.zarr"
    """Store of the results, ``.zarr`` or ``.nc``; the manifest is beside it, named after it."""
    model: str = "single"
    """A key of `MODELS`."""
    fit: FitConfig = FitConfig(detail="core")
    """How every curve is fitted; ``detail`` is core unless it is given."""
    bootstrap: BootstrapConfig | None = None
    """How the fits are resampled; null: they are not."""
    scheduler: str = "threads"
    """Where it runs, as `cluster.connect` reads it: sync, threads[:N], processes[:N], local[:N], tcp://HOST:PORT,
    tls://HOST:PORT, file:SCHEDULER.json, slurm[:PROFILE] or pbs[:PROFILE]."""
    cluster: Mapping[str, Setting] = Field(default_factory=dict)
    """Settings of that cluster by name, such as workers, memory, walltime (docs/cluster.md)."""
    chunks: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Files in one block."""
    memory: Annotated[int, Field(gt=0)] | str | None = None
    """Bytes that all tasks together may take, or a text such as 1GiB; null: what is free."""
    cache: bool | None = None
    """Keep fits of files by content and take them from there; null: with a bootstrap."""
    entry: str = ""
    """Which result of files that hold several."""
    delay_unit: str = ""
    """Unit of delays in tables that do not state it: s, ms, us or ns."""
    q_unit: str = ""
    """Unit of q in tables that do not: 1/angstrom, 1/nm or 1/m."""
    include: tuple[str, ...] = ()
    """Numbers of each file to keep, such as scan_number."""
    overwrite: bool = False
    """Replace results, and forget unfinished work, of other settings or inputs."""

    @field_validator("inputs", "include", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("inputs", "output", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        is_list = isinstance(value, list | tuple)
        return tuple(os.fspath(v) if isinstance(v, os.PathLike) else v for v in value) if is_list else value

    @field_validator("fit", mode="before")
    @classmethod
    def _core(cls, value: Any) -> Any:
        if isinstance(value, FitConfig):
            value = value.model_dump(exclude_unset=True)
        return {"detail": "core", **value} if isinstance(value, Mapping) else value

    @property
    def told(self) -> dict[str, str]:
        """What the files may not tell, as `open_g2` takes it."""
        return {"entry": self.entry, "delay_unit": self.delay_unit, "q_unit": self.q_unit}

    @property
    def cached(self) -> bool:
        """Whether the cache of results is used."""
        return self.bootstrap is not None if self.cache is None else self.cache
