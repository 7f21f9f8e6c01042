"""The shipped sites hold together, and a wrong site is refused with the file and the field."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from deploy.changes import Ground, changes
from deploy.sites import SITES_DIR, load_site, settings_for, shipped_sites
from deploy.topic_settings import topic_settings
from schemas import topics
from schemas.agreements import Agreement, SiteError
from schemas.events import CARE_EVENTS, EVENT_TYPES
from schemas.settings import Settings
from schemas.site import Site, read_site

MAY_2026 = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp()) * 1_000_000
JAIL_TO_POLICE = "county-jail-to-city-pd-coordination"
POLICE_TO_JAIL = "city-pd-to-county-jail-housing"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A copy of the demo site, to spoil."""
    return Path(shutil.copytree(SITES_DIR / "demo", tmp_path / "mine"))


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("name", sorted(shipped_sites()))
def test_a_shipped_site_reads_and_is_called_as_its_directory(name: str) -> None:
    assert read_site(shipped_sites()[name]).name == name


@pytest.mark.parametrize("name", sorted(shipped_sites()))
def test_an_agreement_of_a_shipped_site_is_called_as_its_file(name: str) -> None:
    directory = shipped_sites()[name]
    files = {path.stem for path in (directory / "agreements").glob("*.toml")}
    assert {agreement.id for agreement in read_site(directory).agreements} == files


def test_the_demo_site_publishes_every_event_there_is() -> None:
    demo = read_site(SITES_DIR / "demo")
    assert {event for agency in demo.agencies for event in agency.event_types} == set(EVENT_TYPES)


def granting(site: Site, source: str, recipient: str, kind: str, event_type: str) -> list[Agreement]:
    return [
        one
        for one in site.agreements
        if (one.source, one.recipient) == (source, recipient)
        and kind in one.kinds
        and event_type in one.grants
        and one.in_force(MAY_2026)
    ]


def test_the_demo_jail_may_see_of_a_feud_what_housing_needs_and_no_more() -> None:
    demo = read_site(SITES_DIR / "demo")
    found = granting(demo, "city-pd", "county-jail", "housing", "StreetViolenceReported")
    assert [agreement.id for agreement in found] == [POLICE_TO_JAIL]
    assert set(found[0].grants["StreetViolenceReported"]) == {"groups", "place", "time", "retaliation_expected"}
    assert set(found[0].grants["AffiliationReported"]) == {"group", "status", "time"}


def test_no_demo_agreement_grants_care_or_the_jails_own_intelligence() -> None:
    for agreement in read_site(SITES_DIR / "demo").agreements:
        assert not CARE_EVENTS & set(agreement.grants)
        assert "AffiliationValidated" not in agreement.grants


def test_no_agreement_is_needed_the_other_way_and_none_is_there() -> None:
    demo = read_site(SITES_DIR / "demo")
    assert not granting(demo, "county-jail", "city-pd", "housing", "HousingAssigned")
    assert not granting(demo, "county-jail", "city-pd", "coordination", "HousingAssigned")
    assert granting(demo, "county-jail", "city-pd", "coordination", "CustodyEnded")


# --- finding ---


def test_the_settings_name_a_shipped_site() -> None:
    assert load_site(Settings(site="demo")).name == "demo"


def test_a_site_that_is_not_shipped_is_told_with_those_that_are() -> None:
    with pytest.raises(SiteError, match=r"no site 'atlantis': shipped are .*demo"):
        load_site(Settings(site="atlantis"))


def test_a_directory_of_ones_own_counts_before_the_name(mine: Path) -> None:
    spoil(mine / "site.toml", 'name = "demo"', 'name = "mine"')
    assert load_site(Settings(site_file=mine)).name == "mine"
    assert load_site(Settings(site_file=mine / "site.toml")).name == "mine"


def test_the_option_of_a_command_is_a_name_or_a_directory_and_counts_before_the_settings(mine: Path) -> None:
    spoil(mine / "site.toml", 'name = "demo"', 'name = "mine"')
    assert load_site(settings_for(Settings(), str(mine))).name == "mine"
    assert load_site(settings_for(Settings(), str(mine / "site.toml"))).name == "mine"
    assert load_site(settings_for(Settings(site_file=mine), "demo")).name == "demo"
    assert load_site(settings_for(Settings(site_file=mine), None)).name == "mine"


