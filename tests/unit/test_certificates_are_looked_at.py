"""What the doctor says of a certificate, as a server shows it: good, ended, another CA's."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.examination import certificate
from deploy.health import Grade
from deploy.tls import CA_PEM, SERVER_PEM, VALID, ensure_certificates
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
