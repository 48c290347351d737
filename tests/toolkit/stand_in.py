"""What the fits need of an `XpcsFile`, with curves that a test makes up."""

from __future__ import annotations

import numpy as np


class StandIn:
    """Columns of g2 with q, delays and labels; errors as stored."""

    def __init__(self, t_el, g2, g2_err, q=None):
        self.t_el, self.g2, self.g2_err = np.asarray(t_el), np.asarray(g2), np.asarray(g2_err)
        self.q = np.linspace(0.002, 0.01, self.g2.shape[1]) if q is None else np.asarray(q)
        self.label, self.fit_summary = "made up", None

    def get_g2_data(self, qrange=None, trange=None):
        low, high = qrange or (-np.inf, np.inf)
        first, last = trange or (-np.inf, np.inf)
        bins, delays = (self.q >= low) & (self.q <= high), (self.t_el >= first) & (self.t_el <= last)
        labels = [f"qbin={k + 1}, q={self.q[k]:.4f}" for k in np.flatnonzero(bins)]
        return self.q[bins], self.t_el[delays], self.g2[delays][:, bins], self.g2_err[delays][:, bins], labels


def decays(bins=12, delays=48, noise=0.003, seed=1, diffusion=4e5, stretch=1.0):
    """Diffusion with known truth: tau = 1 / (D q^2), contrast 0.2, baseline 1."""
    rng = np.random.default_rng(seed)
    t_el, q = np.geomspace(1e-5, 3.0, delays), np.linspace(0.003, 0.03, bins)
    clean = 1 + 0.2 * np.exp(-2 * (t_el[:, None] * diffusion * q**2) ** stretch)
    return StandIn(t_el, clean + noise * rng.standard_normal(clean.shape), np.full(clean.shape, noise), q)
