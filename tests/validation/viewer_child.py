"""Run by the Python that has pyXpcsViewer: does what jobs.json asks, writes what it answers.

Each job has ``kind``: "fit" (path, q_range, t_range, bounds, fit_flag, fit_func, perhaps tauq), "data" (path), or
"speed" (t_el, g2, sigma, bounds, fit_func). Nothing of the package is imported here.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pyxpcsviewer.core.fitting import build_g2_fit_summary
from pyxpcsviewer.core.xpcs_file import XpcsFile

ATTRIBUTES = (
    "tau", "g2", "g2_err", "t_el", "t0", "t1", "g2_t0", "Int_t", "saxs_2d", "Iqp", "dqlist", "sqlist", "dqmap", "sqmap",
    "mask", "bcx", "bcy", "det_dist", "pixel_size", "X_energy",
)  # fmt: skip
FILES = {}


def opened(path):
    if path not in FILES:
        FILES[path] = XpcsFile(path)
    return FILES[path]


def summary(found, tauq):
    """Arrays and names of a fit summary."""
    lines = found["fit_line"]
    arrays = {
        "fit_val": found["fit_val"],
        "success": np.array([line["success"] for line in lines]),
        "fit_x": lines[0]["fit_x"],
        "fit_y": np.array([np.full(128, np.nan) if line["fit_y"] is None else line["fit_y"] for line in lines]),
        "t_el": found["t_el"],
        "q_val": np.asarray(found["q_val"]),
    }
    if tauq and found.get("tauq_success"):
        arrays |= {name: np.asarray(found[name]) for name in ("tauq_q", "tauq_tau", "tauq_tau_err", "tauq_fit_val")}
    told = {"keys": list(found), "line_keys": sorted(lines[0]), "label": list(found["label"]),
            "q_range": found["q_range"], "t_range": found["t_range"], "fit_flag": found["fit_flag"]}  # fmt: skip
    return arrays, told


def fit(job):
    xf = opened(job["path"])
    ranges = {name: tuple(job[name]) if job.get(name) else None for name in ("q_range", "t_range")}
    begin = time.process_time()
    found = xf.fit_g2(bounds=job["bounds"], fit_flag=job.get("fit_flag"), fit_func=job["fit_func"], **ranges)
    spent = time.process_time() - begin
    info, failure = xf.get_fitting_info("g2_fitting"), ""
    if job.get("tauq"):
        try:
            xf.fit_tauq(**job["tauq"])
        except IndexError as error:  # q of empty bins is counted there, their g2 is not
            failure = str(error)
    arrays, told = summary(found, job.get("tauq"))
    _, _, g2, sigma, _ = xf.get_g2_data(qrange=ranges["q_range"], trange=ranges["t_range"])
    told |= {"seconds": spent, "info_keys": list(info), "info": [str(text) for text in info["fit_val"]],
             "tauq_info": str(xf.get_fitting_info("tauq_fitting")), "tauq_error": failure}  # fmt: skip
    return arrays | {"g2": g2, "sigma": sigma}, told


def data(job):
    xf = opened(job["path"])
    arrays = {name: np.asarray(getattr(xf, name)) for name in ATTRIBUTES}
    arrays |= {f"saxs_1d_{name}": np.asarray(value) for name, value in xf.saxs_1d.items() if name in ("q", "Iq", "phi")}
    q, t_el, g2, sigma, labels = xf.get_g2_data()
    arrays |= {"all_q": q, "all_t_el": t_el, "all_g2": g2, "all_g2_err": sigma}
    told = {"labels": labels, "label": xf.label, "atype": list(xf.atype), "start_time": str(xf.start_time),
            "saxs_labels": [str(label) for label in xf.saxs_1d.get("labels", [])]}  # fmt: skip
    if xf.g2_partial is not None:
        q, t_el, g2, sigma, labels, _ = xf.get_g2_stability_data()
        arrays |= {"partial_q": q, "partial_g2": g2, "partial_err": sigma}
        told |= {"partial_labels": labels}
    return arrays, told


def speed(job):
    nq = job["g2"].shape[1]
    begin = time.process_time()
    found = build_g2_fit_summary(
        np.arange(nq) + 1.0, job["t_el"], job["g2"], job["sigma"], [""] * nq, job["bounds"], None, job["fit_func"]
    )
    return {"fit_val": found["fit_val"]}, {"seconds": time.process_time() - begin}


def main(folder):
    jobs = json.loads(Path(folder, "jobs.json").read_text())
    with np.load(Path(folder, "jobs.npz")) as given:
        for name in given.files:
            k, _, key = name.partition("/")
            jobs[int(k)][key] = given[name]
    arrays, answers = {}, []
    for k, job in enumerate(jobs):
        found, told = {"fit": fit, "data": data, "speed": speed}[job["kind"]](job)
        arrays |= {f"{k}/{name}": value for name, value in found.items()}
        answers.append({**told, "version": version("xpcs-viewer")})
    np.savez(Path(folder, "answers.npz"), **arrays)
    Path(folder, "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
