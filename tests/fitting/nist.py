"""NIST's statistical reference data sets for nonlinear regression: the files, and how many digits a fit has right."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FUNCTIONS = {"exp": np.exp, "cos": np.cos, "sin": np.sin, "arctan": np.arctan, "pi": np.pi, "__builtins__": {}}
EXCHANGE = {
    # Components that may come in any order: the certified values name one of them.
    "Lanczos1": ((0, 1), (2, 3), (4, 5)),
    "Lanczos2": ((0, 1), (2, 3), (4, 5)),
    "Lanczos3": ((0, 1), (2, 3), (4, 5)),
    "MGH17": ((1, 3), (2, 4)),
    "Gauss1": ((2, 3, 4), (5, 6, 7)),
    "Gauss2": ((2, 3, 4), (5, 6, 7)),
    "Gauss3": ((2, 3, 4), (5, 6, 7)),
    "ENSO": ((3, 4, 5), (6, 7, 8)),
}


@dataclass(frozen=True)
class Reference:
    """One certified problem."""

    name: str
    function: Callable[..., Any]
    names: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    starts: np.ndarray
    value: np.ndarray
    stderr: np.ndarray
    chi2: float


def read(path: Path) -> Reference:
    """Parse one .dat file; the model is compiled from the formula that stands in it."""
    lines = path.read_text().splitlines()
    text = "\n".join(lines[:60])
    table = re.findall(r"^\s*(b\d)\s*=\s*(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s*$", text, re.M)
    names = tuple(row[0] for row in table)
    numbers = np.array([[float(v) for v in row[1:]] for row in table])
    rows = np.array([[float(v) for v in line.split()] for line in lines[60:] if line.strip()])
    formula = re.search(r"^\s*(?:y|log\[y\])\s*=(.*?)\+\s*e\s*$", text, re.M | re.S)
    residual = re.search(r"Residual Sum of Squares:\s*(\S+)", text)
    assert formula is not None
    assert residual is not None
    y, predictors = rows[:, 0], rows[:, 1:].T
    return Reference(
        name=path.stem,
        function=_compile(formula.group(1), names, path.stem),
        names=names,
        x=predictors if len(predictors) > 1 else predictors[0],
        y=np.log(y) if "log[y]" in text else y,
        starts=numbers[:, :2].T,
        value=numbers[:, 2],
        stderr=numbers[:, 3],
        chi2=float(residual.group(1)),
    )


def _compile(formula: str, names: tuple[str, ...], name: str) -> Callable[..., Any]:
    body = " ".join(formula.replace("[", "(").replace("]", ")").split())
    if "x1" in body:
        body = body.replace("x1", "x[0]").replace("x2", "x[1]")
    function = eval(f"lambda x, {', '.join(names)}: {body}", dict(FUNCTIONS))
    function.__name__ = name
    return function


def digits(found: np.ndarray, certified: np.ndarray) -> float:
    """Smallest number of correct digits (log relative error) over parameters, 11 at most."""
    with np.errstate(divide="ignore", invalid="ignore"):
        lre = -np.log10(np.abs(found - certified) / np.abs(certified))
    return float(np.nan_to_num(np.minimum(lre, 11.0), nan=0.0).min())


def arranged(reference: Reference, found: np.ndarray) -> np.ndarray:
    """Order of the parameters, components exchanged, that comes closest to the certified one."""
    groups = EXCHANGE.get(reference.name)
    if groups is None:
        return np.arange(found.size)
    best = np.arange(found.size)
    for order in itertools.permutations(groups):
        index = np.arange(found.size)
        index[list(itertools.chain(*groups))] = list(itertools.chain(*order))
        if digits(found[index], reference.value) > digits(found[best], reference.value):
            best = index
    return best


def box(reference: Reference, factor: float = 100.0) -> dict[str, tuple[float, float]]:
    """Bounds a factor to either side of the certified values, on their side of zero."""
    sides = np.sort(np.stack([reference.value / factor, reference.value * factor]), axis=0)
    return {name: (float(low), float(high)) for name, low, high in zip(reference.names, *sides, strict=True)}
