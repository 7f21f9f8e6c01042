"""Which password a registry is told: its own user's, never the broker's, and never over a network in clear."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from deploy.cli import app
from deploy.registry import writing_client
from schemas import registry_client
from schemas.settings import Settings

ELSEWHERE = "https://registry.example"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the passwords of the broker's first user and of a registry's."""
    for user in ("admin", "sallyport"):
        path = tmp_path / "secrets" / user
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"{user}'s password\n")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "who"),
    [
        ({}, "admin:admin's password"),
        ({"bootstrap": "kafka.example:9093"}, "admin:admin's password"),
        ({"registry": ELSEWHERE}, None),
        ({"registry": "http://registry.example"}, None),
        ({"registry": ELSEWHERE, "embedded": False}, None),
        ({"registry": ELSEWHERE, "registry_user": "sallyport"}, "sallyport:sallyport's password"),
        ({"registry": ELSEWHERE, "registry_user": "sallyport", "embedded": False}, "sallyport:sallyport's password"),
    ],
)
def test_only_our_own_registry_is_told_the_broker_s_password(
    given: dict[str, object], who: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setattr(registry_client, "SchemaRegistryClient", told.append)
    writing_client(Settings.model_validate({"home": home, **given}))
    assert told[0].get("basic.auth.user.info") == who


@pytest.mark.parametrize(
    "registry", ["http://registry.example", "http://10.20.0.5:8081/apis/ccompat/v7", "http://localhost.example"]
)
def test_a_password_that_would_cross_the_network_in_clear_is_refused(registry: str) -> None:
    with pytest.raises(ValidationError, match="in clear"):
        Settings(registry=registry, registry_user="sallyport")


@pytest.mark.parametrize(
    "registry", [ELSEWHERE, "http://localhost:8081", "http://127.0.0.1:8081", "http://[::1]:8081", None]
)
def test_a_password_that_nobody_overhears_is_taken(registry: str | None) -> None:
    assert Settings(registry=registry, registry_user="sallyport").registry_user == "sallyport"


def test_the_refusal_names_both_settings_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_REGISTRY", "http://registry.example")
    monkeypatch.setenv("SALLYPORT_REGISTRY_USER", "sallyport")
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 2
    assert done.stderr == (
        "sallyport: SALLYPORT_REGISTRY_USER: its password would cross the network in clear: "
        "give SALLYPORT_REGISTRY an address with https\n"
    )


@pytest.mark.parametrize(
    "registry",
    [
        "https://sallyport:hunter2@registry.example",
        "http://sallyport:hunter2@127.0.0.1:8081",
        "http://hunter2@registry.example",
        "https://:hunter2@registry.example",
    ],
)
def test_an_address_with_a_password_in_it_is_refused_and_not_shown(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALLYPORT_REGISTRY", registry)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 2
    assert done.output == (
        "sallyport: SALLYPORT_REGISTRY: has a user or password in it, which would be shown: give "
        "SALLYPORT_REGISTRY_USER, and the password in the file of that name in SALLYPORT_SECRETS\n"
    )


def test_a_password_whose_characters_make_an_address_none_is_not_shown_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_REGISTRY", "https://sallyport:hunter/2@registry.example")
    done = CliRunner().invoke(app, ["doctor"])
    assert (done.exit_code, "hunter" in done.output) == (2, False)
