"""Ways along profiles of chi2: from the minimum outward until it has risen far enough, or the box ends.

The square root of the rise is nearly straight in the parameter: the end is looked for by secants, once it is passed
inside the bracket. Every fit starts from its neighbours. All walks go on together, and none looks at another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xpcs_dask.fitting.models import Floats
from xpcs_dask.fitting.profile_fits import Profiled

FOUND = 1e-6
"""Relative error of the root of the rise at which an end is taken."""
NARROW = 1e-7
"""A bracket narrower than this share of the way holds a jump, not a root."""
OUTWARD = 60
"""Steps after which an end that was not passed counts as open, where the box has none."""
STEPS = 200
ROUNDS = 5
STRAIGHT = 0.2
"""Ends whose distance differs by less than this (in its logarithm) from t standard errors are those of a parabola."""
LOWER = 1e-3
"""Share by which another minimum must undercut the root of the rise."""
GROWTH = 3.0
"""A step outward is at most this many times the way so far."""
CROSSING = 8.0
"""Steps that it takes at least to cross the box; a step of a relaxation time is at most a factor e."""


class Walk:
    """Ways (t,) from the minimum of `curve` along the parameter `held` (both (t,)) to the given `side`, +1 or -1.

    All curves have the same ways, and those of a curve follow each other.
    A place has the value v of the parameter, the root d of the rise of chi2, and the minimum z (t, q) there.
    """

    def __init__(
        self, fits: Profiled, curve: NDArray[np.intp], held: NDArray[np.intp], side: Floats, rise: Floats
    ) -> None:
        self.fits, self.curve, self.held, self.side, self.rise = fits, curve, held, side, rise
        self.edge = np.where(side > 0, fits.upper[held], fits.lower[held])
        with np.errstate(invalid="ignore"):
            self.reach = np.where(fits.times, 1.0, (fits.upper - fits.lower) / CROSSING)[held]
        self.z = fits.z[curve]
        """Minimum at the furthest place that is not beyond the end …"""
        self.v = np.take_along_axis(self.z, held[:, None], axis=1)[:, 0]
        self.d = np.zeros(len(curve))
        self.far_z, self.far_v, self.far_d = self.z.copy(), np.full(len(curve), np.nan), np.full(len(curve), np.inf)
        """… and the same for the nearest place beyond it; NaN while there is none."""
        self.origin = self.v.copy()
        self._look_along_covariance()
        self.bisect = np.zeros(len(curve), np.bool_)
        """Whether the last step inside a bracket did not halve it."""
        self.open = self.v == self.edge
        """Whether the end is open: the box ends first."""
        self.active = ~self.open & (rise > 0)

    @property
    def end(self) -> Floats:
        """Values where the walks ended."""
        return self.v

    def run(self) -> None:
        """Walk until all ends are found, and on from those that other minima of the curve show to be too near."""
        straight = self.rise / self.steepness
        self._walk()
        for _ in range(ROUNDS):
            with np.errstate(invalid="ignore", divide="ignore"):
                bent = ~(np.abs(np.log(np.abs(self.v - self.origin) / straight)) < STRAIGHT) & (self.rise > 0)
            curves = np.isin(self.curve, self.curve[bent])
            if not self._go_on(np.flatnonzero(curves & ~self.open)):
                return
            self._walk()

    def _walk(self) -> None:
        """Walk until all ends are found."""
        for step in range(STEPS):
            i = np.flatnonzero(self.active)
            if not i.size:
                return
            v, start = self._next(i)
            d, z = self._fit(i, v, start)
            self._learn(i, v, d, z)
            if step == OUTWARD:
                lost = self.active & np.isnan(self.far_v)
                self.open |= lost
                self.active &= ~lost

    def _fit(self, i: NDArray[np.intp], v: Floats, start: Floats) -> tuple[Floats, Floats]:
        """Root of the rise, infinite where there is no fit, and the minimum."""
        chi2, z = self.fits.fit(self.curve[i], self.held[i], v, start)
        with np.errstate(invalid="ignore"):
            d = np.sqrt(np.maximum(chi2 - self.fits.chi2[self.curve[i]], 0.0))
        return np.where(np.isfinite(d), d, np.inf), z

    def _go_on(self, i: NDArray[np.intp]) -> bool:
        """Fit the ends i again, from where the other walks of the same curve ended; go on where that is lower."""
        ways = int(np.searchsorted(self.curve, self.curve[0], side="right"))
        others = (i // ways * ways)[:, None] + np.arange(ways)
        again = np.repeat(i, ways)
        d, z = self._fit(again, self.v[again], self.z[others.ravel()])
        d = d.reshape(-1, ways)
        lowest = d.argmin(axis=1)
        d, z = d.min(axis=1), z.reshape(-1, ways, z.shape[1])[np.arange(i.size), lowest]
        lower = d < self.rise[i] * (1.0 - LOWER)
        on = i[lower]
        self.d[on], self.z[on], self.tangent[on] = d[lower], z[lower], 0.0
        self.far_v[on], self.origin[on], self.active[on] = np.nan, self.v[on], True
        return bool(on.size)

    def _look_along_covariance(self) -> None:
        """First direction: how steeply d rises and how z follows, a unit of v."""
        columns, variance = (self.fits.covariance[self.curve, k, self.held] for k in (slice(None), self.held))
        guess = np.where(np.isfinite(self.reach), 0.1 * self.reach, 0.1 * np.maximum(np.abs(self.v), 1e-3))
        with np.errstate(invalid="ignore", divide="ignore"):
            known = (variance > 0) & np.isfinite(variance)
            self.steepness = np.where(known, 1.0 / np.sqrt(variance), self.rise / guess)
            tangent = columns / variance[:, None]
        self.tangent = np.where(known[:, None] & np.isfinite(tangent), tangent, 0.0)

    def _next(self, i: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return values to try, and starts for the fits there."""
        v, d, side = self.v[i], self.d[i], self.side[i]
        missing = self.rise[i] - d
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            first = self.rise[i] / self.steepness[i]
            step = np.minimum(missing / self.steepness[i], self.reach[i])
            so_far = np.abs(v - self.origin[i])
            step = np.minimum(step, np.where(so_far > 0, GROWTH * so_far, first))
            outward = v + side * step
            outward = np.where((self.edge[i] - outward) * side <= 0, self.edge[i], outward)
            share = np.where(self.bisect[i], 0.5, missing / (self.far_d[i] - d))
            share = np.where(share > 0, share, 0.5)  # beyond, chi2 may be infinite
            inward = v + share * (self.far_v[i] - v)
        passed = ~np.isnan(self.far_v[i])
        ahead = self.z[i] + self.tangent[i] * (outward - v)[:, None]
        between = self.z[i] + share[:, None] * (self.far_z[i] - self.z[i])
        return np.where(passed, inward, outward), np.where(passed[:, None], between, ahead)

    def _learn(self, i: NDArray[np.intp], v: Floats, d: Floats, z: Floats) -> None:
        """Take what was found at v as the nearer or the farther place, and see whether it is the end."""
        width = np.abs(self.far_v[i] - self.v[i])
        inside = d < self.rise[i]
        near, far = i[inside], i[~inside]
        moved = v[inside] - self.v[near]
        with np.errstate(invalid="ignore", divide="ignore"):
            self.steepness[near] = np.maximum(d[inside] - self.d[near], 0.0) / np.abs(moved)
            tangent = (z[inside] - self.z[near]) / moved[:, None]
        self.tangent[near] = np.where(np.isfinite(tangent), tangent, 0.0)
        self.v[near], self.d[near], self.z[near] = v[inside], d[inside], z[inside]
        self.far_v[far], self.far_d[far], self.far_z[far] = v[~inside], d[~inside], z[~inside]
        now = np.abs(self.far_v[i] - self.v[i])
        self.bisect[i] = ~self.bisect[i] & (now > 0.5 * width)
        found = np.abs(d - self.rise[i]) <= FOUND * self.rise[i]
        self.v[i[found]] = v[found]
        self.open[i] = inside & ~found & (v == self.edge[i])
        narrow = now <= NARROW * np.abs(self.far_v[i] - self.origin[i])
        self.v[i[narrow & ~found]] = self.far_v[i[narrow & ~found]]
        self.active[i] = ~(found | narrow | self.open[i])
