"""Every name of the XPCS Toolkit is there with its parameters, their order and their defaults.

Only names of parameters, order, kinds and defaults are compared, not annotations; parameters that can only be given by
keyword may be added. `tests/data/toolkit_signatures.txt` is the list.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from dataclasses import dataclass

import pytest
from conftest import carried

from xpcs_dask import toolkit

PLACES = {"module/g2mod.py": "xpcs_dask.toolkit.g2mod"}
"""Modules of the original that users import by name; all other names are in `xpcs_dask.toolkit` itself."""
DECORATORS = {"@staticmethod": staticmethod, "@classmethod": classmethod, "@property": property}


@dataclass(frozen=True)
class Known:
    """One line of the list."""

    place: str
    owner: str
    name: str
    decorator: str
    parameters: tuple[tuple[str, str, object], ...]
    """Name, kind and default of each."""

    def __str__(self):
        return ".".join(part for part in (self.owner, self.name) if part)


def parameters_of(text):
    """Parameters of ``name(...) -> annotation`` as name, kind and default."""
    arguments = ast.parse(f"def {text}: ...").body[0].args
    names = [a.arg for a in arguments.args]
    defaults = [ast.literal_eval(d) for d in arguments.defaults]
    found = [(n, "plain", inspect.Parameter.empty) for n in names[: len(names) - len(defaults)]]
    found += [(n, "plain", d) for n, d in zip(names[len(found) :], defaults, strict=True)]
    for kind, star in (("*", arguments.vararg), ("**", arguments.kwarg)):
        found += [(star.arg, kind, inspect.Parameter.empty)] if star else []
    return tuple(found)


def read(text):
    """All functions and methods of the list, and the classes with their bases."""
    functions, classes = [], {}
    place = owner = ""
    for line in filter(str.strip, text.splitlines()):
        words = line.strip()
        if line.startswith("# "):
            place, owner = line[2:].strip(), ""
        elif line.startswith("class "):
            owner, _, bases = words.removeprefix("class ").partition("(")
            classes[owner] = [base for base in bases.rstrip("):").split(",") if base]
        else:
            owner = "" if line.startswith("def ") else owner
            words = words.removeprefix("def ")
            decorator, _, rest = words.partition(" ") if words.startswith("@") else ("", "", words)
            functions.append(Known(place, owner, rest.partition("(")[0], decorator, parameters_of(rest)))
    return functions, classes


FUNCTIONS, CLASSES = read(carried("toolkit_signatures.txt").read_text())


def lookup(name, place=""):
    where = importlib.import_module(PLACES.get(place, "xpcs_dask.toolkit"))
    assert hasattr(where, name), f"{where.__name__} lacks {name}"
    return getattr(where, name)


def found_parameters(function, drop_first):
    """Return what `parameters_of` tells, of a function; those that are only given by keyword apart."""
    every = list(inspect.signature(function).parameters.values())[1 if drop_first else 0 :]
    kinds = {"POSITIONAL_OR_KEYWORD": "plain", "VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    plain = tuple(
        (p.name, kinds.get(p.kind.name, p.kind.name), p.default) for p in every if p.kind is not p.KEYWORD_ONLY
    )
    return plain, [p for p in every if p.kind is p.KEYWORD_ONLY]


def test_the_list_is_read_whole():
    lines = [line for line in carried("toolkit_signatures.txt").read_text().splitlines() if line[:2] != "# "]
    assert len(CLASSES) == sum(line.startswith("class ") for line in lines) == 21
    assert len(FUNCTIONS) == len(lines) - len(CLASSES) == 144
    known = next(one for one in FUNCTIONS if one.name == "fit_g2")
    assert known.owner == "XpcsFile"
    assert known.parameters[-2:] == (("diagnostic_level", "plain", "standard"), ("bootstrap_samples", "plain", None))


@pytest.mark.parametrize("known", FUNCTIONS, ids=str)
def test_signature(known):
    owner = lookup(known.owner) if known.owner else None
    if owner is None:
        function = lookup(known.name, known.place)
    else:
        assert hasattr(owner, known.name), f"{known.owner} lacks {known.name}"
        function = inspect.getattr_static(owner, known.name)
    kind = DECORATORS.get(known.decorator)
    if kind is not None:
        assert isinstance(function, kind), f"{known} is no {known.decorator[1:]}"
        function = function.fget if kind is property else function.__func__
    elif owner is not None:
        assert inspect.isfunction(function), f"{known} is no plain method"
    first = owner is not None and kind is not staticmethod
    wanted = known.parameters[1 if first else 0 :]
    found, added = found_parameters(function, first)
    assert [name for name, _, _ in found] == [name for name, _, _ in wanted], known
    assert found == wanted, known
    assert all(p.default is not p.empty for p in added), f"{known}: an added parameter has no default"


@pytest.mark.parametrize(("name", "bases"), CLASSES.items())
def test_class(name, bases):
    found = lookup(name)
    assert inspect.isclass(found)
    for base in bases:
        assert issubclass(found, lookup(base))


def test_every_name_is_exported():
    names = {one.name for one in FUNCTIONS if not one.owner} | set(CLASSES)
    missing = sorted(name for name in names if not hasattr(toolkit, name))
    assert not missing, f"xpcs_dask.toolkit lacks {', '.join(missing)}"
    hidden = sorted(names - set(toolkit.__all__))
    assert not hidden, f"xpcs_dask.toolkit.__all__ lacks {', '.join(hidden)}"
