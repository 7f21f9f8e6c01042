"""Until when a certificate is good: no longer than the CAs that vouch for it. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning


def certificates_of(encoded: Iterable[bytes]) -> list[x509.Certificate]:
    """The certificates, of DER, that can be read: what a system trusts holds old ones that keep to no standard."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for one in encoded:
            with suppress(ValueError):
                found.append(x509.load_der_x509_certificate(one))
    return found


def vouched_until(certificate: x509.Certificate, trusted: Sequence[x509.Certificate]) -> datetime | None:
    """When the first of the CAs ends by which a certificate is trusted; None where it can't be told by which it is.

    It can't where many are trusted and none of them signed it itself: the server showed a CA between.
    """
    ends, left = list[datetime](), list(trusted)
    while issuers := [ca for ca in left if _signed(ca, certificate)]:
        # A CA that was renewed with its old key is there twice: it is good for as long as one of them is.
        certificate = max(issuers, key=_end)
        ends.append(_end(certificate))
        left = [ca for ca in left if ca not in issuers]
    if not ends and len(trusted) == 1:
        return _end(trusted[0])
    return min(ends, default=None)


def _signed(ca: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _end(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_after_utc
