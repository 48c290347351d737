"""Beside pyXpcsViewer: `fit_g2` on every multi-tau file, what files hold, and speed."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tests.validation.cases import calls, multitau_files, short
from tests.validation.environment import VERSION, ask_viewer
from tests.validation.table import Row
from xpcs_dask.toolkit import XpcsFile
from xpcs_dask.toolkit.file_fits import fit_g2

VIEWER = f"pyXpcsViewer {VERSION}"
ABOVE = 1e-6
SAME = 1e-9
"""Relative difference of chi2 below which both are in the same minimum."""


def model(function: str, t: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Curves (nt, nq) of parameters (nq, p), written here once more."""
    a, b, c, d = (p[:, k] for k in range(4))
    t = t[:, None]
    with np.errstate(all="ignore"):
        if function == "single":
            return a * np.exp(-2 * (t / b) ** c) + d
        return a * (p[:, 6] * np.exp(-((t / b) ** c)) + (1 - p[:, 6]) * np.exp(-((t / p[:, 4]) ** p[:, 5]))) ** 2 + d


def chi2(function: str, answer: dict[str, Any], p: np.ndarray) -> np.ndarray:
    """Weighted sum of squares of each bin, with the data and errors that pyXpcsViewer fitted."""
    return np.sum(((answer["g2"] - model(function, answer["t_el"], p)) / answer["sigma"]) ** 2, axis=0)


