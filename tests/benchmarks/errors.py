"""What the error model is worth: ``python -m tests.benchmarks.errors [--experiments N] [--json FILE]``.

Prints, for docs/errors.md: RMSE of ln tau on simulated speckle over that with the true sigma of every delay; false
alarms on noise and detection of decays; cost a curve; and, where they are, what happens on real files.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import xpcs_dask as xd
from tests.conftest import carried, shared
from xpcs_dask.fitting import error_model
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.simulate import speckle
from xpcs_dask.simulate.multitau import schedule

FRAMES, TAU = 4096, 41.0
"""Of the simulated runs: a hundred relaxation times, in frames."""
CELLS = [(pixels, counts) for counts in (2.0, 0.15, 0.01) for pixels in (12, 64, 1000)]


def experiments(pixels: int, counts: float, number: int, seed: int = 0, modes: int = 4) -> xr.Dataset:
    """Independent runs of one bin of partially coherent speckle."""
    diffusion = 1.0 / (TAU * 1e-3 * 0.01**2)
    return speckle(number, frames=FRAMES, diffusion=diffusion, pixels=pixels, counts=counts, modes=modes, seed=seed)


def speckle_cell(data: xr.Dataset) -> dict[str, Any]:
    """RMSE of ln tau over that with the true sigma, which is the standard deviation over the experiments."""
    truth = np.log(data["true_value"].sel(parameter="tau").values)
    g2 = data["g2"].values.astype(np.float64)
    sigma = np.broadcast_to(g2.std(axis=0, ddof=1), g2.shape)
    oracle = xd.fit_curves(data["delay"].values, g2, sigma, "simple")
    found = {"oracle": (oracle.value, oracle.status)}
    for errors in ("auto", "smoothed", "quoted"):
        fits = xd.fit(data, "simple", errors=errors)
        found[errors] = (fits["value"].values, fits["status"].values)
    fitted = np.logical_and.reduce([status == Status.CONVERGED for _, status in found.values()])
    rmse = {}
    for name, (value, _) in found.items():
        off = (np.log(value[..., 1]) - truth)[fitted]
        rmse[name] = float(np.sqrt(np.mean(off**2)))
    lost = {name: int((status != Status.CONVERGED).sum()) for name, (_, status) in found.items()}
    ratio = {name: value / rmse["oracle"] for name, value in rmse.items()}
    return {"compared": int(fitted.sum()), "rmse_oracle": rmse["oracle"], "ratio": ratio, "not_fitted": lost}


def noise(
    kind: str, number: int, coincidences: float, *, contrast: float = 0.0, told: bool = True, seed: int = 0
) -> dict[str, float]:
    """Share of curves that can be used, and in which a decay is seen; g2 from expected coincidences at delay 1.

    ``"gaussian"``: normal with the counting variance; ``"poisson"``: counts over their expectation. `told` is whether
    the rate is known.
    """
    plan = schedule(FRAMES)
    rng = np.random.default_rng([seed, int(coincidences * 1000)])
    share = plan.n_products / 4.0 ** -plan.level.astype(float)
    rate = coincidences / plan.n_products[0]
    expected = rate * share
    true = 1.0 + contrast * np.exp(-2.0 * plan.delay / TAU)
    if kind == "poisson":
        g2 = rng.poisson(expected * true, (number, share.size)) / expected
    else:
        g2 = true + rng.standard_normal((number, share.size)) * np.sqrt(true / expected)
    counting = error_model.Counting.of(number, share.size, plan.n_products[None], rate if told else None)
    found = error_model.model_errors(g2, None, counting, error_model.grid(plan.delay, plan.level)).curves
    usable = (found & Flag.UNUSABLE) == 0
    seen = usable & ((found & Flag.NO_SIGNAL) == 0)
    summed = contrast**2 * expected[plan.delay <= TAU].sum()
    return {"information": float(summed), "usable": float(usable.mean()), "seen": float(seen.mean())}


def cost(number: int = 20_000, rounds: int = 9) -> dict[str, float]:
    """CPU time of the error model a curve, us; medians of the compiled form and of NumPy, in turn, 61 delays."""
    plan = schedule(100_000)
    rng = np.random.default_rng(0)
    g2 = 1.0 + 0.2 * np.exp(-2.0 * plan.delay / rng.uniform(3, 3000, (number, 1)))
    err = 1e-3 * np.exp(rng.standard_normal(g2.shape) / 8)
    counting = error_model.Counting.of(number, g2.shape[1], plan.n_products[None], 1e3, 100.0)
    shared_grid = error_model.grid(plan.delay, plan.level)
    lift = error_model.chi2_lift(counting.pixels)
    from xpcs_dask.fitting.kernel.weigh import weigh

    times: dict[str, list[float]] = {"compiled": [], "numpy": []}
    weigh(g2[:1], err[:1], error_model.Counting.of(1, 61, plan.n_products[None], 1e3, 100.0), lift[:1], shared_grid, 4,
          counts=True)  # fmt: skip
    for _ in range(rounds):
        for name, form in (("compiled", weigh), ("numpy", error_model.twin_errors)):
            begun = time.process_time()
            form(g2, err, counting, lift, shared_grid, 4, counts=True)
            times[name].append((time.process_time() - begun) / number * 1e6)
    return {name: float(np.median(values)) for name, values in times.items()}


def opened(path: Path) -> xr.Dataset:
    """One file, read."""
    data = xd.open_g2(path, chunks=None)
    assert isinstance(data, xr.Dataset)
    return data


def without_last(data: xr.Dataset, errors: str, drop: int) -> Any:
    """(value, stderr) of ln tau with the last `drop` used delays of every curve left out; errors as with all."""
    points = xd.quality(data, errors=errors)
    sigma = points["sigma"].values
    used = np.isfinite(sigma)
    rank = np.cumsum(used[..., ::-1], axis=-1)[..., ::-1]
    sigma = np.where(used & (rank > drop), sigma, np.nan)
    fits = xd.fit_curves(data["delay"].values, data["g2"].values.astype(np.float64), sigma, "simple")
    good = fits.status == Status.CONVERGED
    return (
        np.where(good, a, np.nan)[0] for a in (np.log(fits.value[..., 1]), fits.stderr[..., 1] / fits.value[..., 1])
    )


def real_file(path: Path, errors: str = "auto") -> dict[str, Any]:
    """What the weights do on one file: flags, reduced chi2, largest share of one point, shifts of ln tau."""
    data = opened(path)
    fits, points = xd.fit(data, "simple", errors=errors), xd.quality(data, errors=errors)
    weight = np.nan_to_num(1.0 / points["sigma"].values) ** 2
    share = weight.max(axis=-1) / np.maximum(weight.sum(axis=-1), 1e-300)
    flags, status = fits["flags"].values, fits["status"].values
    fitted = status == Status.CONVERGED
    ln_tau, error = without_last(data, errors, 0)
    shifts = [np.abs(next(iter(without_last(data, errors, n))) - ln_tau) / error for n in (1, 2, 3)]
    return {
        "flags": flags[0],
        "fitted": fitted[0],
        "reduced_chi2": fits["reduced_chi2"].values[0],
        "share": share[0],
        "shifts": np.array(shifts),
        "ln_tau": ln_tau,
        "collapsed": ((points["quality"].values & PointFlag.ERROR_COLLAPSE) > 0).sum(axis=-1)[0],
    }


def signal(found: dict[str, Any]) -> Any:
    """Bins with a decay that noise does not make."""
    return found["fitted"] & ((found["flags"] & (Flag.NO_SIGNAL | Flag.WEAK | Flag.UNUSABLE)) == 0)


def coverage(data: xr.Dataset, model: str) -> dict[str, float]:
    """How often 1.96 standard errors of ln tau cover the truth, %, by kind of covariance."""
    truth = np.log(data["true_value"].sel(parameter="tau").values)
    found = {}
    for kind in ("wald", "hc3", "theory"):
        fits = xd.fit(data, model, covariance=kind)
        value, error = (fits[name].sel(parameter="tau").values for name in ("value", "stderr"))
        off = np.abs(np.log(value) - truth) * value / error
        found[kind] = float(100 * np.mean(off[np.isfinite(off)] < 1.96))
    return found


def draw(path: Path, number: int = 200) -> None:
    """True, quoted and chosen sigma over the delay on simulated speckle, in three brightnesses."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    for axes, counts in zip(figure.subplots(1, 3), (2.0, 0.15, 0.01), strict=True):
        data = experiments(64, counts, number)
        delay = data["delay"].values
        true = data["g2"].values.astype(float).std(axis=0, ddof=1)[0]
        quoted = data["g2_err"].where(data["g2_err"] > 0).values[:, 0]
        chosen = xd.quality(data)["sigma"].values[:, 0]
        axes.plot(delay, true, "k-", lw=2, label="scatter between runs")
        for values, color, name in ((quoted, "C1", "quoted"), (chosen, "C0", "auto")):
            low, middle, high = np.nanpercentile(values, (16, 50, 84), axis=0)
            axes.plot(delay, middle, color=color, label=name)
            axes.fill_between(delay, low, high, color=color, alpha=0.25, lw=0)
        axes.set(xscale="log", yscale="log", xlabel="delay (s)", title=f"64 pixels, {counts:g} photons per frame")
    figure.axes[0].set_ylabel("error of g2")
    figure.axes[0].legend()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Print everything, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--noise", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="draw only")
    parser.add_argument("--coverage", action="store_true", help="standard errors of tau only")
    choice = parser.parse_args()
    if choice.coverage:
        for modes in (4, 1):
            for pixels, counts, number in ((12, 2.0, 1000), (12, 0.15, 1000), (64, 2.0, 600), (64, 0.15, 600)):
                data = experiments(pixels, counts, number, seed=23, modes=modes)
                print(1 / modes, pixels, counts, {model: coverage(data, model) for model in ("simple", "single")})
        return
    if choice.plot:
        draw(choice.plot)
        return
    report: dict[str, Any] = {"cost_us": cost()}
    print(report, flush=True)
    for kind in ("gaussian", "poisson"):
        for n in (0.1, 1.0, 10.0, 100.0, 1e4):
            for told in (True, False):
                name = f"null {kind} {n:g}{'' if told else ', rate unknown'}"
                report[name] = noise(kind, choice.noise, n, told=told)
                print(name, report[name], flush=True)
    for n in (100.0, 200.0, 400.0, 1000.0):
        report[f"decay {n:g}"] = noise("poisson", choice.noise, n, contrast=0.25)
        print("decay", n, report[f"decay {n:g}"], flush=True)
    for path in [
        *sorted(shared("aps").glob("*.hdf")),
        carried("boost_corr/S0007_starved_a0014_f008192_r00001_results.hdf"),
    ]:
        for errors in ("quoted", "auto"):
            found = real_file(path, errors)
            seen = found["fitted"] & ((found["flags"] & Flag.NO_SIGNAL) == 0)
            fast = seen & ((found["flags"] & Flag.SLOW) == 0)
            moved = np.median(found["shifts"][:, fast], axis=1) if fast.any() else "-"
            print(
                f"{path.name[:24]} {errors}: fitted {found['fitted'].sum()}, seen {seen.sum()}, fast {fast.sum()}, "
                f"chi2_red {np.nanmedian(found['reduced_chi2']):.3g}, share {np.median(found['share']):.2f}, "
                f"shifts {moved}",
                flush=True,
            )
    for pixels, counts in CELLS:
        number = choice.experiments if pixels < 1000 else choice.experiments // 2
        report[f"speckle {pixels} {counts:g}"] = cell = speckle_cell(experiments(pixels, counts, number))
        print(pixels, counts, json.dumps(cell), flush=True)
    if choice.json:
        choice.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
