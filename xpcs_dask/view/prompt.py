"""Widgets whose changes are heard at once."""

from __future__ import annotations

from typing import ClassVar

from panel.widgets import IntSlider as PanelSlider
from panel.widgets import Select as PanelSelect
from panel.widgets import TextInput as PanelText

__all__ = ["IntSlider", "Select", "TextInput"]


class Select(PanelSelect):  # type: ignore[misc]
    """A list to choose from."""

    _debounce: ClassVar[int] = 0
    """Panel waits 50 ms before it tells of a change, a quarter of what a refit may take."""


class TextInput(PanelText):  # type: ignore[misc]
    """A text to type."""

    _debounce: ClassVar[int] = 0


class IntSlider(PanelSlider):  # type: ignore[misc]
    """A whole number to slide to."""

    _debounce: ClassVar[int] = 0
