"""The certificates of deploy/tls, made by the script and judged by OpenSSL's own handshake."""

from __future__ import annotations

import shutil
import socket
import ssl
import stat
import subprocess
import threading
import time

import pytest
import yaml

from tests.deploy.shipped import DEPLOY

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl (apt-get install openssl)")
ROLES = ("scheduler", "worker", "client")


def make(*words):
    command = ["bash", DEPLOY / "tls" / "make_certificates.sh", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates") / "it's mine"
    said = make(folder, 3)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == [f"Certificates: {folder}", "Days: 3", f"Roles: {' '.join(ROLES)}"]
    return folder


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stranger")
    assert make(folder, 3, "client").returncode == 0
    return folder


def context(purpose, ca, holder=None, role=""):
    found = ssl.SSLContext(purpose)
    found.check_hostname, found.verify_mode = False, ssl.CERT_REQUIRED  # as distributed has it
    found.verify_flags |= ssl.VERIFY_X509_STRICT
    found.load_verify_locations(ca / "ca.pem")
    if holder:
        found.load_cert_chain(holder / f"{role}.pem", holder / f"{role}.key")
    return found


def talk(server, client):
    """Let a client send a byte and hear it back; returns the server's certificate."""
    here, there = socket.socketpair()
    for end in (here, there):
        end.settimeout(20)

    def answer():
        try:
            with server.wrap_socket(there, server_side=True) as peer:
                peer.sendall(peer.recv(1))
        except OSError:
            there.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with client.wrap_socket(here) as peer:
            peer.sendall(b"x")
            if peer.recv(1) != b"x":
                raise ConnectionError("the server hung up")
            return peer.getpeercert()
    finally:
        here.close()
        thread.join(timeout=30)


def test_scheduler_worker_and_client_trust_each_other(made):
    for server in ROLES:
        for client in ROLES:
            told = talk(
                context(ssl.PROTOCOL_TLS_SERVER, made, made, server),
                context(ssl.PROTOCOL_TLS_CLIENT, made, made, client),
            )
            assert told["subject"] == ((("commonName", server),),)
            left = ssl.cert_time_to_seconds(told["notAfter"]) - time.time()
            assert 2 * 86400 < left <= 3 * 86400


def test_who_has_no_certificate_is_refused(made):
    with pytest.raises(OSError, match=r"certificate required|hung up|reset|EOF"):
        talk(context(ssl.PROTOCOL_TLS_SERVER, made, made, "scheduler"), context(ssl.PROTOCOL_TLS_CLIENT, made))


def test_another_authority_is_refused_on_either_side(made, stranger):
    server = context(ssl.PROTOCOL_TLS_SERVER, made, made, "scheduler")
    with pytest.raises(OSError, match=r"unknown ca|hung up|reset|EOF"):
        talk(server, context(ssl.PROTOCOL_TLS_CLIENT, made, stranger, "client"))
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(server, context(ssl.PROTOCOL_TLS_CLIENT, stranger, stranger, "client"))


def test_a_certificate_signs_no_other(made, tmp_path):
    """Who holds the one of a worker cannot make more of them."""
    (tmp_path / "ca.pem").write_bytes((made / "worker.pem").read_bytes())
    (tmp_path / "ca.key").write_bytes((made / "worker.key").read_bytes())
    assert make(tmp_path, 1, "client").returncode == 0
    chain = (tmp_path / "client.pem").read_bytes() + (made / "worker.pem").read_bytes()
    (tmp_path / "client.pem").write_bytes(chain)
    with pytest.raises(OSError, match=r"invalid CA|unknown ca|bad certificate|hung up|reset|EOF"):
        talk(
            context(ssl.PROTOCOL_TLS_SERVER, made, made, "scheduler"),
            context(ssl.PROTOCOL_TLS_CLIENT, made, tmp_path, "client"),
        )


@pytest.mark.parametrize("role", ROLES)
def test_a_certificate_says_what_it_is_for(made, role):
    asked = ["openssl", "x509", "-in", made / f"{role}.pem", "-noout", "-ext", "basicConstraints,extendedKeyUsage"]
    told = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=30).stdout
    assert "CA:FALSE" in told
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in told  # each process asks and is asked


def test_keys_are_for_their_owner_alone_and_of_the_curve_p256(made):
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    keys = sorted(path.name for path in made.glob("*.key"))
    assert keys == sorted(f"{role}.key" for role in ("ca", *ROLES))
    for key in keys:
        assert stat.S_IMODE((made / key).stat().st_mode) == 0o600
        told = subprocess.run(
            ["openssl", "pkey", "-in", made / key, "-noout", "-text"], check=True, capture_output=True, text=True
        )
        assert "NIST CURVE: P-256" in told.stdout
    left = {path.name for path in made.iterdir()} - {f"{n}.{e}" for n in ("ca", *ROLES) for e in ("pem", "key", "yaml")}
    assert not left  # nothing that was only needed on the way


@pytest.mark.parametrize("role", ROLES)
def test_the_settings_give_distributed_what_it_needs(made, role):
    import dask
    from distributed import Security

    settings = yaml.safe_load((made / f"{role}.yaml").read_text())
    with dask.config.set(dask.config.merge(dask.config.config, settings)):
        told = Security()
    assert told.require_encryption is True
    for part in ROLES:
        assert told.get_tls_config_for_role(part)["cert"] == str(made / f"{role}.pem")
    assert told.get_listen_args("scheduler")["ssl_context"].verify_mode == ssl.CERT_REQUIRED


def test_nothing_is_overwritten(made):
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    said = make(made, 3)
    assert said.returncode == 2
    assert f"{made}/scheduler.pem is there already" in said.stderr
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_a_role_is_added_to_the_same_authority(made, stranger):
    assert make(made, 2, "alice").returncode == 0
    talk(
        context(ssl.PROTOCOL_TLS_SERVER, made, made, "scheduler"), context(ssl.PROTOCOL_TLS_CLIENT, made, made, "alice")
    )
    for name in ("alice.pem", "alice.key", "alice.yaml"):
        (made / name).unlink()
    said = make(made, 30, "alice")  # longer than the authority
    assert (said.returncode, "ends before 30 days" in said.stderr) == (2, True)
    assert not (made / "alice.pem").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "usage"),
        (("{}/x", "0"), "DAYS"),
        (("{}/x", "1.5"), "DAYS"),
        (("{}/x", "30", "ca"), "no name for a ROLE"),
        (("{}/x", "30", "../up"), "no name for a ROLE"),
        (("--days", "3"), "unknown option"),
        (("{}/taken/x",), "cannot be made"),
    ],
)
def test_wrong_arguments_are_refused_and_leave_nothing(tmp_path, words, message):
    (tmp_path / "taken").write_text("")
    said = make(*(word.format(tmp_path) for word in words))
    assert said.returncode in (1, 2)
    assert message in said.stderr
    assert not list(tmp_path.glob("x/*"))


def test_half_an_authority_is_not_replaced(made, tmp_path):
    (tmp_path / "ca.pem").write_bytes((made / "ca.pem").read_bytes())
    said = make(tmp_path)
    assert (said.returncode, "but not its key" in said.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["ca.pem"]
