"""Single curves with known truth, on delays of choice."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import Floats
from xpcs_dask.simulate.draws import normal, poisson, uniforms
from xpcs_dask.toolkit.models import double_exp, single_exp

STREAM = 7
"""Stream of the random numbers of these curves (simulated files and speckle have others)."""
TRUTH, NOISE, OUTLIERS = range(3)
"""What is drawn of one data set."""
FAR = (5.0, 20.0)
"""Distance of outliers in standard errors."""
NOISES = ("gaussian", "poisson", "mixed")

Function = Callable[..., Any]


def stretched_exp(x: Any, tau: float, bkg: float, cts: float, beta: float) -> Any:
    """``cts * exp(-2 (x / tau)^beta) + bkg``."""
    return cts * np.exp(-2.0 * (x / tau) ** beta) + bkg


def power_law_plus_exp(x: Any, tau: float, bkg: float, cts: float, amplitude: float, exponent: float) -> Any:
    """``cts * exp(-2 x / tau) + amplitude * (x / tau)^(-exponent) + bkg``."""
    return cts * np.exp(-2.0 * x / tau) + amplitude * (x / tau) ** (-exponent) + bkg


FORMS: MappingProxyType[str, Function] = MappingProxyType(
    {
        "single_exp": single_exp,
        "double_exp": double_exp,
        "stretched_exp": stretched_exp,
        "power_law_plus_exp": power_law_plus_exp,
    }
)
"""The function of each model: ``FORMS[model](tau, **truth)`` is the curve without noise."""


class SyntheticG2DataGenerator:
    """Curves with noise, and the parameters that they were made from.

    Parameters
    ----------
    random_state : int, optional
        Seed of a generator of its own (Philox; the global one is not touched): two generators with one seed make the
        same data sets in the same order. None is another seed each time, found in `seed`.

    Attributes
    ----------
    seed : int
    outliers : array of int
        Points of the last data set that were moved.
    clean : array
        The last data set without noise.
    """

    def __init__(self, random_state: int | None = None) -> None:
        fresh = np.random.SeedSequence().generate_state(1, np.uint64)[0]
        self.seed = int(fresh if random_state is None else random_state)
        self.count = 0
        self.outliers: NDArray[np.intp] = np.empty(0, np.intp)
        self.clean: Floats = np.empty(0)

    def generate_dataset(
        self,
        model_type: str = "single_exp",
        tau_range: tuple[float, float] = (1e-6, 1.0),
        n_points: int = 50,
        noise_type: str = "gaussian",
        noise_level: float = 0.02,
        systematic_error: bool = False,
        outlier_fraction: float = 0.0,
    ) -> tuple[Floats, Floats, Floats, dict[str, float]]:
        """Make the next data set.

        Parameters
        ----------
        model_type : {"single_exp", "double_exp", "stretched_exp", "power_law_plus_exp"}
        tau_range : (float, float)
            First and last delay, s; relaxation times lie well inside.
        n_points : int
            Delays, equally spaced in their logarithm.
        noise_type : {"gaussian", "poisson", "mixed"}
            gaussian: standard deviation `noise_level` times g2; poisson: counts, of which 1 / `noise_level`^2 make
            g2 = 1; mixed: half of the variance each.
        noise_level : float
            Relative standard deviation where g2 is 1; 0 makes a curve without noise, and errors of 0.
        systematic_error : bool
            Add a slow wave of three standard errors, which the errors do not tell of.
        outlier_fraction : float
            Share of the points that are moved by 5 to 20 standard errors, up or down.

        Returns
        -------
        tau, g2, g2_err : array, shape (n_points,)
            Delays in s, the curve, and its true standard errors (of the noise, not of what is wrong beside).
        truth : dict of str to float
            Parameters by the names that the function of the model (`FORMS`) has.

        Raises
        ------
        ConfigError
            For a model, noise, range, level or share that makes no sense.
        """
        form = _form(model_type, tau_range, n_points, noise_type, noise_level, outlier_fraction)
        number, self.count = self.count, self.count + 1
        tau = np.geomspace(*tau_range, n_points)
        truth = _truth(model_type, tau_range, self._uniforms(number, TRUTH, 8))
        self.clean = np.asarray(form(tau, **truth), dtype=np.float64)
        g2, g2_err = _noisy(self.clean, noise_type, noise_level, self._uniforms(number, NOISE, 2 * n_points))
        if systematic_error:
            phase = np.linspace(0.0, 2.0 * np.pi, n_points)
            g2 = g2 + 3.0 * g2_err * np.sin(phase)
        drawn = self._uniforms(number, OUTLIERS, 3 * n_points).reshape(3, n_points)
        self.outliers = np.sort(np.argsort(drawn[0])[: round(outlier_fraction * n_points)])
        away = np.where(drawn[1] < 0.5, -1.0, 1.0) * (FAR[0] + (FAR[1] - FAR[0]) * drawn[2]) * g2_err
        g2[self.outliers] += away[self.outliers]
        return tau, g2, g2_err, truth

    def _uniforms(self, number: int, what: int, size: int) -> Floats:
        """Return deviates that depend on the seed, the number of the data set and what they are for."""
        return uniforms(self.seed, STREAM, number, what, size)


def _form(
    model: str, tau_range: tuple[float, float], n_points: int, noise: str, level: float, share: float
) -> Function:
    """Return the function of a model; refuse what makes no sense."""
    if model not in FORMS:
        raise ConfigError(f"model_type is '{model}'; known are {', '.join(FORMS)}")
    if noise not in NOISES:
        raise ConfigError(f"noise_type is '{noise}'; known are {', '.join(NOISES)}")
    if not 0 < tau_range[0] < tau_range[1]:
        raise ConfigError(f"tau_range is {tuple(tau_range)}; give two delays above 0 s, the shorter first")
    if n_points < 2 or not level >= 0 or not 0 <= share < 1:
        raise ConfigError(
            f"n_points is {n_points}, noise_level {level}, outlier_fraction {share}; "
            "give at least 2, at least 0, and a share below 1"
        )
    return FORMS[model]


def _truth(model: str, tau_range: tuple[float, float], u: Floats) -> dict[str, float]:
    """Draw parameters: a relaxation time in the middle third of the decades, contrast 0.1 to 0.4, baseline near 1."""
    low, high = np.log(tau_range)
    tau = float(np.exp(low + (high - low) * (1.0 + u[0]) / 3.0))
    truth = {"tau": tau, "bkg": float(0.99 + 0.02 * u[1]), "cts": float(0.1 + 0.3 * u[2])}
    if model == "double_exp":
        apart = float(np.exp((high - low) * (0.15 + 0.1 * u[3])))
        share = 0.3 + 0.4 * float(u[4])
        return {
            "tau1": tau / np.sqrt(apart), "bkg": truth["bkg"], "cts1": share * truth["cts"],
            "tau2": tau * np.sqrt(apart), "cts2": (1.0 - share) * truth["cts"],
        }  # fmt: skip
    if model == "stretched_exp":
        return truth | {"beta": float(0.5 + 1.0 * u[3])}
    if model == "power_law_plus_exp":
        return truth | {"amplitude": float(truth["cts"] * (0.05 + 0.1 * u[3])), "exponent": float(0.05 + 0.1 * u[4])}
    return truth


def _noisy(clean: Floats, noise: str, level: float, u: Floats) -> tuple[Floats, Floats]:
    """Curve with noise, and the standard deviation of that."""
    if level == 0:
        return clean.copy(), np.zeros(clean.shape)
    share = {"gaussian": 0.0, "poisson": 1.0, "mixed": 0.5}[noise]
    first, second = u.reshape(2, -1)
    g2, variance = clean.copy(), np.zeros_like(clean)
    if share > 0:
        scale = 1.0 / (share * level**2)
        g2 = poisson(second, clean * scale) / scale
        variance += clean / scale
    if share < 1:
        spread = level * np.sqrt(1.0 - share) * clean
        g2 += spread * normal(first)
        variance += spread**2
    return g2, np.sqrt(variance)
