"""The doctor looks at each part by itself: what ails one hides nothing of the others. Its advice fits what is amiss."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.examination import CA, OPERATOR, Examination
from deploy.health import Finding, Grade, Part
from deploy.kafka_config import ADMIN
from deploy.sites import SITES_DIR
from deploy.tls import ensure_certificates
from schemas.settings import Settings
from schemas.site import read_site

DEMO = read_site(SITES_DIR / "demo")


def of(home: Path, bootstrap: str = "127.0.0.1:1") -> Settings:
    return Settings(home=home, bootstrap=bootstrap, registry="https://127.0.0.1:1", embedded=False)


def password(home: Path, user: str) -> Path:
    """The password file of a user, as it should be."""
    path = home / "secrets" / user
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("a password")
    return path


def found(settings: Settings) -> dict[Part, Finding]:
    findings = list(Examination(settings, DEMO).findings())
    assert {finding.part for finding in findings} == set(Part), "every part is spoken of"
    return {finding.part: finding for finding in findings}


def test_what_nobody_thought_of_is_found_and_the_other_looks_go_on(tmp_path: Path) -> None:
    ensure_certificates(tmp_path / "tls", ("127.0.0.1",))
    # Kafka's client takes an address without a port; who looks at its certificate needs one.
    of_parts = found(of(tmp_path, bootstrap="kafka.invalid"))
    failed = of_parts[Part.CERTIFICATES]
    assert (failed.grade, failed.says) == (Grade.UNKNOWN, "looking at it failed (ValueError)")
    assert "SALLYPORT_ settings" in failed.do
    assert [of_parts[part].grade for part in (Part.SPOOLS, Part.DISK)] == [Grade.OK, Grade.OK]


def test_a_look_of_several_parts_tells_what_it_found_before_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(_: Examination) -> object:
        yield Finding(Part.WORKERS, Grade.OK, "well")
        raise RuntimeError("Adams, Ada")

    monkeypatch.setattr(Examination, "_work", work)
    of_parts = found(of(tmp_path))
    assert of_parts[Part.WORKERS].grade is Grade.OK
    assert of_parts[Part.LAG].says == "looking at it failed (RuntimeError)"
    assert of_parts[Part.DEAD_LETTERS].says == "not examined, because of what is found above"


def test_of_a_missing_password_it_says_that_it_belongs_elsewhere(tmp_path: Path) -> None:
    ensure_certificates(tmp_path / "tls", ("127.0.0.1",))
    broker = found(of(tmp_path))[Part.BROKER]
    assert "no password for user 'admin'" in broker.says
    assert broker.do == OPERATOR


def test_of_a_missing_ca_it_says_where_to_get_it(tmp_path: Path) -> None:
    password(tmp_path, ADMIN)
    broker = found(of(tmp_path))[Part.BROKER]
    assert "no CA certificate of the bus" in broker.says
    assert broker.do == CA


def test_of_a_password_that_is_here_it_does_not_say_that_it_is_elsewhere(tmp_path: Path) -> None:
    password(tmp_path, ADMIN).chmod(0o644)
    broker = found(of(tmp_path))[Part.BROKER]
    assert "chmod 600" in broker.says
    assert broker.do == ""


def test_of_what_is_closed_to_us_it_says_so_and_not_that_nothing_is_there(tmp_path: Path) -> None:
    # As closed as another user's directories: neither can be listed.
    (tmp_path / "spool").touch()
    password(tmp_path, ADMIN)
    assert found(of(tmp_path))[Part.SECRETS].grade is Grade.OK
    spools = found(of(tmp_path))[Part.SPOOLS]
    assert (spools.grade, "spool/demo/county-jail" in spools.says) == (Grade.UNKNOWN, True)
    assert "sudo -u" in spools.do


def test_of_password_files_that_are_closed_to_us_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password(tmp_path, ADMIN)
    monkeypatch.setattr(Path, "iterdir", _refused)
    secrets = found(of(tmp_path))[Part.SECRETS]
    assert (secrets.grade, secrets.says.partition(":")[2]) == (
        Grade.UNKNOWN,
        f" {tmp_path / 'secrets'} (Permission denied)",
    )


def _refused(path: Path) -> None:
    raise PermissionError(13, "Permission denied", str(path))
