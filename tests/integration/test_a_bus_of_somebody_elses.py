"""The same code on a bus that is not ours, by settings alone: an existing Kafka and a registry with Confluent's API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy.provision import provision
from schemas.settings import Settings
from tests.county import DAY, START, event
from tests.working_site import WorkingSite, until

pytestmark = pytest.mark.bus


@pytest.fixture(params=["with users and TLS", "in containers, without users"])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings as somebody writes them who has a Kafka: nothing in them says that it is ours."""
    if request.param != "with users and TLS":
        settings: Settings = request.getfixturevalue("container_bus")
        return settings
    bus: Settings = request.getfixturevalue("bus")
    return Settings(
        home=tmp_path / "home",
        embedded=False,
        bootstrap=bus.bootstrap_servers,
        registry=bus.registry_url,
        registry_user="admin",
        ca_file=bus.ca_path,
        secrets=bus.secrets_path,
    )


def test_provisioning_publishing_working_and_reading_need_nothing_but_settings(
    foreign: Settings, tmp_path: Path
) -> None:
    site = WorkingSite.make(foreign, tmp_path, "somebody-elses", partitions=1, clock="history")
    assert provision(foreign, site.site, check=True).differences == ()
    site.start_worker()
    try:
        rivals: list[Any] = [
            *(event("BookingReported", person) for person in ("ada", "bo")),
            *(event("HousingAssigned", person, day=1, unit="4-B") for person in ("ada", "bo")),
            event("AffiliationValidated", "ada", day=1, group="Eastside"),
            event("AffiliationValidated", "bo", day=1, group="Harbor"),
            event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"]),
        ]
        site.publish(rivals)
        site.tick(START + 3 * DAY)
        until(lambda: site.shown_to("county-jail-watch"), "the shift commander saw the alert")
    finally:
        site.end()