# --- what is refused ---


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('ori = "NY0990100"', 'ori = "NY099"', "agencies.1.ori: .*must be an ORI"),
        ('id = "city-pd"', 'id = "bus"', "agencies.1.id: .*reserved for the bus itself"),
        ('id = "city-pd-intel"', 'id = "bus"', "recipients.3.id: .*reserved for the bus itself"),
        ('id = "city-pd-intel"', 'id = "clock"', "recipients.3.id: .*reserved for the bus itself"),
        ('id = "city-pd-intel"', 'id = "city-pd"', "an agency has the same id"),
        ('id = "city-pd"', 'id = "City PD"', "agencies.1.id: "),
        ('"StreetViolenceReported"', '"StreetViolence"', "StreetViolence is no event type"),
        ('time_zone = "America/New_York"', 'time_zone = "Eastern"', "no IANA time zone"),
        ('agency = "county-jail"', 'agency = "jail"', "no agency jail"),
        ("partitions = 4", "partitions = 0", "partitions: "),
        ("partitions = 4", "partition = 4", "partition: "),
        ('kinds = ["housing", "coordination"]', 'kinds = ["housing", "gossip"]', "recipients.1.kinds.1: "),
        ("[[agencies]]", "[agencies", r"site.toml: Expected '\]'.*line"),
    ],
)
def test_a_wrong_site_is_refused_with_the_field(mine: Path, old: str, new: str, said: str) -> None:
    spoil(mine / "site.toml", old, new)
    with pytest.raises(SiteError, match=said) as error:
        read_site(mine)
    assert "\n" not in str(error.value)
    assert str(mine / "site.toml") in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"groups", ', '"group", ', "StreetViolenceReported has no field group"),
        ('"groups", ', '"head", ', "StreetViolenceReported has no field head"),
        ("AffiliationReported =", "Affiliation =", "Affiliation is no event type"),
        ("AffiliationReported =", "CareObserved =", "CareObserved"),
        ("2014-01-01T00:00:00Z", "2014-01-01", ", must have a time and its offset, such as 2026-01-01T00:00:00-05:00$"),
        ("2014-01-01T00:00:00Z", "2014-01-01T00:00:00", "must have a time and its offset"),
        ("[grants]", "valid_until = 2013-01-01T00:00:00Z\n[grants]", "must be later than valid_from"),
        ("authority = ", "# authority = ", "authority: "),
    ],
)
def test_a_wrong_agreement_is_refused_with_the_field(mine: Path, old: str, new: str, said: str) -> None:
    path = mine / "agreements" / f"{POLICE_TO_JAIL}.toml"
    spoil(path, old, new)
    with pytest.raises(SiteError, match=said) as error:
        read_site(mine)
    assert str(path) in str(error.value)


def test_health_can_be_granted_to_care_and_to_nothing_else(mine: Path) -> None:
    path = mine / "agreements" / f"{JAIL_TO_POLICE}.toml"
    spoil(path, "[grants]", '[grants]\nCareObserved = ["time"]')
    with pytest.raises(SiteError, match="CareObserved is of health and goes to care only"):
        read_site(mine)
    spoil(path, 'kinds = ["coordination"]', 'kinds = ["care", "coordination"]')
    with pytest.raises(SiteError, match="CareObserved is of health and goes to care only"):
        read_site(mine)
    spoil(path, 'kinds = ["care", "coordination"]', 'kinds = ["care"]')
    assert "CareObserved" in next(a for a in read_site(mine).agreements if a.id == JAIL_TO_POLICE).grants


def test_an_agreement_with_somebody_unknown_is_refused(mine: Path) -> None:
    spoil(mine / "agreements" / f"{JAIL_TO_POLICE}.toml", 'recipient = "city-pd"', 'recipient = "fbi"')
    with pytest.raises(SiteError, match=f"agreement {JAIL_TO_POLICE}: no agency fbi"):
        read_site(mine)


