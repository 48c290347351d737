"""What one person looks at: file, q bin, settings, points left out; and what is shown of it. Free of any page."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.fitting.models import by_name
from xpcs_dask.prepare import known
from xpcs_dask.view.choices import Choices
from xpcs_dask.view.drawing import HAND, OUTLIER, Drawn, Overview, curve, overview, raw_curve
from xpcs_dask.view.refit import Excluded, Refit
from xpcs_dask.view.sources import Entry, Missing, Opened, Origin, settings_of
from xpcs_dask.view.state import REFIT, STORE, UNREAD, UNSTORED, State, disagreement, goodness, lines_of
from xpcs_dask.view.words import flags_in_words, rests_on, status_in_words

__all__ = ["Session"]


class Session:
    """State of one page.

    Parameters
    ----------
    opened : Opened
        Shared by all pages; nothing of it is changed.
    """

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.entry: Entry = opened.entries[0]
        self.curves: xr.Dataset | None = None
        self.origin: Origin | None = None
        self.stored: xr.Dataset | None = None
        self.choices, self.stored_choices = Choices(), None  # type: tuple[Choices, Choices | None]
        self.excluded: Excluded = frozenset()
        self.bin = 0
        self.missing = ""
        self.found: Refit | None = None
        self._agreement = ""
        self._chosen = False
        self.select_file(0)

    def select_file(self, number: int) -> None:
        """Show another file; settings that were chosen stay, points that were left out do not."""
        self.entry = self.opened.entries[number]
        label = self._label()
        self.found, self.excluded, self._agreement, self.missing = None, frozenset(), "", ""
        self.stored = None if self.entry.stored is None else self.entry.stored.load()
        before = self.stored_choices
        self.stored_choices = None if self.stored is None else Choices.of(*settings_of(self.stored))
        if self.stored_choices is not None and self.choices in (before, Choices()) and not self._chosen:
            self.choices = self.stored_choices
        try:
            self.curves, self.origin = self.entry.read()
        except Missing as error:
            self.curves, self.origin, self.missing = None, None, str(error)
        self.bin = self._nearest(label)

    def select_bin(self, number: int) -> None:
        """Show another q bin, by position."""
        self.bin = min(max(number, 0), self.bins - 1)

    def choose(self, **changes: Any) -> None:
        """Change settings: fields of `Choices`."""
        self.choices, self._chosen = replace(self.choices, **changes), True

    def choose_text(self, what: str, name: str, text: str) -> None:
        """Change a bound or a held value: `what` is low, high or held."""
        self.choices, self._chosen = self.choices.with_text(what, name, text), True

    def toggle(self, delays: Iterable[int], everywhere: bool = False) -> None:
        """Leave points of this q bin (or of all bins) out, or take them back if all of them are left out.

        Points that are not used anyhow, by a rule or the delay range, stay as they are.
        """
        shown = self.curve()
        if shown is None:
            return
        delays = [k for k in delays if shown.used[k] or shown.why[k] == HAND or OUTLIER in shown.why[k]]
        bins = range(self.bins) if everywhere else [self.bin]
        points = {(bin_, delay) for bin_ in bins for delay in delays}
        self.excluded = self.excluded - points if points <= self.excluded else self.excluded | points

    def take_back(self) -> None:
        """Leave no point out by hand."""
        self.excluded = frozenset()

    def as_stored(self) -> None:
        """Go back to the settings of the store, or to those by default."""
        self.choices, self._chosen, self.excluded = self.stored_choices or Choices(), False, frozenset()

    def take(self, found: Refit) -> None:
        """Show a fit that was made of the present curves."""
        if self.stored is not None and found.choices == self.stored_choices and not found.excluded:
            self._agreement = disagreement(self.stored, found)
        self.found = found

    @property
    def base(self) -> xr.Dataset:
        """What tells the q bins: curves, or without them the results of the store."""
        if self.curves is not None:
            return self.curves
        assert self.stored is not None
        return self.stored

    @property
    def bins(self) -> int:
        """How many q bins there are."""
        return self.base.sizes.get("qbin", 1)

    @property
    def is_stored(self) -> bool:
        """Whether the settings are those of the store, and all points are there."""
        return self.stored_choices is not None and self.choices == self.stored_choices and not self.excluded

    @property
    def can_fit(self) -> bool:
        """Whether there are curves, and a model that is known."""
        return self.curves is not None and by_name(self.choices.model) is not None

    @property
    def level(self) -> float:
        """Coverage of the intervals and the band that are shown."""
        if self.found is not None:
            return self.found.config.level
        return self.choices.base.level

    def spoken_bin(self, number: int | None = None) -> str:
        """Name a q bin: its label, q and azimuth."""
        number = self.bin if number is None else number
        base = self.base
        text = f"q bin {known(base['qbin'])[number]}" if "qbin" in base.coords else f"q bin {number + 1}"
        for name, unit in (("q", "1/Å"), ("phi", "°")):
            values = known(base[name]) if name in base.coords and base[name].dims == ("qbin",) else np.full(1, np.nan)
            if len(np.unique(values[np.isfinite(values)])) > 1 and np.isfinite(values[number]):
                text += f", {name} = {values[number]:.4g} {unit}"
        return text

    def curve(self) -> Drawn | None:
        """Return the curve that is shown; None without data."""
        if self.curves is None:
            return None
        if self.found is None:
            return raw_curve(self.curves, self.bin)
        return curve(self.curves, self.found, self.bin, self.level)

    def overview(self, name: str) -> Overview:
        """One parameter of all q bins."""
        results = self.found.results if self.found is not None and not self._shows_store else None
        return overview(results, self.stored, self.base, name)

    def names(self) -> tuple[str, ...]:
        """Names of the parameters that are shown."""
        shown = self._shown()
        return () if shown is None else tuple(str(name) for name in shown["parameter"].values)

    def state(self) -> State:
        """Say in words and numbers what is known of the curve that is shown."""
        notes = [self.missing] if self.missing else []
        if self._shows_store and self._agreement:
            notes.append(self._agreement)
        if self.curves is not None and by_name(self.choices.model) is None:
            notes.append(
                f"The store was fitted with '{self.choices.model}', a function of its user: choose a model to fit."
            )
        shown = self._shown()
        if shown is None:
            return State(source=UNREAD, notes=tuple(notes))
        source = STORE if self._shows_store else REFIT if self.stored is not None else UNSTORED
        own = self._of_bin(shown)
        if own is None:
            return State(source=source, notes=(*notes, "This q bin was not fitted: it is outside the q range."))
        return State(
            source=source,
            notes=tuple(notes),
            status=status_in_words(int(own["status"])),
            flags=tuple(flags_in_words(int(own["flags"]))),
            lines=tuple(lines_of(own, self._before(), self._held())),
            goodness=goodness(own),
            rests_on=rests_on(int(own["errors_from"])) if "errors_from" in own else "",
        )

    @property
    def _shows_store(self) -> bool:
        """Whether the numbers that are shown are those of the store."""
        if self.stored is None:
            return False
        if self.found is None:
            return True
        return self.found.choices == self.stored_choices and not self.found.excluded

    def _shown(self) -> xr.Dataset | None:
        return self.stored if self._shows_store else None if self.found is None else self.found.results

    def _of_bin(self, results: xr.Dataset) -> xr.Dataset | None:
        if "qbin" not in results.dims:
            return results
        if "qbin" not in self.base.coords:
            return results.isel(qbin=self.bin)
        place = np.flatnonzero(known(results["qbin"]) == known(self.base["qbin"])[self.bin])
        return results.isel(qbin=int(place[0])) if place.size else None

    def _before(self) -> xr.Dataset | None:
        """Results of this q bin in the store, where something else is shown."""
        return None if self.stored is None or self._shows_store else self._of_bin(self.stored)

    def _held(self) -> Collection[str]:
        """Names of the parameters that were held in what is shown."""
        if self._shows_store:
            assert self.stored_choices is not None
            return [name for name, text in self.stored_choices.held.items() if text]
        return self.found.config.fixed if self.found is not None else ()

    def _label(self) -> Any:
        """Label of the q bin that is shown, to find it again in another file; None at first."""
        if (self.curves is None and self.stored is None) or "qbin" not in self.base.coords:
            return None
        return known(self.base["qbin"])[self.bin]

    def _nearest(self, label: Any) -> int:
        if label is None:
            return self.bins // 2
        labels: NDArray[Any] = known(self.base["qbin"]) if "qbin" in self.base.coords else np.arange(self.bins)
        return int(np.argmin(np.abs(labels - label)))
