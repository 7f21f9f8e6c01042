"""The doctor on a real bus: what it finds of one that is well, and that it finds what was broken on purpose."""

from __future__ import annotations

import json
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from deploy.broker import EVERY_ACL
from deploy.cli import app
from deploy.examination import Examination
from deploy.health import Finding, Grade, Part
from deploy.kafka_config import ADMIN
from deploy.provision import provision
from deploy.sites import SITES_DIR
from producers.publisher import Publisher
from schemas import topics
from schemas.settings import Settings
from schemas.site import Site, read_site
from tests.county import event
from tests.working_site import environment

pytestmark = pytest.mark.bus
NAMES = count()
WITHOUT_WORKERS = {Part.WORKERS}
"""What is not well of a bus on which everything is right and no worker runs."""


@pytest.fixture
def site(bus: Settings) -> Site:
    site = read_site(SITES_DIR / "demo").model_copy(update={"name": f"examined-{next(NAMES)}", "partitions": 1})
    provision(bus, site)
    return site


def examined(settings: Settings, site: Site) -> dict[Part, Finding]:
    findings = list(Examination(settings, site).findings())
    assert {finding.part for finding in findings} == set(Part), "every part is spoken of"
    by_grade = sorted(findings, key=lambda finding: list(Grade).index(finding.grade))
    return {finding.part: finding for finding in by_grade}


def not_well(found: dict[Part, Finding]) -> set[Part]:
    return {part for part, finding in found.items() if finding.grade is not Grade.OK}


def test_of_a_bus_on_which_all_is_right_only_the_missing_worker_is_told(bus: Settings, site: Site) -> None:
    found = examined(bus, site)
    assert not_well(found) == WITHOUT_WORKERS, found
    assert found[Part.WORKERS].grade is Grade.CRITICAL
    assert "sallyport worker" in found[Part.WORKERS].do
    assert "days, on 20" in found[Part.CERTIFICATES].says


def test_a_right_that_was_taken_and_a_topic_that_is_gone_are_found(bus: Settings, site: Site) -> None:
    admin = AdminClient(bus.kafka(ADMIN))
    rights = [one for one in admin.describe_acls(EVERY_ACL).result() if one.principal == f"User:{site.name}.bus"]
    (gone,) = admin.delete_acls([_filter_of(rights[0])]).values()
    assert len(gone.result()) == 1
    topic = sorted(name for name in admin.list_topics().topics if name.startswith(f"{site.name}."))[0]
    admin.delete_topics([topic])[topic].result()
    found = examined(bus, site)
    assert {Part.RIGHTS, Part.TOPICS} <= not_well(found)
    assert found[Part.RIGHTS].says.endswith("1 missing")
    assert found[Part.TOPICS].says.endswith("1 missing")
    assert found[Part.SCHEMAS].grade is Grade.OK


def _filter_of(binding: Any) -> Any:
    kind = type(EVERY_ACL)
    return kind(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )


def test_where_the_broker_is_away_it_says_so_and_still_examines_what_it_can(bus: Settings, site: Site) -> None:
    found = examined(bus.model_copy(update={"kafka_port": 1}), site)
    assert found[Part.BROKER].grade is Grade.CRITICAL
    assert "sallyport up" in found[Part.BROKER].do
    assert {found[part].grade for part in (Part.USERS, Part.RIGHTS, Part.LAG)} == {Grade.UNKNOWN}
    assert {found[part].grade for part in (Part.REGISTRY, Part.SCHEMAS, Part.CLOCK, Part.DISK)} == {Grade.OK}


def test_where_the_registry_is_away_it_says_so_and_still_examines_the_broker(bus: Settings, site: Site) -> None:
    found = examined(bus.model_copy(update={"registry_port": 1}), site)
    assert found[Part.REGISTRY].grade is Grade.CRITICAL
    assert {found[part].grade for part in (Part.SCHEMAS, Part.CLOCK)} == {Grade.UNKNOWN}
    assert {found[part].grade for part in (Part.BROKER, Part.TOPICS, Part.RIGHTS)} == {Grade.OK}


