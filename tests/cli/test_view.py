from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from typer.testing import CliRunner

from tests.conftest import carried
from xpcs_dask.cli import app
from xpcs_dask.view import server

FILE = "boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf"
SECONDS = 20
"""In which the command has to end when it is asked to."""


def view(*arguments):
    return CliRunner().invoke(app, ["view", "--no-open", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["no.zarr"], 3, "no.zarr: there is no such file or folder"),
        (["no.hdf"], 3, "no usable file in no.hdf"),
        (["a.zarr", "b.zarr"], 2, "one store of results is shown at a time"),
        (["a.zarr", "--host", "192.0.2.1"], 2, "pass --insecure"),
        (["a.zarr", "--host", "0.0.0.0", "--insecure"], 2, "every address of this machine"),
        (["a.hdf", "--delay-unit", "years"], 2, "delay_unit"),
    ],
)
def test_what_cannot_be_shown_is_one_line(arguments, code, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = view(*arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_the_missing_extra_is_one_line(monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    result = view(carried(FILE))
    assert result.exit_code == 2
    assert result.stderr == "xpcs-dask: error: view needs Panel, which is not installed: pip install 'xpcs-dask[viz]'\n"


@pytest.fixture
def started():
    """Give what starts the command, and end what was started."""
    running = []

    def start(*arguments):
        command = [sys.executable, "-m", "xpcs_dask", "view", "--no-open", *map(str, arguments)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def address_of(process):
    for line in process.stdout:
        if line.startswith("Address: "):
            return line.removeprefix("Address: ").strip()
    raise AssertionError(process.stderr.read())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_it_serves_who_knows_the_address_and_ends_when_asked(started, number):
    process = started(carried(FILE))
    address = address_of(process)
    root, secret = address.rsplit("/", 1)
    assert root.startswith("http://127.0.0.1:")
    assert len(secret) >= 20
    with urllib.request.urlopen(address, timeout=SECONDS) as page:
        text = page.read().decode()
    assert "xpcs-dask view" in text
    assert "https://" not in text.replace("https://bokeh.org", "").replace("https://panel.holoviz.org", "")
    for other in ("/", "/index.html", "/view", "/favicon.ico/.."):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(root + other, timeout=SECONDS)
        assert refused.value.code in (403, 404)
        assert secret not in refused.value.url
        refused.value.close()
    for origin, code in ((root, 101), ("http://evil.example", 403), ("http://127.0.0.1:1", 403)):
        assert upgrade(address, origin) == code
    process.send_signal(number)
    assert process.wait(SECONDS) == 0


def upgrade(address, origin):
    """Status with which a websocket of a page of `origin` is answered."""
    host, _, secret = address.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    lines = [
        f"GET /{secret}/ws HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade", f"Origin: {origin}",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: bokeh, {token(address)}", "", "",
    ]  # fmt: skip
    with socket.create_connection((name, int(port)), timeout=SECONDS) as link:
        link.sendall("\r\n".join(lines).encode())
        return int(link.recv(100).split()[1])


def token(address):
    """Session token of a page."""
    with urllib.request.urlopen(address, timeout=SECONDS) as page:
        return page.read().decode().split('"token":"')[1].split('"')[0]


@pytest.mark.slow
def test_a_port_in_use_is_one_line(started):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = started(carried(FILE), "--port", port)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err == (
        f"xpcs-dask: error: port {port} of 127.0.0.1 is in use; choose another with --port, or 0 for any that is free\n"
    )
    assert out == ""


def test_a_browser_is_opened_where_there_is_a_display(monkeypatch):
    from xpcs_dask.cli.view import has_display

    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert has_display() == (sys.platform == "darwin")
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_display()
