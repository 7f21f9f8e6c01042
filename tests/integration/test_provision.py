"""Provisioning on a real broker and registry: it makes, keeps, repairs, revokes, refuses, and removes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import typer
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from typer.testing import CliRunner

from deploy import broker
from deploy.acls import acls, users
from deploy.changes import Did, ProvisionError, What
from deploy.commands.provision import provision as command
from deploy.kafka_config import ADMIN
from deploy.provision import Provisioned, provision, purge
from deploy.sites import SITES_DIR
from deploy.topic_settings import topic_settings
from schemas import topics
from schemas.registry_client import registry_client, schema_ids
from schemas.settings import Settings
from schemas.site import Site, read_site
from schemas.subjects import subjects

pytestmark = pytest.mark.bus
SECONDS = 20

NewSite = Callable[[str], Site]


@pytest.fixture
def small(bus: Settings) -> Iterator[NewSite]:
    """Makes a site of one agency and one desk; what became of it on the bus is removed afterwards."""
    demo = read_site(SITES_DIR / "demo")
    made: list[Site] = []

    def new(name: str) -> Site:
        site = demo.model_copy(
            update={
                "name": name,
                "partitions": 2,
                "agencies": (demo.agency_by_id["city-pd"],),
                "facilities": (),
                "recipients": (demo.recipient_by_id["city-pd-intel"],),
                "agreements": (),
            }
        )
        made.append(site)
        return site

    yield new
    for site in made:
        purge(bus, site)


def admin_of(bus: Settings) -> AdminClient:
    return AdminClient(bus.kafka("admin"))


def done(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        future.result(SECONDS)


def names_on(bus: Settings, site: Site) -> set[str]:
    prefix = f"{site.name}."
    return {name for name in admin_of(bus).list_topics(timeout=SECONDS).topics if name.startswith(prefix)}


def subjects_on(bus: Settings, site: Site) -> set[str]:
    with registry_client(bus) as client:
        return {name for name in client.get_subjects() if name.startswith(f"{site.name}.")}


def can_log_in(bus: Settings, user: str, password: str) -> bool:
    refused: list[KafkaError] = []
    config: dict[str, Any] = {**bus.kafka("admin"), "sasl.username": user, "sasl.password": password}
    config["error_cb"] = refused.append
    admin = AdminClient(config)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            admin.list_topics(timeout=0.5)
        except KafkaException:
            admin.poll(0.1)
            if any(error.code() == KafkaError._AUTHENTICATION for error in refused):
                return False
        else:
            return True
    raise AssertionError("the broker said nothing")


def differences(result: Provisioned) -> set[tuple[What, str, Did]]:
    return {(step.what, step.name, step.did) for step in result.differences}


# --- made and kept ---


def test_the_first_run_makes_everything_and_the_second_changes_nothing(bus: Settings, small: NewSite) -> None:
    site = small("twice")
    first = provision(bus, site)
    assert {step.did for step in first.steps} == {Did.MADE}
    assert first.count(What.TOPIC, Did.MADE) == len(topics.all_topics(site))
    assert first.count(What.USER, Did.MADE) == len(users(site))
    assert first.count(What.ACL, Did.MADE) == len(acls(site))
    assert first.count(What.SCHEMA, Did.MADE) == len(subjects(site))
    second = provision(bus, site)
    assert second.differences == ()
    assert len(second.steps) == len(first.steps)


def test_topics_have_the_partitions_and_settings_that_are_decided_for_them(bus: Settings, small: NewSite) -> None:
    site = small("settled")
    provision(bus, site)
    admin = admin_of(bus)
    found = admin.list_topics(timeout=SECONDS).topics
    for spec in topics.all_topics(site):
        assert len(found[spec.name].partitions) == spec.partitions
        (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, spec.name)]).values()
        settings = {entry.name: entry.value for entry in future.result(SECONDS).values()}
        assert topic_settings(spec, brokers=1).items() <= settings.items()


def test_each_user_has_a_password_of_its_own_in_a_file_that_is_nobody_elses(bus: Settings, small: NewSite) -> None:
    site = small("secretive")
    provision(bus, site)
    assert stat.S_IMODE(bus.secrets_path.stat().st_mode) == 0o700
    passwords = set()
    for user in users(site):
        assert stat.S_IMODE((bus.secrets_path / user).stat().st_mode) == 0o600
        passwords.add(bus.password(user))
        assert can_log_in(bus, user, bus.password(user))
    assert len(passwords) == len(users(site))
    assert all(len(password) >= 40 for password in passwords)


def test_writers_find_the_id_of_every_schema(bus: Settings, small: NewSite) -> None:
    site = small("framed")
    provision(bus, site)
    with registry_client(bus) as client:
        ids = schema_ids(client, site, [spec.name for spec in topics.all_topics(site)])
        assert set(ids) == {(subject.topic, subject.record) for subject in subjects(site)}
        for subject in subjects(site):
            assert client.get_schema(ids[subject.topic, subject.record]).schema_str
            assert client.get_compatibility(subject.name) == "FULL_TRANSITIVE"


def test_two_runs_at_once_make_one_site_with_one_password_each(bus: Settings, small: NewSite) -> None:
    site = small("raced")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: provision(bus, site), range(2)))
    assert sorted(len(result.differences) for result in results) == [0, len(results[0].steps)]
    for user in users(site):
        assert can_log_in(bus, user, bus.password(user))


# --- checked and repaired ---


def test_a_check_tells_what_is_missing_and_makes_nothing(bus: Settings, small: NewSite) -> None:
    site = small("checked")
    found = provision(bus, site, check=True)
    assert {step.did for step in found.steps} == {Did.MADE}
    assert names_on(bus, site) == set()
    assert subjects_on(bus, site) == set()
    assert not any((bus.secrets_path / user).exists() for user in users(site))


def test_what_somebody_changed_by_hand_is_named_and_put_right(bus: Settings, small: NewSite) -> None:
    site = small("drifted")
    provision(bus, site)
    admin = admin_of(bus)
    topic = topics.inbound(site.name, "city-pd", "StreetViolenceReported")
    longer = [ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)]
    done(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=longer)]))
    spying = AclBinding(
        ResourceType.TOPIC,
        topics.alerts_raised(site.name),
        ResourcePatternType.LITERAL,
        "User:drifted.city-pd",
        "10.1.1.1",
        AclOperation.READ,
        AclPermissionType.ALLOW,
    )
    done(admin.create_acls([spying]))
    (bus.secrets_path / "drifted.city-pd").unlink()
    expected = {
        (What.TOPIC, topic, Did.CHANGED),
        (What.ACL, "drifted.city-pd may read topic drifted.alerts.raised.v1 from 10.1.1.1", Did.REMOVED),
        (What.USER, "drifted.city-pd", Did.CHANGED),
    }
    assert differences(provision(bus, site, check=True)) == expected
    assert differences(provision(bus, site)) == expected
    assert provision(bus, site, check=True).differences == ()
    assert can_log_in(bus, "drifted.city-pd", bus.password("drifted.city-pd"))


def test_a_stranger_with_rights_on_the_site_is_reported_and_left_alone(bus: Settings, small: NewSite) -> None:
    site = small("visited")
    provision(bus, site)
    whole_site = ResourcePatternType.PREFIXED
    rights = [
        AclBinding(kind, name, pattern, "User:county-auditor", "*", operation, AclPermissionType.ALLOW)
        for kind, name, pattern, operation in (
            (ResourceType.TOPIC, topics.disclosures(site.name), ResourcePatternType.LITERAL, AclOperation.READ),
            (ResourceType.GROUP, "visited.", whole_site, AclOperation.ALL),
            (ResourceType.TRANSACTIONAL_ID, "visited.", whole_site, AclOperation.WRITE),
        )
    ]
    admin = admin_of(bus)  # what is asked ends with it
    done(admin.create_acls(rights))
    result = provision(bus, site)
    assert result.differences == ()
    may = "do all with group visited.*, read topic visited.audit.disclosures.v1, write transactional id visited.*"
    assert result.notes == (f"county-auditor may {may}, and is no user of the site",)


# --- revoked ---


def next_error(consumer: Consumer) -> int | None:
    """Code of the next message's error; None for a record."""
    message = consumer.poll(SECONDS)
    assert message is not None, "the broker said nothing"
    error = message.error()
    return None if error is None else int(error.code())


