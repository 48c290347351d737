"""Curves with known truth: multi-tau g2 of diffusing particles, with the noise and the wrong errors of real results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.simulate import noise
from xpcs_dask.simulate.dataset import Acquisition, Bins, Truth, dataset
from xpcs_dask.simulate.draws import normal, poisson, uniforms
from xpcs_dask.simulate.multitau import Schedule, schedule

Floats: TypeAlias = NDArray[np.float64]
Counting: TypeAlias = Literal["gaussian", "poisson"]

DIFFUSING = ("simple", "single", "double")
"""Models that can be simulated."""
G2_STREAM = 1
"""Stream of the random numbers of curves (speckle frames have others)."""


def curves(
    n_files: int = 1,
    q: ArrayLike | None = None,
    phi: ArrayLike | None = None,
    *,
    model: Literal["simple", "single", "double"] = "single",
    frames: int = 100_000,
    frame_time: float = 2e-5,
    stride: int = 1,
    average: int = 1,
    diffusion: ArrayLike = 1e6,
    contrast: ArrayLike = 0.2,
    stretch: ArrayLike = 1.0,
    baseline: ArrayLike = 1.0,
    ratio: ArrayLike = 30.0,
    fraction: ArrayLike = 0.5,
    pixels: ArrayLike = 1000,
    counts: ArrayLike = 0.05,
    counting: Counting = "gaussian",
    first_file: int = 0,
    qbin: Sequence[int] | None = None,
    seed: int = 0,
) -> xr.Dataset:
    r"""Simulate g2 of `n_files` runs with the schedule of boost-corr, and the truth beside.

    Relaxation times are :math:`\tau = 1/(D q^2)`; the model ``double`` has ``tau1 = tau`` and ``tau2 = ratio * tau``.
    Noise is the sum of counting noise (variance g2 / expected coincidences, independent between delays) and speckle
    noise (theory for a finite run; a Markov chain along the delays: the correlation of neighbours is right, those
    farther away are approximate). The quoted error is the scatter over pixels with its own sampling error; it collapses
    where few products are left and is exactly 0 at the last delay of bright runs. Channel averaging and the bias of
    finite runs are not simulated; `xpcs_dask.simulate.speckle` has them.

    Parameters
    ----------
    n_files
        Runs; run k of a long series equals run 0 of ``first_file=k``.
    q, phi
        Wavevector (1/angstrom) and azimuth (degree) of each bin, ``(qbin,)``. Default: 12 bins, 0.003 to 0.03, phi 0.
    model
        Name of the fitted model that is exactly true.
    frames, frame_time, stride, average
        Raw frames of a run, s between them, and how they were thinned and averaged before correlation.
    diffusion
        Diffusion coefficient, angstrom^2/s. It and the following values broadcast to ``(file, qbin)``.
    contrast, stretch, baseline, ratio, fraction
        The other parameters of the model, for those that have them; `stretch` is that of every component.
    pixels, counts
        Pixels of a bin and mean counts per pixel and raw frame.
    counting
        ``"poisson"`` draws whole coincidences: starved bins then have ``g2 = g2_err = 0`` as real ones do.
    first_file, qbin
        Identity of the first run and of the bins (default 1, 2, ...): with `seed`, what random numbers are keyed by.
    seed
        Of the data set.

    Returns
    -------
    xarray.Dataset
        ``g2``, ``g2_err`` float32 ``(file, qbin, delay)`` with the coordinates that a reader gives;
        ``true_value(file, qbin, parameter)``, ``true_g2``, ``true_diffusion``, ``counts``. In memory, eager.

    Raises
    ------
    ConfigError
        For an unknown model or counting, shapes that do not broadcast, or values that mean nothing.
    """
    bins = bins_of(q, phi, qbin)
    shape = (n_files, bins.q.size)
    values = {
        name: spread(name, value, shape)
        for name, value in {
            "diffusion": diffusion,
            "contrast": contrast,
            "stretch": stretch,
            "baseline": baseline,
            "ratio": ratio,
            "fraction": fraction,
            "pixels": pixels,
            "counts": counts,
        }.items()
    }
    if model not in DIFFUSING:
        raise ConfigError(f"unknown model '{model}'; known models are {', '.join(DIFFUSING)}")
    if counting not in ("gaussian", "poisson"):
        raise ConfigError(f"unknown counting '{counting}'; known are gaussian, poisson")
    taken = acquisition(frames, frame_time, stride, average)
    plan = schedule(taken.frames)
    truth = Truth(
        model=model,
        value=_parameters(model, bins.q, values),
        diffusion=values["diffusion"],
        pixels=values["pixels"],
        counts=values["counts"],
    )
    words = _words(seed, range(first_file, first_file + n_files), bins, 3 * plan.delay.size)
    g2, err = _measure(words.reshape(*shape, 3, -1), plan, taken, truth, counting=counting)
    return dataset(g2, err, plan=plan, taken=taken, truth=truth, bins=bins, first_file=first_file, seed=seed)


def bins_of(q: ArrayLike | None, phi: ArrayLike | None, qbin: Sequence[int] | None) -> Bins:
    """Return the bins that a user's q, phi and labels describe, checked."""
    values = np.atleast_1d(np.asarray(np.geomspace(0.003, 0.03, 12) if q is None else q, np.float64))
    if values.ndim != 1 or not (values > 0).all():
        raise ConfigError(
            f"q must be one-dimensional and above 0; it has shape {values.shape}, minimum {values.min():g}"
        )
    azimuth = np.broadcast_to(np.asarray(0.0 if phi is None else phi, np.float64), values.shape)
    labels = np.arange(1, values.size + 1) if qbin is None else np.asarray(qbin, np.int64)
    if labels.shape != values.shape:
        raise ConfigError(f"qbin has {labels.size} labels for {values.size} values of q")
    return Bins(q=values, phi=azimuth, label=labels)


