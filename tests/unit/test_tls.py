"""Certificates of the embedded bus: kept while good, renewed in time, and always under the CA that clients know."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.tls import RENEW_BEFORE, VALID, CertificateError, ensure_certificates, reason_to_renew, server_names

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ("127.0.0.1", "localhost")


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_good_certificate_is_kept(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, NAMES, NOW)
    first = contents(tmp_path)
    ensure_certificates(tmp_path, NAMES, NOW + VALID - RENEW_BEFORE - timedelta(days=1))
    assert contents(tmp_path) == first


def test_one_that_soon_expires_is_renewed_under_the_same_ca(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, NAMES, NOW)
    first = contents(tmp_path)
    later = NOW + VALID - RENEW_BEFORE + timedelta(days=1)
    assert reason_to_renew(tmp_path, NAMES, later) == "it soon expires"
    ensure_certificates(tmp_path, NAMES, later)
    renewed = contents(tmp_path)
    assert renewed["ca.pem"] == first["ca.pem"]
    assert renewed["server.pem"] != first["server.pem"]
    assert reason_to_renew(tmp_path, NAMES, later) is None


def test_a_new_address_of_the_bus_gets_a_certificate_that_names_it(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, NAMES, NOW)
    wider = server_names("192.0.2.7")
    assert "192.0.2.7" in (reason_to_renew(tmp_path, wider, NOW) or "")
    ensure_certificates(tmp_path, wider, NOW)
    assert reason_to_renew(tmp_path, wider, NOW) is None


@pytest.mark.parametrize("lost", ["ca.pem", "ca.key", "server.pem"])
def test_what_is_lost_is_made_again_and_fits_together(tmp_path: Path, lost: str) -> None:
    ensure_certificates(tmp_path, NAMES, NOW)
    (tmp_path / lost).unlink()
    ensure_certificates(tmp_path, NAMES, NOW)
    assert reason_to_renew(tmp_path, NAMES, NOW) is None
    assert sorted(contents(tmp_path)) == ["ca.key", "ca.pem", "server.crt", "server.key", "server.pem"]


def test_a_host_name_that_no_certificate_can_hold_is_left_out_and_others_are_as_certificates_have_them() -> None:
    assert server_names("127.0.0.1", "my_host") == ("127.0.0.1", "localhost")
    assert server_names("127.0.0.1", "x" * 64) == ("127.0.0.1", "localhost")
    assert server_names("127.0.0.1", "Jail-Bus") == ("127.0.0.1", "localhost", "jail-bus")


def test_a_host_name_in_capitals_does_not_make_a_new_certificate_at_every_start(tmp_path: Path) -> None:
    names = server_names("127.0.0.1", "B\xfcro-Bus")
    ensure_certificates(tmp_path, names, NOW)
    assert reason_to_renew(tmp_path, names, NOW) is None


def test_an_address_that_no_certificate_can_hold_is_refused() -> None:
    with pytest.raises(CertificateError, match="SALLYPORT_BIND"):
        server_names("my_host")


def test_a_damaged_ca_is_named_and_not_replaced_behind_the_clients_backs(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, NAMES, NOW)
    (tmp_path / "ca.pem").write_bytes(b"")
    with pytest.raises(CertificateError, match=r"ca\.pem"):
        ensure_certificates(tmp_path, NAMES, NOW)


def test_a_damaged_certificate_is_made_again(tmp_path: Path) -> None:
    ensure_certificates(tmp_path, NAMES, NOW)
    (tmp_path / "server.pem").write_bytes(b"half a")
    assert reason_to_renew(tmp_path, NAMES, NOW) == "it is not of this CA"
    ensure_certificates(tmp_path, NAMES, NOW)
    assert reason_to_renew(tmp_path, NAMES, NOW) is None


def test_keys_are_closed_to_others(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    directory.mkdir(mode=0o755)
    ensure_certificates(directory, NAMES, NOW)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
