"""The fits of an `XpcsFile`: thin calls into `file_fits`, whose results become ``fit_summary``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

Range = tuple[float, float] | None


class FileFitting:
    """Methods that fit what `XpcsFile.get_g2_data` returns."""

    fit_summary: dict[str, Any] | None

    @staticmethod
    def correct_g2_err(g2_err: Any = None, threshold: float = 1e-6) -> NDArray[Any]:
        """Replace errors that are too small to be true, as pyXpcsViewer does.

        Parameters
        ----------
        g2_err : (delay, bin) array_like
        threshold : float
            Errors up to this one (and NaN) become the mean of the other errors of their column, or the threshold itself
            where there are none. That is no measurement: the plain `fit_g2` alone uses it, for parity.

        Returns
        -------
        (delay, bin) array, a copy of the same type
        """
        from xpcs_dask.toolkit import file_fits

        return file_fits.correct_g2_err(g2_err, threshold)

    def fit_g2(
        self,
        q_range: Range = None,
        t_range: Range = None,
        bounds: Any = None,
        fit_flag: Sequence[bool] | None = None,
        fit_func: str = "single",
        robust_fitting: bool = False,
        diagnostic_level: str = "standard",
        bootstrap_samples: int | None = None,
    ) -> dict[str, Any]:
        """Fit every bin; see `file_fits.fit_g2`."""
        from xpcs_dask.toolkit import file_fits

        self.fit_summary = file_fits.fit_g2(
            self, q_range, t_range, bounds, fit_flag, fit_func, robust_fitting, diagnostic_level, bootstrap_samples
        )
        return self.fit_summary

    def fit_g2_robust(
        self,
        q_range: Range = None,
        t_range: Range = None,
        bounds: Any = None,
        fit_flag: Sequence[bool] | None = None,
        fit_func: str = "single",
        diagnostic_level: str = "standard",
        bootstrap_samples: int | None = 500,
        enable_caching: bool = True,
    ) -> dict[str, Any]:
        """Fit every bin, with diagnostics; see `file_fits.fit_g2_robust`."""
        from xpcs_dask.toolkit import file_fits

        self.fit_summary = file_fits.fit_g2_robust(
            self, q_range, t_range, bounds, fit_flag, fit_func, diagnostic_level, bootstrap_samples, enable_caching
        )
        return self.fit_summary

    def fit_g2_high_performance(
        self,
        q_range: Range = None,
        t_range: Range = None,
        bounds: Any = None,
        fit_flag: Sequence[bool] | None = None,
        fit_func: str = "single",
        bootstrap_samples: int | None = 500,
        diagnostic_level: str = "standard",
        max_memory_mb: float = 2048,
    ) -> dict[str, Any]:
        """Fit every bin within a budget of memory, with measured figures; see `performance.fit_g2_high_performance`."""
        from xpcs_dask.toolkit import performance

        self.fit_summary = performance.fit_g2_high_performance(
            self, q_range, t_range, bounds, fit_flag, fit_func, bootstrap_samples, diagnostic_level, max_memory_mb
        )
        return self.fit_summary

    def _perform_robust_g2_fitting(
        self,
        func: Callable[..., Any],
        t_el: NDArray[Any],
        g2: NDArray[Any],
        sigma: NDArray[Any],
        bounds: Any,
        fit_flag: Sequence[bool] | None,
        fit_x: NDArray[Any],
        p0: Any,
        diagnostic_level: str = "standard",
        bootstrap_samples: int | None = None,
    ) -> Any:
        """Fit columns; see `file_fits.perform_robust_g2_fitting`."""
        from xpcs_dask.toolkit import file_fits

        return file_fits.perform_robust_g2_fitting(
            func, t_el, g2, sigma, bounds, fit_flag, fit_x, p0, diagnostic_level, bootstrap_samples
        )

    def _fallback_standard_fit(
        self,
        func: Callable[..., Any],
        t_el: NDArray[Any],
        g2_col: NDArray[Any],
        sigma_col: NDArray[Any],
        bounds: Any,
        fit_flag: Sequence[bool] | None,
        fit_x: NDArray[Any],
        p0: Any,
    ) -> Any:
        """Fit one column where the robust path cannot; see `file_fits.fallback_standard_fit`."""
        from xpcs_dask.toolkit import file_fits

        return file_fits.fallback_standard_fit(func, t_el, g2_col, sigma_col, bounds, fit_flag, fit_x, p0)

    def fit_tauq(self, q_range: Sequence[float], bounds: Any, fit_flag: Sequence[bool]) -> dict[str, Any] | None:
        """Fit a power law to tau(q) of the last fit; see `file_fits.fit_tauq`."""
        from xpcs_dask.toolkit import file_fits

        summary = file_fits.fit_tauq(self, q_range, bounds, fit_flag)
        if summary is not None:
            self.fit_summary = summary
        return summary

    def get_fitting_info(self, mode: str = "g2_fitting") -> Any:
        """Return the last fit for display: ``"g2_fitting"`` or ``"tauq_fitting"``; see `file_fits.get_fitting_info`."""
        from xpcs_dask.toolkit import file_fits

        return file_fits.get_fitting_info(self, mode)
