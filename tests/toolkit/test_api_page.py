"""`docs/toolkit_api.md` names all that `xpcs_dask.toolkit` exports, with the signatures that it has."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from xpcs_dask import toolkit

PAGE = (Path(__file__).parents[2] / "docs" / "toolkit_api.md").read_text()
ALONE = ("_perform_robust_g2_fitting", "_fallback_standard_fit")
"""Methods that scripts call although their names begin with an underscore."""


class Bare(str):
    """An annotation as it was written, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def signature_of(name, function, bound=False):
    """Return ``name(parameters) -> annotation`` as `inspect.signature` tells it; without what is bound already."""
    found = inspect.signature(function)
    given = list(found.parameters.values())[int(bound) :]
    given = [p if p.annotation is p.empty else p.replace(annotation=Bare(p.annotation)) for p in given]
    returned = found.return_annotation
    returned = found.empty if inspect.isclass(function) or returned is found.empty else Bare(returned)
    return name + str(found.replace(parameters=given, return_annotation=returned))


def parts_of(cls):
    """Return the public methods of a class with their signatures, and the names of its other public attributes."""
    methods, others = {}, []
    for name in dir(cls):
        if name.startswith("_") and name not in ALONE:
            continue
        part = inspect.getattr_static(cls, name)
        if callable(getattr(cls, name)):
            bound = not isinstance(part, staticmethod | classmethod)
            methods[name] = signature_of(name, getattr(cls, name), bound)
        else:
            others.append(name)
    return methods, others


def sections(text):
    """Return the text below each heading of a name, with single spaces."""
    parts = re.split(r"^### `(\w+)`.*\n", text, flags=re.M)
    return {name: " ".join(body.split("\n## ")[0].split()) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


SECTIONS = sections(PAGE)


def test_the_page_has_the_names_of_the_package():
    assert sorted(SECTIONS) == sorted(toolkit.__all__)


@pytest.mark.parametrize("name", toolkit.__all__)
def test_signatures(name):
    found = getattr(toolkit, name)
    if inspect.ismodule(found):
        assert set(re.findall(r"`(\w+)`", SECTIONS[name])) == set(found.__all__)
        return
    assert f"`{signature_of(name, found)}`" in SECTIONS[name]
    if not inspect.isclass(found):
        return
    methods, others = parts_of(found)
    listed = re.findall(r"(?:^| )- `(.*?)`: ", SECTIONS[name])
    assert sorted(listed) == sorted(methods.values())
    for other in others:
        assert f"`{other}`" in SECTIONS[name]
