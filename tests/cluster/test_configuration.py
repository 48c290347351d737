from __future__ import annotations

from contextlib import ExitStack

import dask
import pytest

from xpcs_dask.cluster.configuration import checked, flags_of, section, source_of
from xpcs_dask.errors import ConfigError


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Give what writes a file into the only folder that Dask reads."""
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    with ExitStack() as stack:

        def write(text, name="xpcs_dask.yaml"):
            (tmp_path / name).write_text(text)
            stack.enter_context(dask.config.set(dask.config.collect([str(tmp_path)], env={})))
            return tmp_path / name

        yield write


def test_nothing_is_found_where_nothing_is_written():
    assert section("profiles", "nonesuch") is None


def test_dashes_and_underscores_are_the_same(files):
    files("xpcs_dask: {profiles: {my-site: {local-directory: /a, queue: q}}}")
    assert section("profiles", "my_site") == section("profiles", "my-site") == {"local_directory": "/a", "queue": "q"}


def test_an_unknown_part_is_refused_with_the_nearest_and_the_file(files):
    path = files("xpcs_dask: {profile: {}}")
    with pytest.raises(ConfigError, match="no key 'profile'; did you mean 'profiles'") as caught:
        section("local")
    assert str(path) in str(caught.value)


def test_a_part_that_is_no_mapping_is_refused(files):
    path = files("xpcs_dask: {local: 3}")
    with pytest.raises(ConfigError, match=r"xpcs_dask\.local holds 3 instead of KEY: VALUE lines") as caught:
        section("local")
    assert str(path) in str(caught.value)


def test_the_source_is_the_file_that_wins_or_the_variable(files, tmp_path, monkeypatch):
    files("xpcs_dask: {local: {memory: 1GiB}}", "a.yaml")
    second = files("xpcs_dask: {local: {memory: 2GiB}}", "b.yaml")
    assert source_of("local", "memory") == str(second)
    (tmp_path / "mine").mkdir()
    third = tmp_path / "mine" / "a.yaml"
    third.write_text("xpcs-dask: {local: {memory: 2GiB}}")
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path), str(tmp_path / "mine")])
    assert source_of("local", "memory") == str(third)
    assert source_of("local", "nonesuch") == ""
    monkeypatch.setenv("DASK_XPCS_DASK__LOCAL__MEMORY", "3GiB")
    assert source_of("local", "memory") == "DASK_XPCS_DASK__LOCAL__MEMORY"


def test_keys_are_compared_with_what_is_known():
    checked({"queue": 1}, ["queue"], "profile")
    with pytest.raises(ConfigError, match=r"^cluster has no key 'zzz'; known are queue, account$"):
        checked({"zzz": 1}, ["queue", "account"], "cluster", None)


def test_flags_with_a_dot_are_inside():
    assert flags_of({"tls.ca": "a", "tls.key": "b", "local-directory": "c"}) == {
        "tls": {"ca": "a", "key": "b"},
        "local_directory": "c",
    }
