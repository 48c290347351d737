"""Points of a sample, or of the residuals of a curve, that do not belong to the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.kernel.scales import MAD_TO_SIGMA
from xpcs_dask.toolkit.diffusion_models import Function

__all__ = ["OutlierDetection"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class OutlierDetection:
    """Several rules for outliers: each returns True where a value is one; so is what is no finite number."""

    def __init__(self) -> None:
        self.methods: dict[str, Callable[..., Mask]] = {
            "iqr": self.detect_outliers_iqr,
            "mad": self.detect_outliers_mad,
            "zscore": self.detect_outliers_zscore,
            "isolation_forest": self.detect_outliers_isolation_forest,
        }

    @staticmethod
    def detect_outliers_iqr(data: ArrayLike, k: float = 1.5) -> Mask:
        """Flag what lies more than k interquartile ranges outside of the quartiles (Tukey 1977)."""
        values, known = _known(data)
        if not known.size:
            return ~np.isfinite(values)
        low, high = np.percentile(known, [25, 75])
        room = k * (high - low)
        return ~((values >= low - room) & (values <= high + room))

    @staticmethod
    def detect_outliers_mad(data: ArrayLike, threshold: float = 3.5) -> Mask:
        """Flag what lies more than `threshold` robust standard deviations, 1.4826 MAD, off the median [1]_.

        References
        ----------
        .. [1] B. Iglewicz and D. C. Hoaglin, How to Detect and Handle Outliers (ASQC, 1993).
        """
        values, known = _known(data)
        if not known.size:
            return ~np.isfinite(values)
        middle = np.median(known)
        spread = MAD_TO_SIGMA * np.median(np.abs(known - middle))
        return ~(np.abs(values - middle) <= threshold * spread)

    @staticmethod
    def detect_outliers_zscore(data: ArrayLike, threshold: float = 3.0) -> Mask:
        """Flag what lies more than `threshold` standard deviations off the mean.

        Outliers widen the standard deviation: n values have none beyond sqrt(n - 1) of it.
        """
        values, known = _known(data)
        if not known.size:
            return ~np.isfinite(values)
        return ~(np.abs(values - known.mean()) <= threshold * known.std())

    def detect_outliers_isolation_forest(self, data: ArrayLike, contamination: float = 0.1) -> Mask:
        """Flag the share `contamination` that random cuts isolate soonest (scikit-learn's IsolationForest, seeded).

        Raises
        ------
        ConfigError
            If scikit-learn, which this package does not need otherwise, is not installed.
        """
        try:
            from sklearn.ensemble import IsolationForest  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise ConfigError(
                "the isolation forest needs scikit-learn: pip install scikit-learn, or take 'mad', 'iqr' or 'zscore'"
            ) from None
        values, known = _known(data)
        found = ~np.isfinite(values)
        if known.size:
            forest = IsolationForest(contamination=contamination, random_state=0)
            found[~found] = forest.fit_predict(known[:, None]) == -1
        return found

    def detect_residual_outliers(
        self, y_true: ArrayLike, y_pred: ArrayLike, method: str = "mad", **kwargs: Any
    ) -> Mask:
        """Flag points by their residuals ``y_true - y_pred``, by one of the rules; kwargs are its own."""
        if method not in self.methods:
            raise ConfigError(f"method: {method!r} is none of {', '.join(self.methods)}")
        residuals = np.asarray(y_true, dtype=np.float64) - np.asarray(y_pred, dtype=np.float64)
        return self.methods[method](residuals, **kwargs)

    def robust_outlier_detection(
        self,
        xdata: ArrayLike,
        ydata: ArrayLike,
        func: Function,
        params: ArrayLike,
        methods: Sequence[str] | None = None,
        *,
        sigma: ArrayLike | None = None,
    ) -> dict[str, Mask]:
        """Flag points by several rules, and by what more than half of these say.

        Parameters
        ----------
        xdata, ydata : array_like, shape (m,)
        func, params
            The curve that residuals are taken from, ``func(xdata, *params)``; of a robust fit, so that outliers have
            not pulled it to themselves.
        methods : sequence of str, optional
            Of "mad", "iqr", "zscore" (these by default) and "isolation_forest".
        sigma : array_like, shape (m,), optional
            Errors, in units of which residuals are judged.

        Returns
        -------
        dict of array of bool, shape (m,)
            One for each method, and ``consensus``.
        """
        chosen = ["mad", "iqr", "zscore"] if methods is None else list(methods)
        if not chosen:
            raise ConfigError(f"methods is empty; give some of {', '.join(self.methods)}")
        error = np.ones(1) if sigma is None else np.asarray(sigma, dtype=np.float64)
        error = np.where(error > 0, error, np.nan)
        y, predicted = np.asarray(ydata, dtype=np.float64), np.asarray(func(np.asarray(xdata), *np.asarray(params)))
        found = {method: self.detect_residual_outliers(y / error, predicted / error, method) for method in chosen}
        found["consensus"] = np.sum(list(found.values()), axis=0) > len(chosen) / 2
        return found


def _known(data: ArrayLike) -> tuple[Floats, Floats]:
    """Values and those of them that are finite numbers."""
    values = np.asarray(data, dtype=np.float64)
    return values, values[np.isfinite(values)]
