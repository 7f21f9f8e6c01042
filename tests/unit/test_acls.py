"""Each user gets the least it needs. What the broker makes of it: tests/integration/test_least_privilege.py."""

from __future__ import annotations

import pytest

from deploy.acls import Acl, Operation, Pattern, Resource, acls, acls_of_agency, acls_of_clock, users
from deploy.sites import SITES_DIR
from schemas import topics
from schemas.site import Site, read_site


@pytest.fixture
def site() -> Site:
    return read_site(SITES_DIR / "demo")


@pytest.fixture
def history(site: Site) -> Site:
    return site.model_copy(update={"name": "then", "clock": "history"})


def allowed(site: Site, who: str, operation: Operation, topic: str) -> bool:
    """Whether some ACL matches, as Kafka matches them."""
    return any(
        acl.user == site.user(who)
        and acl.operation == operation
        and acl.resource == Resource.TOPIC
        and (topic.startswith(acl.name) if acl.pattern == Pattern.PREFIXED else topic == acl.name)
        for acl in acls(site)
    )


def test_every_right_is_a_users_of_the_site(site: Site) -> None:
    assert {acl.user for acl in acls(site)} == set(users(site))


def test_nobody_has_a_right_outside_the_site(site: Site) -> None:
    for acl in acls(site):
        assert acl.name.startswith("demo."), str(acl)


def test_nobody_may_create_delete_alter_or_administer(site: Site, history: Site) -> None:
    for acl in acls(site) | acls(history):
        assert acl.operation in {Operation.READ, Operation.WRITE, Operation.DESCRIBE}
        assert acl.resource in {Resource.TOPIC, Resource.GROUP, Resource.TRANSACTIONAL_ID}
        assert acl.permission == "ALLOW"


def test_an_agency_writes_every_one_of_its_topics_and_none_of_anothers(site: Site) -> None:
    for topic in topics.inbound_topics(site):
        _, owner, _ = topics.parse_inbound(topic.name)
        for agency in site.agencies:
            assert allowed(site, agency.id, Operation.WRITE, topic.name) is (agency.id == owner)


def test_an_agency_does_not_write_for_one_whose_id_begins_with_its_own(site: Site) -> None:
    assert not allowed(site, "county-jail", Operation.WRITE, "demo.county-jail-annex.booking-reported.v1")


def test_an_agency_reads_nothing_but_its_own_dead_letters_and_what_became_of_them(site: Site) -> None:
    read = {topic.name for topic in topics.all_topics(site) if allowed(site, "county-jail", Operation.READ, topic.name)}
    assert read == {
        "demo.bus.dead-letters.county-jail.v1",
        "demo.bus.dead-letters.county-jail.care.v1",
        "demo.county-jail.dead-letters-settled.v1",
    }


def test_what_was_refused_of_care_is_read_by_its_agency_and_the_bus_and_nobody_else(site: Site) -> None:
    topic = topics.care_dead_letters("demo", "county-jail")
    everybody = {user.removeprefix("demo.") for user in users(site)}
    assert {who for who in everybody if allowed(site, who, Operation.READ, topic)} == {"county-jail", "bus"}


def test_a_recipient_reads_its_own_alerts_its_desk_and_the_stage_reports(site: Site) -> None:
    read = {
        topic.name for topic in topics.all_topics(site) if allowed(site, "city-pd-intel", Operation.READ, topic.name)
    }
    assert read == {
        "demo.alerts.city-pd-intel.investigation.v1",
        "demo.alerts.city-pd-intel.contraband.v1",
        "demo.alerts.city-pd-intel.coordination.v1",
        "demo.bus.stage-reports.v1",
        "demo.desk.actions.city-pd-intel.v1",
    }


def test_the_bus_cannot_write_in_an_agencys_or_a_desks_name(site: Site) -> None:
    written = {topic.name for topic in topics.all_topics(site) if allowed(site, "bus", Operation.WRITE, topic.name)}
    own = {topic.name for topic in topics.all_topics(site) if topic.name.split(".")[1] in {"bus", "alerts", "audit"}}
    assert written == own


def test_only_a_history_site_has_a_clock_user(site: Site, history: Site) -> None:
    assert "demo.clock" not in users(site)
    assert "then.clock" in users(history)
    assert not any(acl.user == "demo.clock" for acl in acls(site))
    assert acls_of_clock(history) <= acls(history)


def test_the_clock_writes_ticks_and_reads_no_event(history: Site) -> None:
    for topic in topics.all_topics(history):
        assert allowed(history, "clock", Operation.WRITE, topic.name) is (topic.name == "then.bus.clock.v1")
        assert not allowed(history, "clock", Operation.READ, topic.name)


def test_a_right_reads_as_a_sentence(site: Site) -> None:
    sentences = {str(acl) for acl in acls_of_agency(site, site.agency_by_id["city-pd"])}
    assert sentences == {
        "demo.city-pd may write topic demo.city-pd.*",
        "demo.city-pd may read topic demo.bus.dead-letters.city-pd.v1",
        "demo.city-pd may read topic demo.city-pd.dead-letters-settled.v1",
        "demo.city-pd may read group demo.city-pd",
    }
    denied = Acl("u", "READ", "TRANSACTIONAL_ID", "LITERAL", "t", host="10.0.0.1", permission="DENY")
    assert str(denied) == "u may not read transactional id t from 10.0.0.1"
