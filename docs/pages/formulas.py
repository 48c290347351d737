"""Formulas as MathML, which browsers set by themselves: no script, and none from another host."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml


def inline(visitor: Any, node: nodes.math) -> None:
    """Write a formula inside a line."""
    visitor.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block(visitor: Any, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    visitor.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode
