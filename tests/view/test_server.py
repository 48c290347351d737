from __future__ import annotations

import socket

import pytest

from xpcs_dask.errors import ConfigError
from xpcs_dask.view import server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.5"])
def test_this_machine_is_let_in(host):
    server.check_host(host, insecure=False)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_addresses_that_others_reach_need_consent(host):
    with pytest.raises(ConfigError, match="pass --insecure"):
        server.check_host(host, insecure=False)
    server.check_host(host, insecure=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_all_addresses_are_refused(host):
    with pytest.raises(ConfigError, match="every address of this machine"):
        server.check_host(host, insecure=True)


def test_a_host_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="is no address of this machine"):
        server.check_host("no host", insecure=False)


def test_only_pages_of_the_address_served_may_talk_to_it():
    assert server.origins("127.0.0.1", 5006) == ["127.0.0.1:5006", "localhost:5006"]
    assert server.origins("192.0.2.1", 80) == ["192.0.2.1:80"]
    assert server.origins("::1", 80) == ["[::1]:80", "localhost:80"]


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'xpcs-dask\[viz\]'"):
        server.check_extra()


def test_a_free_port_can_be_taken():
    with socket.create_server(("127.0.0.1", server._free("127.0.0.1"))) as taken:
        assert taken.getsockname()[1] > 0
