"""Scales of the MM estimate (Tukey's biweight), for the compiled kernel and for the NumPy ladder.

In standard deviations of Gaussian noise. Holland and Welsch, Commun. Stat. A 6, 813 (1977).
"""

from __future__ import annotations

CAUCHY_95, BIWEIGHT_95 = 2.385, 4.685
"""Scales of the two losses at which Gaussian noise costs 5 % of the efficiency."""
MAD_TO_SIGMA = 1.4826
"""Standard deviation of Gaussian noise over its median absolute deviation."""
