"""Certificates for tests, made by the openssl program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def openssl(*arguments: str | Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl program")
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def authority(folder: Path, name: str = "ca") -> Path:
    """Make an authority; returns its certificate."""
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    openssl("req", "-x509", *CURVE, "-nodes", "-keyout", key, "-out", cert, "-subj", f"/CN={name}", "-days", "2000")
    return cert


def certificate(folder: Path, name: str, ca: Path, days: int = 100) -> dict[str, str]:
    """Make a key and a certificate that `ca` signed; returns settings of TLS."""
    key, asked, cert = (folder / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
    openssl("req", *CURVE, "-nodes", "-keyout", key, "-out", asked, "-subj", f"/CN={name}")
    signed = ("-CA", ca, "-CAkey", ca.with_suffix(".key"), "-CAcreateserial", "-days", str(days))
    openssl("x509", "-req", "-in", asked, *signed, "-out", cert)
    key.chmod(0o600)
    return {"ca": str(ca), "cert": str(cert), "key": str(key)}
