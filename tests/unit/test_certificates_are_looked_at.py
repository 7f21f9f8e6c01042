"""What the doctor says of a certificate, as a server shows it: good, ended, another CA's, its CA's about to end."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.certificate_chain import certificates_of, vouched_until
from deploy.examination import certificate, certificate_end
from deploy.health import Grade
from deploy.tls import CA_KEY, CA_PEM, SERVER_PEM, VALID, ensure_certificates
from schemas.settings import Settings

HOST = "127.0.0.1"


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """A server that shows the certificate which is there: its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / SERVER_PEM)
    with socket.create_server((HOST, 0)) as listener:

        def answer() -> None:
            # A client that does not trust it breaks off; closing the listener ends it.
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield f"{HOST}:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def settings(tmp_path: Path) -> Callable[[Path], Settings]:
    """Of a client that trusts the CA of a directory."""
    return lambda trusted: Settings(home=tmp_path, ca_file=trusted / CA_PEM)


def test_a_good_one_is_good(tmp_path: Path, settings: Callable[[Path], Settings]) -> None:
    now = datetime.now(UTC)
    ensure_certificates(tmp_path / "tls", (HOST,), now)
    with served(tmp_path / "tls") as where:
        found = certificate(settings(tmp_path / "tls"), "the broker", where)
    assert (found.grade, found.do) == (Grade.OK, "")
    assert f"on {now + VALID:%Y-%m-%d}" in found.says


def test_one_that_has_ended_is_to_be_renewed_and_nobody_is_sent_to_its_ca(
    tmp_path: Path, settings: Callable[[Path], Settings]
) -> None:
    ensure_certificates(tmp_path / "tls", (HOST,), datetime.now(UTC) - VALID - timedelta(hours=1))
    with served(tmp_path / "tls") as where:
        found = certificate(settings(tmp_path / "tls"), "the broker", where)
    assert found.grade is Grade.CRITICAL
    assert "has ended" in found.says
    assert "renews it" in found.do


def test_one_of_another_ca_is_not_trusted(tmp_path: Path, settings: Callable[[Path], Settings]) -> None:
    for name in ("tls", "another"):
        ensure_certificates(tmp_path / name, (HOST,))
    with served(tmp_path / "tls") as where:
        found = certificate(settings(tmp_path / "another"), "the broker", where)
    assert found.grade is Grade.CRITICAL
    assert "is not trusted" in found.says
    assert str(tmp_path / "another" / CA_PEM) in found.do


def test_where_nobody_answers_nothing_is_known(tmp_path: Path, settings: Callable[[Path], Settings]) -> None:
    ensure_certificates(tmp_path / "tls", (HOST,))
    with socket.socket() as taken:
        taken.bind((HOST, 0))  # and does not listen
        found = certificate(settings(tmp_path / "tls"), "the broker", f"{HOST}:{taken.getsockname()[1]}")
    assert found.grade is Grade.UNKNOWN


# -- who vouches for it ------------------------------------------------------------------------------------------------

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Authority:
    """A CA with a key, which vouches for itself, or for which another does."""

    def __init__(self, name: str, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = key or ec.generate_private_key(ec.SECP256R1())

    def signs(self, whom: Authority, ends: datetime) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(whom.name)
            .issuer_name(self.name)
            .public_key(whom.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(BEGAN - 900 * DAY)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(whom.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )


ROOT, BETWEEN, OTHER, SERVER = (Authority(name) for name in ("root", "between", "other", "server"))
RENEWED = Authority("root", ROOT.key)
IMPOSTOR = Authority("root")
BY_ROOT = ROOT.signs(SERVER, BEGAN + 800 * DAY)
BY_BETWEEN = BETWEEN.signs(SERVER, BEGAN + 800 * DAY)


def itself(authority: Authority, days: int) -> x509.Certificate:
    return authority.signs(authority, BEGAN + days * DAY)


@pytest.mark.parametrize(
    ("shown", "trusted", "days"),
    [
        pytest.param(BY_ROOT, [itself(ROOT, 20)], 20, id="the one that signed it"),
        pytest.param(BY_ROOT, [itself(OTHER, 5), itself(ROOT, 20)], 20, id="the one that signed it, of several"),
        pytest.param(BY_ROOT, [itself(ROOT, 20), itself(RENEWED, 900)], 900, id="one that was renewed"),
        pytest.param(BY_ROOT, [itself(IMPOSTOR, 5), itself(ROOT, 20)], 20, id="not one that is only called so"),
        pytest.param(
            BY_BETWEEN, [ROOT.signs(BETWEEN, BEGAN + 90 * DAY), itself(ROOT, 20)], 20, id="the one above that one"
        ),
        pytest.param(
            BY_BETWEEN, [itself(ROOT, 90), ROOT.signs(BETWEEN, BEGAN + 20 * DAY)], 20, id="the one below that one"
        ),
        pytest.param(BY_BETWEEN, [itself(ROOT, 20)], 20, id="the only one, through one that the server shows"),
        pytest.param(BY_BETWEEN, [itself(ROOT, 20), itself(OTHER, 5)], None, id="some one of many"),
        pytest.param(BY_ROOT, [], None, id="nobody"),
        pytest.param(
            BY_ROOT,
            [ROOT.signs(OTHER, BEGAN + 20 * DAY), OTHER.signs(ROOT, BEGAN + 30 * DAY)],
            20,
            id="two that vouch for each other",
        ),
    ],
)
def test_a_certificate_is_good_for_as_long_as_who_vouches_for_it(
    shown: x509.Certificate, trusted: list[x509.Certificate], days: int | None
) -> None:
    assert vouched_until(shown, trusted) == (None if days is None else BEGAN + days * DAY)


def test_what_can_not_be_read_among_many_hides_no_other() -> None:
    root = itself(ROOT, 20)
    assert certificates_of([b"nothing", root.public_bytes(serialization.Encoding.DER), b""]) == [root]


def test_a_ca_that_ends_before_the_certificate_is_told_while_there_is_time(
    tmp_path: Path, settings: Callable[[Path], Settings]
) -> None:
    tls, now, ca = tmp_path / "tls", datetime.now(UTC).replace(microsecond=0), Authority("a county's own")
    tls.mkdir()
    own = ca.signs(ca, now + 20 * DAY)
    pem, key = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tls / CA_PEM).write_bytes(own.public_bytes(pem))
    (tls / CA_KEY).write_bytes(ca.key.private_bytes(pem, key, serialization.NoEncryption()))
    ensure_certificates(tls, (HOST,), now)
    with served(tls) as where:
        found = certificate(settings(tls), "the broker", where)
        assert certificate_end(settings(tls), where) == now + 20 * DAY
    assert (found.grade, found.says.partition(" in ")[0]) == (Grade.WARNING, "the CA of the broker ends")
