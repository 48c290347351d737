"""Beside pyXpcsViewer: what `XpcsFile` hands out of every multi-tau file, and tau(q) of its fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.validation.against_viewer import VIEWER, our_fit
from tests.validation.cases import calls, multitau_files, short
from tests.validation.environment import ask_viewer
from tests.validation.table import Row
from xpcs_dask.toolkit import XpcsFile

NAMES = (
    "tau", "g2", "t_el", "t0", "t1", "g2_t0", "Int_t", "saxs_2d", "Iqp", "dqlist", "sqlist", "dqmap", "sqmap", "mask",
    "bcx", "bcy", "det_dist", "pixel_size", "X_energy",
)  # fmt: skip

OTHERWISE = {"X_energy": "told: here the energy with which the q-map was made, there that of /entry"}
"""What is read from another place on purpose: averaged files of APS disagree with themselves."""


def same(ours: Any, theirs: Any) -> bool:
    """Whether two arrays are equal to rounding of single precision."""
    a, b = np.squeeze(np.asarray(ours)), np.squeeze(np.asarray(theirs))
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=0, equal_nan=True)


def lists_empty_bins(answer: dict[str, Any]) -> bool:
    """Whether pyXpcsViewer has a q for bins of the map that hold no pixel, and so have no g2."""
    return len(answer["all_q"]) > answer["all_g2"].shape[1]


def compare_data(python: Path) -> list[Row]:
    """One row an attribute or accessor."""
    files = multitau_files()
    answers = ask_viewer(python, [{"kind": "data", "path": str(path)} for path in files])
    held: dict[str, list[tuple[bool, str]]] = {}
    for path, answer in zip(files, answers, strict=True):
        for name, good in _checks(XpcsFile(str(path)), answer):
            held.setdefault(name, []).append((good, short(path)))
    rows = []
    for name, found in held.items():
        bad = tuple(path for good, path in found if not good)
        text = f"{len(found) - len(bad)} of {len(found)} files the same"
        told = OTHERWISE.get(name.removeprefix("XpcsFile."))
        rows.append(Row(name, VIEWER, len(found), text, told or "all", None if told else not bad, bad))
    return [*rows, *compare_tau_q(python, files)]


def _checks(xf: XpcsFile, answer: dict[str, Any]) -> list[tuple[str, bool]]:
    found = [(f"XpcsFile.{name}", same(getattr(xf, name), answer[name])) for name in NAMES]
    q, t_el, g2, error, labels = xf.get_g2_data()
    q_alike = same(q, answer["all_q"]) or lists_empty_bins(answer)
    found += [
        ("XpcsFile.correct_g2_err of stored errors", same(xf.correct_g2_err(error), answer["all_g2_err"])),
        (
            "XpcsFile.get_g2_data",
            q_alike and same(t_el, answer["all_t_el"]) and same(g2, answer["all_g2"]),
        ),
        ("labels of get_g2_data", list(labels) == answer["labels"]),
        ("XpcsFile.label", xf.label == answer["label"]),
        ("XpcsFile.saxs_1d", all(same(xf.saxs_1d[name], answer[f"saxs_1d_{name}"]) for name in ("q", "Iq"))),
    ]
    if "partial_g2" in answer:
        _, _, g2, error, labels, _ = xf.get_g2_stability_data()
        good = same(g2, answer["partial_g2"]) and same(error, answer["partial_err"])
        found.append(("XpcsFile.get_g2_stability_data", good and list(labels) == answer["partial_labels"]))
    return found


def compare_tau_q(python: Path, files: list[Path]) -> list[Row]:
    """Laws that `fit_tauq` gives for the relaxation times that pyXpcsViewer fitted."""
    jobs = []
    for path in files:
        q, t_el, *_ = XpcsFile(str(path)).get_g2_data()
        call = dict(calls(t_el, q))["single, stretch and baseline held"]
        law = {"q_range": [float(q.min()), float(q.max())], "bounds": [[1e-20, -6.0], [1e10, 0.0]]}
        jobs.append({"kind": "fit", "path": str(path), "tauq": {**law, "fit_flag": [True, True]}, **call})
    off, notes = [], []
    for job, answer in zip(jobs, ask_viewer(python, jobs), strict=True):
        name = short(Path(job["path"]))
        if "tauq_fit_val" not in answer:
            notes.append(f"{name}: pyXpcsViewer fits none; {answer['tauq_error'] or 'no time has an error'}")
            continue
        xf = XpcsFile(job["path"])
        xf.fit_summary = {**our_fit(job), "fit_val": answer["fit_val"], "q_val": answer["q_val"]}
        ours, theirs = xf.fit_tauq(**job["tauq"])["tauq_fit_val"], answer["tauq_fit_val"]
        off.append(abs(ours[0, 1] - theirs[0, 1]) / max(theirs[1, 1], 1e-12))
        pair = [f"{fit[0, 1]:.3f} +- {fit[1, 1]:.3f}" for fit in (ours, theirs)]
        notes.append(f"{name}: exponent {pair[0]} of ln tau, there {pair[1]} of tau")
    text = f"exponents differ by {np.median(off):.2f} of their errors (median)"
    return [
        Row("fit_tauq of the same times", VIEWER, len(off), text, "told: here ln tau is fitted", None, tuple(notes))
    ]
