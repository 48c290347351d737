from __future__ import annotations

import pytest

from xpcs_dask.cluster.interfaces import check_interface
from xpcs_dask.errors import ConfigError


def test_an_interface_of_this_machine_or_none_is_accepted():
    check_interface("lo", "interface")
    check_interface(None, "interface")


def test_others_are_refused_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"^interface 'ib9' is not an interface .*; there are .*lo \(127"):
        check_interface("ib9", "interface")


def test_an_interface_without_an_address_is_told_apart(monkeypatch):
    import psutil

    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"ib0": []})
    with pytest.raises(ConfigError, match="'ib0' has no IPv4 address; there are none"):
        check_interface("ib0", "scheduler_interface")
