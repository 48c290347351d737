from __future__ import annotations

from pathlib import Path

import dask
import pytest

from tests.cluster.certificates import authority, certificate, openssl
from xpcs_dask.cluster.security import SCHEDULER, check_files, security_for
from xpcs_dask.errors import ConfigError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ca(folder):
    return authority(folder)


@pytest.fixture(scope="module")
def good(folder, ca):
    return certificate(folder, "good", ca)


def test_files_that_belong_together_are_accepted(good, caplog):
    check_files(**good)
    assert not caplog.text


def refusal(**files):
    with pytest.raises(ConfigError) as caught:
        check_files(**files)
    return str(caught.value)


def test_what_is_wrong_with_a_file_is_said(folder, ca, good):
    other = certificate(folder, "other", authority(folder, "foreign"))
    expired = certificate(folder, "expired", ca, days=-1)
    missing = str(folder / "missing.pem")
    assert f"cert {missing} cannot be read: No such file" in refusal(**{**good, "cert": missing})
    assert f"key {other['key']} does not belong to cert {good['cert']}" in refusal(**{**good, "key": other["key"]})
    assert "certificate has expired" in refusal(**expired)
    said = refusal(**{**other, "ca": good["ca"]})
    assert f"cert {other['cert']} is not accepted with ca {good['ca']}: " in said
    assert "issuer" in said
    assert f"ca {good['key']} holds no certificate" in refusal(**{**good, "ca": good["key"]})
    assert "is no PEM file of its kind" in refusal(**{**good, "cert": good["key"]})


def test_a_key_with_a_password_does_not_ask_for_it(folder, good):
    locked = folder / "locked.key"
    openssl("ec", "-in", good["key"], "-aes128", "-passout", "pass:secret", "-out", locked)
    assert f"{locked} has a password" in refusal(**{**good, "key": str(locked)})


def test_keys_that_others_can_read_and_certificates_that_end_soon_are_warned_of(folder, ca, caplog):
    short = certificate(folder, "short", ca, days=3)
    Path(short["key"]).chmod(0o644)
    check_files(**short)
    assert "can be read by others; chmod 600" in caplog.text
    assert f"{short['cert']} ends in 3.0 days" in caplog.text


def test_an_address_without_encryption_needs_nothing():
    assert security_for("tcp://10.0.0.1:8786", None) is None


def test_scheme_and_settings_must_go_together(good):
    with pytest.raises(ConfigError, match=r"not encrypted, but tls has certificates; use tls://"):
        security_for("tcp://10.0.0.1:8786", good)
    with pytest.raises(ConfigError, match=r"certificate of the client, but ca, cert, key is not known"):
        security_for("tls://10.0.0.1:8786", None)
    with (
        dask.config.set({"distributed.comm.require-encryption": True}),
        pytest.raises(ConfigError, match="require-encryption"),
    ):
        security_for("tcp://10.0.0.1:8786", None)


def test_files_hold_for_all_roles(good):
    found = security_for("tls://", good, SCHEDULER)
    for role in ("client", "scheduler", "worker"):
        told = found.get_tls_config_for_role(role)
        assert (told["ca_file"], told["cert"], told["key"]) == (good["ca"], good["cert"], good["key"])
    assert found.require_encryption


def test_files_of_dask_itself_are_used(good):
    settings = {f"distributed.comm.tls.client.{name}": good[name] for name in ("cert", "key")}
    with dask.config.set({"distributed.comm.tls.ca-file": good["ca"], **settings}):
        assert security_for("tls://10.0.0.1:8786", None).tls_client_cert == good["cert"]
        with pytest.raises(ConfigError, match="certificate of the scheduler"):
            security_for("tls://", None, SCHEDULER)
