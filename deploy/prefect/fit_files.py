"""A task and a flow for Prefect: one job of xpcs_dask for each data set, tried again where its cluster was lost."""

from __future__ import annotations

from typing import Any

import xpcs_dask


def fit_files(config: dict[str, Any]) -> dict[str, Any]:
    """Run one job of xpcs_dask.

    Parameters
    ----------
    config : dict
        Settings as in a file for ``xpcs-dask run`` (`xpcs-dask schema run`), with absolute paths.

    Returns
    -------
    dict
        Of texts and numbers: ``output``, ``manifest``, ``version``, ``seconds``, ``counts`` and ``rejected``.

    Raises
    ------
    xpcs_dask.errors.XpcsError
        As `xpcs_dask.run`; the task has failed then, with one line that says why.
    """
    manifest = xpcs_dask.run(config)
    return manifest.model_dump(mode="json", include={"output", "manifest", "version", "seconds", "counts", "rejected"})


def is_worth_another_try(error: BaseException) -> bool:
    """Tell a lost cluster (exit code 7), with which the same call goes on, from what would fail again."""
    return getattr(error, "exit_code", None) == 7


try:
    from prefect import flow, task
except ImportError:  # the function itself is complete without
    pass
else:
    CLUSTER_LOST_RETRIES = 3

    fit_task = task(
        name="xpcs-fit",
        retries=CLUSTER_LOST_RETRIES,
        retry_delay_seconds=60,
        retry_condition_fn=lambda task, run, state: is_worth_another_try(state.result(raise_on_failure=False)),
    )(fit_files)

    @flow(name="xpcs-fits")
    def fit_all(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Fit data sets one after the other; each of them uses the whole cluster that its settings name."""
        return [fit_task(config) for config in configs]