def acquisition(frames: int, frame_time: float, stride: int, average: int) -> Acquisition:
    """Return how the frames were taken, checked."""
    if stride < 1 or average < 1 or not frame_time > 0:
        raise ConfigError(
            f"stride {stride} and average {average} must be at least 1, frame_time {frame_time:g} s above 0"
        )
    return Acquisition(raw_frames=frames, frame_time=frame_time, stride=stride, average=average)


def spread(name: str, value: ArrayLike, shape: tuple[int, int]) -> Floats:
    """Return a quantity for every (file, qbin); only a contrast and a fraction may be 0."""
    if 0 in shape:
        raise ConfigError(f"n_files is {shape[0]}; it must be at least 1")
    array = np.asarray(value, np.float64)
    try:
        array = np.broadcast_to(array, shape)
    except ValueError:
        raise ConfigError(
            f"{name} has shape {array.shape}; it must broadcast to (file, qbin) = {shape}, e.g. ({shape[0]}, 1)"
        ) from None
    if not (array > 0).all() and not ((array >= 0).all() and name in ("contrast", "fraction")):
        raise ConfigError(f"{name} must be above 0; its smallest value is {array.min():g}")
    return array


def _parameters(model: str, q: Floats, values: dict[str, Floats]) -> Floats:
    """Return true parameters ``(file, qbin, parameter)`` in the order of the model."""
    tau = 1.0 / (values["diffusion"] * q**2)
    known = {**values, "tau": tau, "tau1": tau, "tau2": values["ratio"] * tau}
    known |= {"stretch1": values["stretch"], "stretch2": values["stretch"]}
    return np.stack([known[name] for name in MODELS[model].names], axis=-1)


def _evaluate(truth: Truth, x: NDArray[np.floating]) -> Floats:
    """Return the true g2 ``(file, qbin, x)``."""
    return np.asarray(MODELS[truth.model].evaluate(x, *np.moveaxis(truth.value, -1, 0)[..., None]), np.float64)


def _memory(truth: Truth, taken: Acquisition) -> Floats:
    """Return the tau (in correlated frames) of the exponential with the same integral of ``|g1|**2`` over the run."""
    grid = np.geomspace(1e-3 * taken.step, taken.frames * taken.step, 600, dtype=np.float64)
    names = MODELS[truth.model].names
    unit = truth.value.copy()
    unit[..., names.index("contrast")], unit[..., names.index("baseline")] = 1.0, 0.0
    area = np.trapezoid(_evaluate(replace(truth, value=unit), grid), grid, axis=-1) + grid[0]
    return np.asarray(2.0 * area / taken.step, np.float64)


def _words(seed: int, files: range, bins: Bins, size: int) -> Floats:
    """Return uniform deviates ``(file, qbin, size)``, each curve's own."""
    return np.array([[uniforms(seed, G2_STREAM, k, int(label), size) for label in bins.label] for k in files])


def _measure(
    words: Floats, plan: Schedule, taken: Acquisition, truth: Truth, *, counting: Counting
) -> tuple[Floats, Floats]:
    """Return noisy g2 and its quoted error ``(file, qbin, delay)`` from uniform deviates ``(file, qbin, 3, delay)``."""
    clean = _evaluate(truth, plan.delay * taken.step)
    contrast = truth.value[..., MODELS[truth.model].index("contrast")]
    counts = truth.counts * taken.average
    variance, correlation = noise.speckle(plan, contrast, _memory(truth, taken), truth.pixels, counts)
    g2 = clean + np.sqrt(variance) * noise.walk(normal(words[:, :, 0]), correlation)
    expected = noise.coincidences(plan, truth.pixels, counts)
    share = variance / (variance + clean / expected)
    shared = correlation * np.sqrt(share[..., 1:] * share[..., :-1])
    sampled = noise.scatter_estimate(noise.walk(normal(words[:, :, 1]), shared**2), truth.pixels)
    speckle_seen, counting_seen = noise.collapse(plan)
    if counting == "poisson":
        events = poisson(words[:, :, 2], expected * np.maximum(g2, 0.0))
        g2 = events / expected
        quoted = np.where(events > 0, variance * speckle_seen + events / expected**2 * counting_seen, 0.0)
    else:
        g2 = g2 + np.sqrt(clean / expected) * normal(words[:, :, 2])
        quoted = variance * speckle_seen + clean / expected * counting_seen
    bright = (plan.n_products == 1) & (counts[..., None] * np.exp2(plan.level) > noise.SATURATED)
    return g2, np.where(bright, 0.0, np.sqrt(quoted * sampled))