def test_a_desk_that_the_site_names_no_more_is_cut_off_even_while_it_reads(bus: Settings, small: NewSite) -> None:
    site = small("revoked")
    provision(bus, site)
    user, topic = "revoked.city-pd-intel", topics.alerts_for("revoked", "city-pd-intel", "coordination")
    password = bus.password(user)
    consumer = Consumer({**bus.kafka(user), "group.id": user, "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert next_error(consumer) == KafkaError._PARTITION_EOF
    result = provision(bus, site.model_copy(update={"recipients": ()}))
    assert (What.USER, user, Did.REMOVED) in differences(result)
    # A fetch that was waiting when the rights went is still answered, by the broker's design; no other is.
    answer = next_error(consumer)
    while answer == KafkaError.GROUP_AUTHORIZATION_FAILED:
        answer = next_error(consumer)
    assert answer == KafkaError.TOPIC_AUTHORIZATION_FAILED
    producer = Producer(bus.kafka("revoked.bus"))
    producer.produce(topic, b"not for it any more", key=b"k", partition=0)
    assert producer.flush(SECONDS) == 0
    assert all(message.error() is not None for message in consumer.consume(10, timeout=1))
    consumer.close()
    assert not can_log_in(bus, user, password)
    assert not (bus.secrets_path / user).exists()
    # Its alerts are records of the county: they are not deleted with the desk.
    assert topic in names_on(bus, site)
    assert f"topic {topic} is no part of the site any more; its records are kept" in result.notes
    # Nobody is left to be told of anything: said, and not refused.
    assert any(note.startswith("nobody would be told of feed_silent of city-pd: ") for note in result.notes)


# --- refused ---


def test_another_partition_count_is_refused_and_nothing_is_changed(bus: Settings, small: NewSite) -> None:
    site = small("miscounted")
    admin = admin_of(bus)
    done(admin.create_topics([NewTopic(topics.person_facts(site.name), 3, 1)]))
    with pytest.raises(ProvisionError, match=r"miscounted.bus.person.facts.v1 has 3 partitions, the site says 2"):
        provision(bus, site)
    assert names_on(bus, site) == {topics.person_facts(site.name)}
    assert subjects_on(bus, site) == set()
    assert not any((bus.secrets_path / user).exists() for user in users(site))


def test_a_password_file_that_others_can_read_is_refused(bus: Settings, small: NewSite, tmp_path: Path) -> None:
    site = small("leaky")
    # Not among the secrets of the bus: other tests hold that none of those is open.
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    shutil.copy2(bus.secrets_path / ADMIN, secrets)
    leaked = secrets / "leaky.bus"
    leaked.write_text("known to all\n", encoding="utf-8")
    leaked.chmod(0o644)
    with pytest.raises(Exception, match="open to other users of this machine"):
        provision(bus.model_copy(update={"secrets": secrets}), site)
    assert not can_log_in(bus, "leaky.bus", "known to all")


def test_a_user_that_may_not_administer_is_refused_in_one_line(
    bus: Settings, small: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = small("humble")
    provision(bus, site)
    monkeypatch.setattr(broker, "ADMIN", "humble.city-pd")
    with pytest.raises(ProvisionError, match=r"^the Kafka user humble.city-pd may not administer this broker$"):
        provision(bus, site, check=True)


def test_a_bus_that_is_away_is_told_in_one_line(bus: Settings, small: NewSite) -> None:
    site = small("away")
    with pytest.raises(ProvisionError, match=r"^the registry can't be reached: .*:1/apis"):
        provision(bus.model_copy(update={"registry_port": 1}), site)
    assert names_on(bus, site) == set()


# --- removed ---


def test_a_purge_removes_the_site_and_nothing_of_its_neighbour(bus: Settings, small: NewSite) -> None:
    site, neighbour = small("short"), small("shorter")
    provision(bus, site)
    provision(bus, neighbour)
    left = bus.home / "backup.part"
    left.mkdir()
    removed = purge(bus, site)
    assert f"removed {left}" in removed.notes
    assert not left.exists()
    assert {step.did for step in removed.steps} == {Did.REMOVED}
    assert names_on(bus, site) == set()
    assert subjects_on(bus, site) == set()
    assert not any((bus.secrets_path / user).exists() for user in users(site))
    assert provision(bus, neighbour, check=True).differences == ()
    assert purge(bus, site).steps == ()
    # A site of that name can be made anew.
    provision(bus, site)
    assert provision(bus, site, check=True).differences == ()


# --- the command ---


@pytest.fixture
def run(bus: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `sallyport provision` against the bus: (exit code, standard output, standard error)."""
    for name in [name for name in os.environ if name.startswith("SALLYPORT_")]:
        monkeypatch.delenv(name)
    for name, value in bus.model_dump(mode="json").items():
        if value is not None and name not in {"site", "site_file"}:
            monkeypatch.setenv(f"SALLYPORT_{name.upper()}", str(value))
    app = typer.Typer()
    app.command("provision")(command)

    def runner(*arguments: str, typed: str | None = None) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, arguments, input=typed)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return runner


@pytest.fixture
def site_of_ones_own(small: NewSite, tmp_path: Path) -> Path:
    """A directory with the demo site under another name."""
    directory = Path(shutil.copytree(SITES_DIR / "demo", tmp_path / "mine"))
    text = (directory / "site.toml").read_text(encoding="utf-8")
    text = text.replace('name = "demo"', 'name = "mine"').replace("partitions = 4", "partitions = 1")
    (directory / "site.toml").write_text(text, encoding="utf-8")
    small("mine")
    return directory


def test_the_command_provisions_checks_and_removes(run: Callable[..., Any], site_of_ones_own: Path) -> None:
    option = ("--site", str(site_of_ones_own))
    code, out, _ = run(*option, "--check")
    assert code == 1
    assert "missing: topic mine.city-pd.street-violence-reported.v1" in out
    code, out, _ = run(*option, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["site"] == "mine"
    assert report["counts"]["users"] == {"made": 8}
    code, out, _ = run(*option, "--check", "--json")
    assert code == 0
    assert json.loads(out)["differs"] is False
    code, _, err = run(*option, "--remove", typed="demo\n")
    assert code == 2
    assert err.splitlines()[-1].endswith("sallyport: not removed: 'demo' is not the site's name")
    assert run(*option, "--check")[0] == 0
    assert run(*option, "--remove", typed="mine\n")[0] == 0
    assert run(*option, "--check")[0] == 1


def test_the_command_says_in_one_line_what_is_wrong(run: Callable[..., Any], site_of_ones_own: Path) -> None:
    assert run("--site", "atlantis")[0] == 2
    (site_of_ones_own / "site.toml").write_text('name = "mine"', encoding="utf-8")
    code, out, err = run("--site", str(site_of_ones_own))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("sallyport: ")
    assert "title" in err