def test_an_agreement_counts_from_its_first_moment_to_before_its_last(mine: Path) -> None:
    path = mine / "agreements" / f"{POLICE_TO_JAIL}.toml"
    spoil(path, "2014-01-01T00:00:00Z", "2026-01-01T00:00:00-05:00\nvalid_until = 2026-02-01T00:00:00-05:00")
    agreement = next(a for a in read_site(mine).agreements if a.id == POLICE_TO_JAIL)
    first, last = (int(datetime(2026, month, 1, 5, tzinfo=UTC).timestamp()) * 1_000_000 for month in (1, 2))
    assert [agreement.in_force(now) for now in (first - 1, first, last - 1, last)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'time_zone = "America/New_York"',
            'time_zone = "Eastern"',
            "facilities.0.time_zone: Value error, 'Eastern' is no IANA time zone, such as America/New_York",
        ),
        (
            'time_zone = "America/New_York"',
            'time_zone = "../etc"',
            "facilities.0.time_zone: Value error, '../etc' is no IANA time zone, such as America/New_York",
        ),
        ('id = "city-pd"', 'id = "bus"', "agencies.1.id: Value error, bus is reserved for the bus itself"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(mine: Path, old: str, new: str, said: str) -> None:
    spoil(mine / "site.toml", old, new)
    with pytest.raises(SiteError) as error:
        read_site(mine)
    assert str(error.value) == f"{mine / 'site.toml'}: {said}"


def test_a_site_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"site\.toml: .*No such file"):
        read_site(tmp_path)


def test_a_site_may_have_names_in_any_alphabet(mine: Path) -> None:
    spoil(mine / "site.toml", 'name = "City Police Department"', 'name = "Policía de la Ciudad"')
    assert read_site(mine).agency_by_id["city-pd"].name == "Policía de la Ciudad"


def test_a_site_with_changes_is_checked_as_a_files_would_be_and_finds_its_own() -> None:
    demo = read_site(SITES_DIR / "demo")
    assert demo.model_copy() == demo
    assert set(demo.agency_by_id) == {"county-jail", "city-pd", "county-court"}
    renamed = [demo.agencies[0], demo.agencies[1].model_copy(update={"name": "Police"}), demo.agencies[2]]
    changed = demo.model_copy(update={"agencies": renamed})
    assert changed.agency_by_id["city-pd"].name == "Police"
    assert (changed.name, changed.partitions, changed.recipients) == (demo.name, demo.partitions, demo.recipients)
    with pytest.raises(ValidationError):
        demo.model_copy(update={"partitions": 0})


def test_a_user_of_the_bus_is_called_after_its_site() -> None:
    assert read_site(SITES_DIR / "demo").user("city-pd") == "demo.city-pd"


# --- settings of topics ---


def test_a_broker_that_is_away_just_now_does_not_lower_what_an_acknowledgement_means() -> None:
    demo = read_site(SITES_DIR / "demo")
    specs = topics.all_topics(demo)
    ground = Ground(
        brokers=2,
        partitions={spec.name: spec.partitions for spec in specs},
        replicas={spec.name: 3 for spec in specs},
        settings={spec.name: dict(topic_settings(spec, brokers=3)) for spec in specs},
        users=None,
        acls=None,
    )
    assert changes(demo, ground, frozenset()).changed_settings == {}


def test_every_topic_has_its_age_from_the_brokers_clock_and_a_bound_on_size() -> None:
    for spec in topics.all_topics(read_site(SITES_DIR / "demo")):
        settings = topic_settings(spec, brokers=1)
        assert settings["message.timestamp.type"] == "LogAppendTime"
        assert int(settings["max.message.bytes"]) >= 1_000_000, "the default batch of clients would not fit"
        assert int(settings["max.message.bytes"]) <= 2 << 20


def test_a_dead_letter_or_a_fact_can_be_larger_than_the_record_it_is_of() -> None:
    demo = read_site(SITES_DIR / "demo")
    size = {spec.name: int(topic_settings(spec, brokers=1)["max.message.bytes"]) for spec in topics.all_topics(demo)}
    largest = max(size[spec.name] for spec in topics.inbound_topics(demo))
    assert size["demo.bus.person.facts.v1"] > largest
    assert size["demo.bus.dead-letters.county-jail.v1"] > largest


def test_health_is_kept_the_shortest_and_goes_on_time() -> None:
    demo = read_site(SITES_DIR / "demo")
    settings = {spec.name: topic_settings(spec, brokers=1) for spec in topics.inbound_topics(demo)}
    care = settings.pop("demo.county-jail.care-observed.v1")
    assert all(int(care["retention.ms"]) < int(other["retention.ms"]) for other in settings.values())
    assert int(care["segment.ms"]) <= topics.DAY_MS, "a record outlives its retention by up to one segment"


def test_nothing_is_lost_with_one_of_three_brokers_and_one_broker_is_enough() -> None:
    spec = topics.all_topics(read_site(SITES_DIR / "demo"))[0]
    assert [topic_settings(spec, brokers)["min.insync.replicas"] for brokers in (1, 2, 3, 5)] == ["1", "1", "2", "2"]
