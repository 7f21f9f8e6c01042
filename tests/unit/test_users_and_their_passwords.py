"""Users on the broker and their password files: however a run is broken off, the next one puts both right."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import UserScramCredentialAlteration, UserScramCredentialUpsertion

from deploy import broker
from deploy.acls import users
from deploy.broker import Broker
from deploy.changes import Ground, ProvisionError, changes
from deploy.provision import with_password
from schemas.settings import Settings
from schemas.site import Site
from schemas.topics import all_topics
from tests.county import SITE

USER = "demo.city-pd-intel"
WITHOUT = SITE.model_copy(update={"recipients": ()})
BREAKS = ("refused", "killed before", "killed after")
"""How a run is broken off: by the broker; before it has heard what to do; when it has done it."""


class Admin:
    """Stands for Kafka's admin client on a broker that keeps users, and breaks off what is asked of one of them."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}
        self.breaks: str | None = None
        self.on = USER

    def alter_user_scram_credentials(
        self, alterations: Sequence[UserScramCredentialAlteration]
    ) -> dict[str, Future[None]]:
        if self.breaks == "killed before":
            raise KeyboardInterrupt
        answers = {one.user: self._answer(one) for one in alterations}
        if self.breaks == "killed after":
            raise KeyboardInterrupt
        return answers

    def _answer(self, alteration: UserScramCredentialAlteration) -> Future[None]:
        answer = Future[None]()
        if self.breaks == "refused" and alteration.user == self.on:
            answer.set_exception(KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT)))
            return answer
        if isinstance(alteration, UserScramCredentialUpsertion):
            self.passwords[alteration.user] = alteration.password.decode()
        else:
            del self.passwords[alteration.user]
        answer.set_result(None)
        return answer


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Admin:
    admin = Admin()
    monkeypatch.setattr(broker, "AdminClient", lambda *_, **__: admin)
    return admin


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Nobody has to log in to the broker that there is not."""
    return Settings(home=tmp_path, security_protocol="PLAINTEXT")


def provision(settings: Settings, admin: Admin, site: Site = SITE) -> None:
    """As provisioning does it, of users alone: topics stand, and rights are not kept."""
    specs = all_topics(site)
    ground = Ground(
        brokers=1,
        partitions={spec.name: spec.partitions for spec in specs},
        replicas={spec.name: 1 for spec in specs},
        settings={},
        users=frozenset(admin.passwords),
        acls=None,
    )
    todo = changes(site, ground, with_password(settings.secrets_path, site))
    Broker(settings, site.name).apply(todo, ground.brokers, lambda _: None)


def broken_off(settings: Settings, admin: Admin, how: str, site: Site = SITE) -> None:
    admin.breaks = how
    with pytest.raises((ProvisionError, KeyboardInterrupt)):
        provision(settings, admin, site)
    admin.breaks = None


def in_files(settings: Settings, site: Site = SITE) -> dict[str, str]:
    """The passwords in the files, none of which is open to others."""
    return {user: settings.password(user) for user in with_password(settings.secrets_path, site)}


@pytest.mark.parametrize("how", BREAKS)
def test_a_password_that_was_to_be_renewed_is_not_kept_where_renewing_it_was_broken_off(
    how: str, settings: Settings, admin: Admin
) -> None:
    provision(settings, admin)
    leaked = admin.passwords[USER]
    (settings.secrets_path / USER).unlink()
    broken_off(settings, admin, how)
    assert USER not in in_files(settings)
    provision(settings, admin)
    assert admin.passwords[USER] != leaked
    assert in_files(settings) == admin.passwords


@pytest.mark.parametrize("how", BREAKS)
def test_a_first_run_that_was_broken_off_is_made_up_for(how: str, settings: Settings, admin: Admin) -> None:
    broken_off(settings, admin, how)
    provision(settings, admin)
    assert in_files(settings) == admin.passwords
    assert set(admin.passwords) == set(users(SITE))


@pytest.mark.parametrize("refused", [users(SITE)[0], users(SITE)[1], USER])
def test_a_user_that_the_broker_refuses_costs_no_other_its_password(
    refused: str, settings: Settings, admin: Admin
) -> None:
    admin.on = refused
    broken_off(settings, admin, "refused")
    made = in_files(settings)
    assert made == admin.passwords
    assert set(made) == set(users(SITE)) - {refused}
    provision(settings, admin)
    assert made.items() < in_files(settings).items() == admin.passwords.items()


def test_a_user_whose_password_was_handed_out_keeps_it_where_the_broker_has_lost_the_user(
    settings: Settings, admin: Admin
) -> None:
    provision(settings, admin)
    handed_out = admin.passwords.pop(USER)
    provision(settings, admin)
    assert admin.passwords[USER] == settings.password(USER) == handed_out


@pytest.mark.parametrize("how", BREAKS)
def test_who_was_to_be_removed_and_is_named_again_does_not_get_the_old_password(
    how: str, settings: Settings, admin: Admin
) -> None:
    provision(settings, admin)
    revoked = admin.passwords[USER]
    broken_off(settings, admin, how, WITHOUT)
    provision(settings, admin)
    assert admin.passwords[USER] != revoked
    assert in_files(settings) == admin.passwords


@pytest.mark.parametrize("how", BREAKS)
def test_a_removal_that_was_broken_off_is_finished_by_the_next_run(how: str, settings: Settings, admin: Admin) -> None:
    provision(settings, admin)
    broken_off(settings, admin, how, WITHOUT)
    provision(settings, admin, WITHOUT)
    assert set(admin.passwords) == set(users(WITHOUT))
    assert in_files(settings) == admin.passwords
