"""Certificates of the embedded bus: one CA of its own, and one certificate for broker and registry.

The CA's key stays in the home (mode 0600), so that a renewed certificate is still trusted by clients that hold a copy
of ca.pem on other machines.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import idna
import trustme
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from deploy.private_files import private_directory, write_private

BROKER: Final = "sallyport-broker"
"""Common name of the certificate. Whoever holds its key is the broker itself, to Kafka's controller."""
VALID: Final = timedelta(days=825)
"""The longest that common clients accept."""
RENEW_BEFORE: Final = timedelta(days=60)
"""A bus that is restarted at least this often never serves an expired certificate."""

CA_PEM: Final = "ca.pem"
CA_KEY: Final = "ca.key"
SERVER_PEM: Final = "server.pem"
"""Key (PKCS 8) and certificate in one file: what Kafka reads."""
SERVER_CERTIFICATE: Final = "server.crt"
SERVER_KEY: Final = "server.key"


class CertificateError(Exception):
    """The bus can't have a certificate; the message is one line: what is wrong, and what to do."""


def server_names(bind: str, host: str | None = None) -> tuple[str, ...]:
    """The names and addresses by which clients may call the bus: where it listens, and this machine (`host`).

    As a certificate has them: lower case, IDNA. A host name that can't be in one (RFC 5280, RFC 5891), such as one with
    an underscore, is left out. Raises CertificateError where that is so of `bind`.
    """
    listens = _certifiable(bind)
    if listens is None:
        raise CertificateError(f"SALLYPORT_BIND is {bind!r}, which no certificate can name: give an IP address")
    own = _certifiable(host or socket.gethostname())
    return tuple(dict.fromkeys((listens, "127.0.0.1", "localhost", *([own] if own else []))))


def _certifiable(name: str) -> str | None:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        return None


def ensure_certificates(directory: Path, names: tuple[str, ...], now: datetime | None = None) -> None:
    """Make CA and certificate; keep what is still good, renew what soon expires or lacks a name."""
    now = now or datetime.now(UTC)
    private_directory(directory)
    ca = _ca(directory)
    if reason_to_renew(directory, names, now) is None:
        return
    leaf = ca.issue_cert(
        *names,
        common_name=BROKER,
        organization_name="Sallyport",
        not_before=now - timedelta(days=1),
        not_after=now + VALID,
    )
    certificate = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), password=None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(directory / SERVER_KEY, key)
    write_private(directory / SERVER_CERTIFICATE, certificate)
    # The last, and the one that is looked at: a run that is killed before this line makes all three anew.
    write_private(directory / SERVER_PEM, key + certificate)


def reason_to_renew(directory: Path, names: Iterable[str], now: datetime) -> str | None:
    """Why the certificate can't stay, or None."""
    try:
        ca = x509.load_pem_x509_certificate((directory / CA_PEM).read_bytes())
        certificate = x509.load_pem_x509_certificate((directory / SERVER_PEM).read_bytes())
        certificate.verify_directly_issued_by(ca)
    except FileNotFoundError:
        return "there is none"
    except (ValueError, TypeError, InvalidSignature):
        return "it is not of this CA"
    if certificate.not_valid_after_utc - now < RENEW_BEFORE:
        return "it soon expires"
    has = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    known = {
        *has.get_values_for_type(x509.DNSName),
        *(str(address) for address in has.get_values_for_type(x509.IPAddress)),
    }
    lacking = set(names) - known
    return f"it lacks {', '.join(sorted(lacking))}" if lacking else None


def _ca(directory: Path) -> trustme.CA:
    certificate, key = directory / CA_PEM, directory / CA_KEY
    if certificate.exists() and key.exists():
        try:
            return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
        except ValueError as error:
            raise CertificateError(
                f"{certificate} or {key.name} beside it is damaged: restore both from a backup, or remove both; "
                "clients elsewhere then need the new ca.pem"
            ) from error
    certificate.unlink(missing_ok=True)  # one without its key: it must not meet another's
    ca = trustme.CA(organization_name="Sallyport", organization_unit_name="embedded bus")
    write_private(key, ca.private_key_pem.bytes())
    # After the key: a CA that is there can always sign.
    write_private(certificate, ca.cert_pem.bytes())
    return ca
