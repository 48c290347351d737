from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from xpcs_dask.cli.fit_options import bootstrap_settings, job_of, with_fit_options
from xpcs_dask.errors import ConfigError


def verb(seen, **taken):
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @with_fit_options(**taken)
    def one(
        options: dict[str, Any],
        place: Annotated[str, typer.Argument()],
        loud: Annotated[bool, typer.Option("--loud")] = False,
    ) -> None:
        """Do it."""
        seen.append((options, place, loud))

    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_shared_options_come_as_one_mapping_and_a_verb_keeps_its_own():
    seen = []
    call = verb(seen, without=("paths", "scheduler"))
    done = call("here", "--loud", "--model", "double", "--fix", "baseline=1", "--fix", "beta=2", "-o", "b.zarr")
    assert done.exit_code == 0, done.output
    [(options, place, loud)] = seen
    assert (place, loud) == ("here", True)
    assert not {"paths", "scheduler"} & options.keys()
    job = job_of(paths=["a.hdf"], **options)
    assert (job.model, job.output, job.scheduler) == ("double", "b.zarr", "threads")
    assert job.fit.fixed == {"baseline": 1, "beta": 2}
    assert call("here", "--scheduler", "sync").exit_code == 2


def test_defaults_are_those_of_the_settings():
    from xpcs_dask.config import RunConfig

    assert job_of(paths=["a.hdf"]) == RunConfig.make(inputs=("a.hdf",), output="fits.zarr")


def test_an_interval_is_one_of_the_bootstrap_where_there_is_one():
    fitted = job_of(["a"], interval="profile", level=0.9)
    drawn = job_of(["a"], interval="bca", bootstrap="200", level=0.9)
    assert (fitted.fit.interval, fitted.fit.level, fitted.bootstrap) == ("profile", 0.9, None)
    assert (drawn.fit.interval, drawn.bootstrap.interval, drawn.bootstrap.level) == ("none", "bca", 0.9)
    assert bootstrap_settings(None, seed=1) is None
    with pytest.raises(ConfigError, match="--bootstrap takes auto or a number of refits; got 'many'"):
        job_of(["a"], bootstrap="many")