def apart(found: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Largest relative difference of the parameters of each bin; two decays in either order."""
    orders = [known]
    if known.shape[1] == 7:
        orders.append(np.column_stack([known[:, [0, 4, 5, 3, 1, 2]], 1 - known[:, 6]]))
    with np.errstate(all="ignore"):
        off = [np.abs(found - one) / np.maximum(np.abs(one), 1e-300) for one in orders]
    return np.min(
        [np.where(found == one, 0.0, part).max(axis=1) for one, part in zip(orders, off, strict=True)], axis=0
    )


def jobs_of(files: list[Path], only: str = "") -> list[dict[str, Any]]:
    """All fits of these files; those of cases whose name starts with `only`."""
    jobs = []
    for path in files:
        q, t_el, *_ = XpcsFile(path).get_g2_data()
        jobs += [
            {"kind": "fit", "path": str(path), "case": name, **call}
            for name, call in calls(t_el, q)
            if name.startswith(only)
        ]
    return jobs


def our_fit(job: dict[str, Any]) -> Any:
    """Run the same call of ours."""
    ranges = {word: job[word] and tuple(job[word]) for word in ("q_range", "t_range")}
    return XpcsFile(job["path"]).fit_g2(**ranges, **{word: job[word] for word in ("bounds", "fit_flag", "fit_func")})


def compare_fits(python: Path, files: list[Path] | None = None, only: str = "") -> list[Row]:
    """One row a case, over all files."""
    jobs = jobs_of(multitau_files() if files is None else files, only)
    answers = ask_viewer(python, jobs)
    cases: dict[str, list[tuple[dict[str, Any], dict[str, Any], Any]]] = {}
    for job, answer in zip(jobs, answers, strict=True):
        cases.setdefault(job["case"], []).append((job, answer, our_fit(job)))
    rows = [_chi2_row(name, fits) for name, fits in cases.items()]
    everything = [fit for fits in cases.values() for fit in fits]
    return [*rows, *_summary_rows(everything)]


def _chi2_row(name: str, fits: list[tuple[dict[str, Any], dict[str, Any], Any]]) -> Row:
    """Bins in which ours is above, equal, or lower; only those that pyXpcsViewer fitted."""
    total = above = lower = close = same = few = recovered = 0
    notes = []
    for job, answer, ours in fits:
        value = np.asarray(ours["fit_val"])
        theirs = chi2(job["fit_func"], answer, answer["fit_val"][:, 0])
        found = chi2(job["fit_func"], answer, value[:, 0])
        done = answer["success"] & np.isfinite(theirs)
        free = sum(job["fit_flag"] or [True] * value.shape[2])
        points = np.isfinite(answer["g2"]).sum(axis=0)
        few += int((done & (points <= free)).sum())
        recovered += int((~answer["success"] & np.isfinite(found)).sum())
        done &= points > free
        ratio = np.where(done, found / np.where(theirs > 0, theirs, 1) - 1, 0.0)
        bad = done & ~(ratio <= ABOVE)
        total, above, lower = total + int(done.sum()), above + int(bad.sum()), lower + int((ratio < -ABOVE).sum())
        minimum = done & (np.abs(ratio) <= SAME)
        off = apart(value[:, 0], answer["fit_val"][:, 0])
        same += int(minimum.sum())
        close += int((minimum & (off <= 1e-4)).sum())
        notes += [f"{short(Path(job['path']))}, bin {k}: chi2 {ratio[k]:+.1e} relative" for k in np.flatnonzero(bad)]
    allowed = 0 if name.startswith("single") else int(0.01 * total)
    text = f"{above} above, {lower} lower; same minimum {same}, values to 1e-4 in {close}"
    text += f"; {few} with too few points left out" if few else ""
    text += f"; {recovered} more fitted than there" if recovered else ""
    return Row(
        f"fit_g2 chi2: {name}",
        VIEWER,
        total,
        text,
        f"<= {allowed} bins above by {ABOVE:g}",
        above <= allowed,
        tuple(notes),
    )


def _summary_rows(fits: list[tuple[dict[str, Any], dict[str, Any], Any]]) -> list[Row]:
    """Keys, ranges, labels, held values and drawn curves."""
    keys = sum(set(answer["keys"]) == set(ours) for _, answer, ours in fits)
    texts = sum(_told_alike(answer, ours) for _, answer, ours in fits)
    lines = sum(
        np.allclose(answer["fit_x"], ours["fit_line"][0]["fit_x"], rtol=1e-6)
        and set(answer["line_keys"]) <= set(ours["fit_line"][0])
        for _, answer, ours in fits
    )
    held = [
        np.allclose(np.asarray(ours["fit_val"])[:, 0, k], job["bounds"][1][k], rtol=0, atol=0)
        for job, _, ours in fits
        if job["fit_flag"]
        for k in np.flatnonzero(~np.array(job["fit_flag"]))
    ]
    n = len(fits)
    return [
        Row("fit_summary keys", VIEWER, n, f"{keys} of {n} the same", "all", keys == n),
        Row(
            "q, delays, labels, ranges and flags of the summary",
            VIEWER,
            n,
            f"{texts} of {n} the same",
            "all but q of bins without a pixel",
            texts == n,
        ),
        Row("fit_line: its delays and keys", VIEWER, n, f"{lines} of {n} the same", "all", lines == n),
        Row(
            "held parameters at their upper bound",
            "the bound",
            len(held),
            f"{sum(held)} of {len(held)}",
            "all",
            all(held),
        ),
    ]


def _told_alike(answer: dict[str, Any], ours: Any) -> bool:
    """Whether two summaries name the same; q of bins without a pixel, which pyXpcsViewer lists too, left out."""
    q_alike = answer["q_val"].size > len(answer["fit_val"]) or np.array_equal(answer["q_val"], ours["q_val"])
    return (
        all(answer[name] == ours[name] for name in ("q_range", "t_range", "fit_flag"))
        and list(ours["label"])[: len(answer["label"])] == answer["label"][: len(ours["label"])]
        and q_alike
        and np.shape(answer["t_el"]) == ours["t_el"].shape
        and np.allclose(answer["t_el"], ours["t_el"], rtol=1e-7)
    )


class Arrays:
    """What `fit_g2` needs of a file."""

    label, fit_summary, fname = "", None, ""

    def __init__(self, t_el: np.ndarray, g2: np.ndarray, sigma: np.ndarray) -> None:
        self.data = (np.arange(g2.shape[1]) + 1.0, t_el, g2, sigma, [""] * g2.shape[1])

    def get_g2_data(self, qrange: Any = None, trange: Any = None) -> tuple[Any, ...]:
        """Return all of it."""
        return self.data


def compare_speed(python: Path, counts: tuple[int, ...] = (500, 5000)) -> list[Row]:
    """CPU time a bin of fits, each program in one process on one thread, reading excluded; ours is a median of 5."""
    jobs = [_curves(name, count) for name in ("single", "double") for count in counts]
    limits = {500: 100.0, 5000: 300.0}
    rows = []
    for job, answer in zip(jobs, ask_viewer(python, jobs), strict=True):
        settings = {"bounds": job["bounds"], "fit_func": job["fit_func"]}
        few = Arrays(job["t_el"], job["g2"][:, :4], job["sigma"][:, :4])
        np.asarray(fit_g2(few, **settings)["fit_line"])  # import and compile
        taken = []
        for _ in range(5):
            begin = time.process_time()
            found = fit_g2(Arrays(job["t_el"], job["g2"], job["sigma"]), **settings)
            value = np.asarray(found["fit_val"])
            np.asarray(found["fit_line"])
            taken.append(time.process_time() - begin)
            assert value.shape == answer["fit_val"].shape
        spent, count = median(taken), job["g2"].shape[1]
        ratio, limit = answer["seconds"] / spent, limits.get(count, 0.0)
        text = f"{1e6 * spent / count:.1f} beside {1e6 * answer['seconds'] / count:.0f} us a bin: {ratio:.0f} x faster"
        what = f"fit_g2 {job['fit_func']}, CPU time"
        rows.append(Row(what, VIEWER, count, text, f">= {limit:g} x", ratio >= limit))
    return rows


def _curves(name: str, count: int) -> dict[str, Any]:
    """Simulated curves of so many bins, and bounds around them."""
    rng = np.random.default_rng(0)
    t_el = np.geomspace(2e-5, 1.0, 61)
    contrast, tau = rng.uniform(0.1, 0.3, count), 10 ** rng.uniform(-4, -1, count)
    stretch, baseline = rng.uniform(0.7, 1.3, count), rng.normal(1, 0.002, count)
    p, bounds = [contrast, tau, stretch, baseline], [[0.0, 2e-6, 0.1, 0.5], [1.0, 10.0, 3.0, 1.5]]
    if name == "double":
        p += [tau * rng.uniform(5, 100, count), rng.uniform(0.7, 1.3, count), rng.uniform(0.3, 0.7, count)]
        bounds = [[*bounds[0], 2e-6, 0.1, 0.0], [*bounds[1], 10.0, 3.0, 1.0]]
    sigma = np.broadcast_to(0.003 * (1 + 2 * np.sqrt(t_el))[:, None], (61, count)).copy()
    g2 = model(name, t_el, np.stack(p, axis=1)) + sigma * rng.standard_normal((61, count))
    return {"kind": "speed", "t_el": t_el, "g2": g2, "sigma": sigma, "bounds": bounds, "fit_func": name}