def test_on_an_agencys_machine_it_examines_what_that_may_see(bus: Settings, site: Site, tmp_path: Path) -> None:
    """It has the certificate of the bus and its own password, and no other."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    mine = secrets / site.user("county-jail")
    mine.write_text((bus.secrets_path / mine.name).read_text())
    mine.chmod(0o600)
    theirs = bus.model_copy(update={"home": tmp_path, "secrets": secrets, "ca_file": bus.ca_path})
    found = examined(theirs, site)
    assert Grade.CRITICAL not in {finding.grade for finding in found.values()}, found
    assert {found[part].grade for part in (Part.CERTIFICATES, Part.CLOCK, Part.SECRETS)} == {Grade.OK}
    mine.chmod(0o644)
    assert examined(theirs, site)[Part.SECRETS].grade is Grade.CRITICAL


def test_the_disk_of_a_broker_that_is_not_ours_is_not_taken_for_the_one_here(bus: Settings, site: Site) -> None:
    not_ours: list[dict[str, object]] = [{"embedded": False}, {"bootstrap": bus.bootstrap_servers}]
    for settings in (bus.model_copy(update=changes) for changes in not_ours):
        found = [one for one in Examination(settings, site).findings() if one.part is Part.DISK]
        assert ["not seen from here" in one.says for one in found] == [False, True], "here, and there"


def test_a_clock_behind_the_broker_s_is_found(bus: Settings, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    producer, now = Producer(bus.kafka(site.user("bus"))), time.time_ns
    producer.produce(topics.dead_letters(site.name, "county-jail"), b"what was set aside")
    assert producer.flush(20) == 0
    assert examined(bus, site)[Part.CLOCK].grade is Grade.OK
    # The machine's own clock is nobody's to set here.
    monkeypatch.setattr("deploy.examination.time.time_ns", lambda: now() - 60 * 1_000_000_000)
    found = examined(bus, site)[Part.CLOCK]
    assert (found.grade, "s or more behind the broker's" in found.says) == (Grade.WARNING, True)


def test_events_that_wait_are_counted_and_left_to_their_publisher(bus: Settings, site: Site, tmp_path: Path) -> None:
    away = bus.model_copy(
        update={"home": tmp_path, "kafka_port": 1, "secrets": bus.secrets_path, "ca_file": bus.ca_path}
    )
    with Publisher(away, site, "county-jail") as publisher:
        publisher.publish_many([event("BookingReported", f"p{number}") for number in range(3)])
        here = bus.model_copy(update={"home": tmp_path, "secrets": bus.secrets_path, "ca_file": bus.ca_path})
        while_it_runs = examined(here, site)[Part.SPOOLS]
        assert publisher.pending == 3
    assert while_it_runs == examined(here, site)[Part.SPOOLS]
    assert while_it_runs.says == "events wait on this machine: 3 of county-jail"


def test_the_command_tells_people_and_scripts_and_monitoring_the_same(bus: Settings) -> None:
    site = read_site(SITES_DIR / "demo")
    provision(bus, site)
    runner = CliRunner(env=environment(bus))
    for_people = runner.invoke(app, ["doctor", "--site", "demo"])
    for_scripts = runner.invoke(app, ["doctor", "--site", "demo", "--json"])
    assert for_people.exit_code == for_scripts.exit_code == 2
    told = json.loads(for_scripts.stdout)
    assert (told["site"], told["grade"]) == ("demo", "CRITICAL")
    assert {finding["part"] for finding in told["findings"]} == set(Part)
    assert "CRITICAL workers" in for_people.stdout
    assert "-> start a worker" in for_people.stdout
    assert runner.invoke(app, ["doctor", "--site", "nowhere"]).exit_code == 2
