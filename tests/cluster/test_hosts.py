"""Three hosts over TLS: one is cut off in the middle of a fit, strangers are turned away."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

import xpcs_dask as xd
from tests.cluster.bits import contents
from tests.cluster.hosts.machines import MAKE_CERTIFICATES, NET, PORT, Machines, machines

NEEDED = [program for program in ("ip", "unshare", "openssl") if shutil.which(program) is None]
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make network namespaces"),
    pytest.mark.skipif(bool(NEEDED), reason=f"needs {', '.join(NEEDED)} (apt-get install iproute2 util-linux openssl)"),
]

FILES, BLOCKS = 48, 24
BOOTSTRAP = {"resamples": 600, "over": "delay", "seed": 3}
SETTINGS = ("--bootstrap", "600", "--over", "delay", "--seed", "3", "--chunks", "2", "--no-cache", "--progress", "none")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder with result files, and with what threads make of them (which also compiles the kernels)."""
    folder = tmp_path_factory.mktemp("hosts")
    xd.simulate.write_series(folder / "results", FILES, seed=3, frames=20_000)
    output = str(folder / "here.zarr")
    done = xd.run(inputs=str(folder / "results"), output=output, bootstrap=BOOTSTRAP, cache=False, chunks=2)
    assert (done.work.blocks, done.counts.failed) == (BLOCKS, 0)
    return folder


@pytest.fixture(scope="module")
def hosts(place):
    with machines(place) as made:
        yield made


def done_by_host(output: Path) -> dict[str, int]:
    """Blocks that are done, by host, as the ledger of an unfinished run tells."""
    entries = output.with_name(f"{output.name}.unfinished").glob("run-*/ledger/[0-9]*.json")
    return counted(json.loads(entry.read_text())["worker"] for entry in entries)


def counted(workers: Iterable[str]) -> dict[str, int]:
    return dict(Counter(worker.split(":")[0] for worker in workers))


def test_a_host_is_cut_off_in_the_middle_and_the_fit_ends_with_the_same_bits(hosts: Machines, place: Path):
    output, [_, second, third] = place / "fits.zarr", [f"{hosts.prefix}{k}" for k in (1, 2, 3)]
    words = (str(place / "results"), "-o", str(output), "--scheduler", hosts.address, *SETTINGS, "--json")
    driver = hosts.start("driver", "client", hosts.fit(*words))

    def both_hosts_have_done_some():
        done = done_by_host(output)
        return sum(done.values()) >= 5 and done.keys() == {second, third}

    hosts.wait(both_hosts_have_done_some, "a block of either host", 60)
    hosts.link(2, "down")
    before = done_by_host(output)
    assert sum(before.values()) < BLOCKS - 4, "the fit was nearly over before the cut"
    assert driver.wait(timeout=60) == 0, hosts.log("driver")
    assert not hosts.link_is_up(2)

    manifest = xd.Manifest.read(f"{output}.manifest.json")
    done = Counter()
    for worker, blocks in manifest.work.workers.items():
        done[worker.split(":")[0]] += blocks
    assert done.keys() <= {second, third}
    assert done[second] <= before[second]  # what it did afterwards nobody heard of
    assert done[second] + done[third] == BLOCKS
    assert re.search(rf"Remove worker.*{NET}\.2:", hosts.log("scheduler"))
    assert contents(output) == contents(place / "here.zarr")
    told = json.loads(hosts.log("driver").splitlines()[-1])
    assert (told["curves"], told["failed"]) == (manifest.counts.curves, 0)


def refused(hosts: Machines, output: Path, address: str, role: str | None) -> tuple[int, str]:
    """Exit code and error of a fit that must not begin."""
    words = (str(output.parent / "results"), "-o", str(output), "--scheduler", address, "--progress", "none")
    command, environment = hosts.fit(*words), hosts.environment(role)
    said = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in said.stderr
    assert not output.exists()
    assert not output.with_name(f"{output.name}.unfinished").exists()
    return said.returncode, said.stderr


def test_a_client_without_certificate_is_told_so_before_it_asks(hosts: Machines, place: Path):
    code, said = refused(hosts, place / "none.zarr", hosts.address, None)
    assert (code, f"{hosts.address} needs a certificate" in said) == (2, True), said  # a setting is missing


ASK_WITHOUT = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.load_verify_locations(sys.argv[1])
with context.wrap_socket(socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout=20)) as peer:
    try:
        print("answer:", peer.recv(100))
    except ssl.SSLError as error:
        print("refused:", error.reason)
"""


def test_the_scheduler_itself_refuses_who_asks_without(hosts: Machines, place: Path):
    words = ("-c", ASK_WITHOUT, str(place / "tls" / "ca.pem"), f"{NET}.1", str(PORT))
    said = subprocess.run(hosts.python(1, *words), check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout.strip() == "refused: TLSV13_ALERT_CERTIFICATE_REQUIRED"


def test_a_client_with_a_certificate_of_another_authority_is_refused(hosts: Machines, place: Path):
    others = place / "others"
    subprocess.run([MAKE_CERTIFICATES, others, "30", "stranger"], check=True, capture_output=True, timeout=60)
    (place / "tls" / "stranger.yaml").write_text((others / "stranger.yaml").read_text())
    code, said = refused(hosts, place / "stranger.zarr", hosts.address, "stranger")
    assert (code, hosts.address in said, "same CA" in said) == (7, True, True), said


def test_a_client_that_does_not_encrypt_is_refused(hosts: Machines, place: Path):
    address = hosts.address.replace("tls", "tcp")
    code, said = refused(hosts, place / "plain.zarr", address, None)
    assert (code, address in said) == (7, True), said
