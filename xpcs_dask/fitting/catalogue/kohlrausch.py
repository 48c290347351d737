"""One or two decays of the form of Kohlrausch, Williams and Watts: the models that compiled kernels fit."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from xpcs_dask.fitting.catalogue.siegert import BASELINE, CONTRAST, Grid, stretch, tau, times_over
from xpcs_dask.fitting.model_record import Floats, Model, Parameter


def _single(x: Floats, contrast: Any, tau: Any, stretch: Any, baseline: Any) -> Any:
    return baseline + contrast * np.exp(-2.0 * (x / tau) ** stretch)


def _single_jacobian(x: Floats, contrast: float, tau: float, stretch: float, baseline: float) -> Floats:
    with np.errstate(divide="ignore"):
        log = np.log(x / tau)
    power = np.exp(stretch * log)
    decay = np.exp(-2.0 * power)
    slope = 2.0 * contrast * decay * power
    with np.errstate(invalid="ignore"):
        bend = -np.where(slope != 0, slope * log, 0.0)
    return np.stack(np.broadcast_arrays(decay, slope * stretch / tau, bend, np.ones_like(x)), axis=-1)


def _simple(x: Floats, contrast: Any, tau: Any, baseline: Any) -> Any:
    return baseline + contrast * np.exp(-2.0 * x / tau)


def _simple_jacobian(x: Floats, contrast: float, tau: float, baseline: float) -> Floats:
    return _single_jacobian(x, contrast, tau, 1.0, baseline)[..., [0, 1, 3]]


def _double(
    x: Floats, contrast: Any, tau1: Any, stretch1: Any, baseline: Any, tau2: Any, stretch2: Any, fraction: Any
) -> Any:
    g1 = fraction * np.exp(-((x / tau1) ** stretch1)) + (1.0 - fraction) * np.exp(-((x / tau2) ** stretch2))
    return baseline + contrast * g1**2


def _double_jacobian(
    x: Floats,
    contrast: float,
    tau1: float,
    stretch1: float,
    baseline: float,
    tau2: float,
    stretch2: float,
    fraction: float,
) -> Floats:
    with np.errstate(divide="ignore"):
        log1, log2 = np.log(x / tau1), np.log(x / tau2)
    power1, power2 = np.exp(stretch1 * log1), np.exp(stretch2 * log2)
    fast, slow = np.exp(-power1), np.exp(-power2)
    g1 = fraction * fast + (1.0 - fraction) * slow
    outer = 2.0 * contrast * g1
    slope1, slope2 = outer * fraction * fast * power1, outer * (1.0 - fraction) * slow * power2
    columns = [
        g1 * g1,
        slope1 * stretch1 / tau1,
        -np.where(slope1 != 0, slope1 * log1, 0.0),
        np.ones_like(x),
        slope2 * stretch2 / tau2,
        -np.where(slope2 != 0, slope2 * log2, 0.0),
        outer * (fast - slow),
    ]
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def _pairs(x: Floats) -> Floats:
    """Shapes of two decays to start from."""
    times = times_over(x, 12)
    rows = [(1.0, fast, 1.0, 0.0, slow, 1.0, f) for fast, slow, f in product(times, times, (0.3, 0.5, 0.7))]
    return np.array(rows)


SIMPLE = Model(
    name="simple",
    formula="baseline + contrast * exp(-2 * t / tau)",
    parameters=(CONTRAST, tau(), BASELINE),
    evaluate=_simple,
    jacobian=_simple_jacobian,
    grid=Grid(),
    family="single",
    held=(("stretch", 1.0),),
    source="A. J. F. Siegert, MIT Radiation Laboratory Report 465 (1943); "
    "B. J. Berne and R. Pecora, Dynamic Light Scattering (1976)",
)

SINGLE = Model(
    name="single",
    formula="baseline + contrast * exp(-2 * (t / tau)**stretch)",
    parameters=(CONTRAST, tau(), stretch(), BASELINE),
    evaluate=_single,
    jacobian=_single_jacobian,
    grid=Grid(((0.5, 1.0, 1.7),)),
    family="single",
    source="G. Williams and D. C. Watts, Trans. Faraday Soc. 66, 80 (1970)",
)

DOUBLE = Model(
    name="double",
    formula="baseline + contrast * (fraction * exp(-(t / tau1)**stretch1) "
    "+ (1 - fraction) * exp(-(t / tau2)**stretch2))**2",
    parameters=(
        CONTRAST,
        tau("tau1", "relaxation time of the first (faster) component"),
        stretch("stretch1"),
        BASELINE,
        tau("tau2", "relaxation time of the second (slower) component"),
        stretch("stretch2"),
        Parameter(name="fraction", lower=0.0, upper=1.0, description="share of the first component in g1"),
    ),
    evaluate=_double,
    jacobian=_double_jacobian,
    grid=_pairs,
    starts=3,
    family="double",
    source="B. J. Berne and R. Pecora, Dynamic Light Scattering (1976)",
)


def _gaussian(x: Floats, contrast: Any, tau: Any, baseline: Any) -> Any:
    return baseline + contrast * np.exp(-((x / tau) ** 2))


def _gaussian_jacobian(x: Floats, contrast: Any, tau: Any, baseline: Any) -> Floats:
    square = (x / tau) ** 2
    decay = np.exp(-square)
    return np.stack(np.broadcast_arrays(decay, 2.0 * contrast * decay * square / tau, np.ones_like(x)), axis=-1)


BALLISTIC = Model(
    name="ballistic",
    formula="baseline + contrast * exp(-(t / tau)**2)",
    parameters=(CONTRAST, tau(what="1 / (q v), v the root-mean-square velocity along q"), BASELINE),
    evaluate=_gaussian,
    jacobian=_gaussian_jacobian,
    grid=Grid(),
    family="single",
    held=(("stretch", 2.0),),
    kernel_time=2.0**0.5,
    source="L. Cipelletti et al., Faraday Discuss. 123, 237 (2003)",
)

LEVY = Model(
    name="levy",
    formula="baseline + contrast * exp(-2 * (t / tau)**index)",
    parameters=(
        CONTRAST,
        tau(what="1 / (q V), V the width of the distribution of velocities"),
        stretch("index", "Levy index of the velocities", lower=1.0, upper=2.0, kernel="stretch"),
        BASELINE,
    ),
    evaluate=_single,
    jacobian=_single_jacobian,
    grid=Grid(((1.0, 1.5, 2.0),)),
    family="single",
    source="L. Cipelletti et al., Phys. Rev. Lett. 84, 2275 (2000); "
    "J.-P. Bouchaud and E. Pitard, Eur. Phys. J. E 6, 231 (2001)",
)

ANOMALOUS = Model(
    name="anomalous",
    formula="baseline + contrast * exp(-2 * (t / tau)**alpha)",
    parameters=(
        CONTRAST,
        tau(what="(q^2 D_alpha)^(-1/alpha)"),
        stretch("alpha", "exponent of the mean-square displacement", upper=2.0, kernel="stretch"),
        BASELINE,
    ),
    evaluate=_single,
    jacobian=_single_jacobian,
    grid=Grid(((0.5, 1.0, 1.7),)),
    family="single",
    source="R. Metzler and J. Klafter, Phys. Rep. 339, 1 (2000)",
)
