"""A CA for development, and certificates for the edge and the services: `python -m gateway.dev_ca FOLDER`.

Whoever has a folder keeps what is in it, until the certificates have run out.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_NAME = "ml-training-api"
DAYS = 30
_ADDRESSES = [x509.IPAddress(ipaddress.ip_address(one)) for one in ("127.0.0.1", "::1")]
_NAMES: dict[str, list[x509.GeneralName]] = {
    "service": [x509.DNSName(SERVER_NAME)],
    "edge": [x509.DNSName("localhost"), *_ADDRESSES],
}
Key = ec.EllipticCurvePrivateKey


def certificates(folder: Path) -> dict[str, str]:
    """Settings that name the certificates in `folder`, which are made when they are not there, or are old."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        "TLS_CA_FILE": "ca.crt",
        "TLS_CERT_FILE": "service.crt",
        "TLS_KEY_FILE": "service.key",
        "EDGE_TLS_CERT_FILE": "edge.crt",
        "EDGE_TLS_KEY_FILE": "edge.key",
    }
    if not all((folder / name).exists() for name in names.values()) or _old(folder / "edge.crt"):
        write(folder)
    return {setting: str(folder / name) for setting, name in names.items()}


def write(folder: Path) -> None:
    """New certificates of the folder's CA, which is made when there is none. Files are replaced whole."""
    key, name = _authority(folder)
    for owner, names in _NAMES.items():
        own = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(_name(owner), own.public_key(), name, key, names)
        _replace(folder / f"{owner}.key", _pem(own))
        _replace(folder / f"{owner}.crt", made.public_bytes(serialization.Encoding.PEM))


def _authority(folder: Path) -> tuple[Key, x509.Name]:
    if not _old(folder / "ca.crt"):
        kept = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        assert isinstance(kept, Key)
        return kept, x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes()).subject
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("ML Training API development CA")
    made = _certificate(name, key.public_key(), name, key, None)
    _replace(folder / "ca.key", _pem(key))
    _replace(folder / "ca.crt", made.public_bytes(serialization.Encoding.PEM))
    return key, name


def _certificate(
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signer: Key,
    names: list[x509.GeneralName] | None,
) -> x509.Certificate:
    """names: of a server, which is a client as well; None for a CA."""
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
    )
    if names is not None:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made = made.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return made.sign(signer, hashes.SHA256())


def _old(path: Path) -> bool:
    """Whether it is not there, or less than a day of it is left."""
    if not path.exists():
        return True
    until = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    return until - datetime.now(UTC) < timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: Key) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _replace(path: Path, content: bytes) -> None:
    work = path.with_name(f".{path.name}.new")
    work.touch(mode=0o600)
    work.write_bytes(content)
    os.replace(work, path)


if __name__ == "__main__":
    for name, value in certificates(Path(sys.argv[1])).items():
        print(f"{name}={value}")
