"""Alerts that would reach nobody, and recipients that would not learn that they are blind, are named with a remedy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy import health
from deploy.cli import app
from deploy.commands import worker
from deploy.health import Grade, Part
from deploy.nobody_told import DELIVERIES, RESTS_ON, occasions, untold
from deploy.sites import SITES_DIR, shipped_sites
from schemas.events import EVENT_TYPES
from schemas.site import Site, read_site
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from tests.county import demo_site
from tests.working_site import site_files

NOW = time.time_ns() // 1000
COUNTY = read_site(SITES_DIR / "county")
RULES = {rule.name for rule in PERSON_CORRELATIONS} | {rule.name for rule in FACILITY_CORRELATIONS}


def without(site: Site, recipient: str) -> Site:
    return site.model_copy(update={"recipients": [one for one in site.recipients if one.id != recipient]})


def with_recipient(site: Site, recipient: str, **changed: Any) -> Site:
    recipients = [one.model_copy(update=changed) if one.id == recipient else one for one in site.recipients]
    return site.model_copy(update={"recipients": recipients})


def without_agreement(site: Site, agreement: str) -> Site:
    return site.model_copy(update={"agreements": [one for one in site.agreements if one.id != agreement]})


def said_of(site: Site) -> list[str]:
    found = untold(site, NOW)
    assert all(one.do for one in found), "each says what to do"
    assert not any("\n" in one.line for one in found)
    return [one.line for one in found]


@pytest.mark.parametrize("name", sorted(shipped_sites()))
def test_on_a_shipped_site_each_alert_has_a_recipient_and_each_recipient_learns_when_it_is_blind(name: str) -> None:
    assert said_of(read_site(shipped_sites()[name])) == []


def test_a_site_of_tips_without_a_deconfliction_service_is_named_with_who_gives_them() -> None:
    (line,) = said_of(COUNTY.model_copy(update={"deconfliction": None}))
    assert "city-pd" in line
    assert "no deconfliction service" in line
    assert "give the site deconfliction" in line


def test_a_site_without_tips_needs_no_deconfliction_service() -> None:
    assert read_site(SITES_DIR / "nyc-history").deconfliction is None
    assert said_of(read_site(SITES_DIR / "nyc-history")) == []


def test_every_correlation_can_come_and_says_what_it_rests_on() -> None:
    assert RESTS_ON.keys() == RULES
    assert {one.rule for one in occasions(COUNTY)} == RULES
    assert {kind for types in RESTS_ON.values() for kind in types} <= EVENT_TYPES.keys()


def test_a_jail_without_internal_affairs_is_named_in_one_line_with_its_facilities() -> None:
    (said,) = said_of(without(COUNTY, "county-affairs"))
    where = "county-jail-main and county-jail-annex"
    assert said == (
        f"nobody would be told of contraband_delivery_expected of county-jail at {where}, where it touches staff: "
        "give a recipient of county-jail the kind contraband and internal_affairs = true, "
        f"for {where} or for all facilities"
    )


def test_internal_affairs_for_another_facility_are_none_for_this_one() -> None:
    (said,) = said_of(with_recipient(COUNTY, "county-affairs", facilities=("county-jail-main",)))
    assert "of county-jail at county-jail-annex, where it touches staff" in said


def test_an_author_without_a_desk_is_named() -> None:
    said = said_of(without(COUNTY, "city-pd-intel"))
    assert said[0].startswith(
        "nobody would be told of tip_too_broad of city-pd at county-jail-main, county-jail-annex and"
    )
    assert "give a recipient of city-pd the kind investigation" in said[0]
    # Of its silence the jails' desks are told.
    assert len(said) == 1


def test_an_author_that_runs_a_jail_needs_somebody_for_what_touches_its_own_staff() -> None:
    jail = next(one for one in COUNTY.agencies if one.id == "county-jail")
    authors = [*COUNTY.agencies]
    authors[authors.index(jail)] = jail.model_copy(update={"publishes": (*jail.publishes, "ContrabandTipped")})
    site = COUNTY.model_copy(update={"agencies": authors})
    kinds = ("housing", "contraband", "coordination", "investigation")
    site = with_recipient(site, "county-watch", kinds=kinds, facilities=())

    def broad(site: Site) -> list[str]:
        return [one for one in said_of(site) if "tip_too_broad" in one]

    (said,) = broad(site)
    assert "where it touches staff" in said
    assert not broad(with_recipient(site, "county-affairs", kinds=("contraband", "investigation", "coordination")))


@pytest.mark.parametrize(
    ("rule", "kinds"),
    [
        ("classification_review", ("contraband", "coordination")),
        ("rivals_housed_together", ("contraband", "coordination")),
        ("contraband_delivery_expected", ("housing", "coordination")),
    ],
)
def test_a_desk_that_gives_up_a_kind_leaves_nobody_for_its_alerts(rule: str, kinds: tuple[str, ...]) -> None:
    said = said_of(with_recipient(without(COUNTY, "prison-affairs"), "prison-watch", kinds=kinds))
    assert any(one.startswith(f"nobody would be told of {rule} of state-prison at state-prison-north") for one in said)


def test_a_lockup_whose_list_stands_still_is_told_to_the_jail_that_has_an_agreement_for_it() -> None:
    lockup = "nobody would be told of feed_frozen of town-lockup at town-lockup: "
    jails = ("county-jail-main", "county-jail-annex")
    elsewhere = with_recipient(COUNTY, "county-watch", facilities=jails)
    (said,) = said_of(with_recipient(elsewhere, "county-affairs", facilities=jails))
    assert said.startswith(lockup)
    both = said_of(without_agreement(COUNTY, "town-lockup-to-county-jail-coordination"))
    assert [one.split(": ")[0] for one in both] == [
        "nobody would be told of feed_frozen of town-lockup at town-lockup",
        "nobody would be told of feed_silent of town-lockup",
    ]


def test_what_cannot_come_needs_nobody() -> None:
    jail_alone = demo_site()
    jail = jail_alone.agencies[0].model_copy(update={"publishes": ("BookingReported",)})
    site = jail_alone.model_copy(
        update={"agencies": (jail, jail_alone.agencies[1]), "recipients": (), "agreements": ()}
    )
    assert {one.split(" of ")[1] for one in said_of(site)} == {"feed_silent"}


def test_police_who_give_tips_learn_when_what_they_are_compared_with_stops_coming() -> None:
    """The jail's visits, mail, payments and returns; and bookings and releases, without which nobody is visited."""
    (said,) = said_of(without_agreement(COUNTY, "county-jail-to-sheriff-coordination"))
    assert said.startswith("sheriff-intel would not be told when what it relies on falls silent: ")
    assert all(kind in said for kind in (*DELIVERIES, "BookingReported"))
    assert "HousingAssigned" not in said
    assert said.endswith("let an agreement of kind coordination grant their time to sheriff: county-jail")


def test_whoever_is_told_of_alerts_learns_when_what_they_rest_on_stops_coming_by_kind_and_by_agreement() -> None:
    (own,) = said_of(with_recipient(COUNTY, "prison-affairs", kinds=("contraband",)))
    assert own.endswith("of state-prison: give it the kind coordination")
    for_housing = [
        one.model_copy(update={"kinds": ("housing",)}) if one.id == "city-pd-to-county-jail-housing" else one
        for one in COUNTY.agreements
    ]
    (theirs,) = said_of(COUNTY.model_copy(update={"agreements": for_housing}))
    assert theirs.startswith(
        "county-watch would not be told when what it relies on falls silent: AffiliationReported, "
    )
    assert theirs.endswith("grant their time to county-jail: city-pd")


def test_an_agreement_counts_while_it_is_in_force() -> None:
    ends = [
        one.model_copy(update={"valid_until": NOW + 1}) if one.id == "town-lockup-to-county-jail-coordination" else one
        for one in COUNTY.agreements
    ]
    site = COUNTY.model_copy(update={"agreements": ends})
    assert not untold(site, NOW)
    assert untold(site, NOW + 1)


def test_the_doctor_warns_of_each_and_what_runs_is_not_refused() -> None:
    (well,) = health.recipients_found([])
    assert (well.part, well.grade, well.do) == (Part.RECIPIENTS, Grade.OK, "")
    found = health.recipients_found(untold(without(without(COUNTY, "county-affairs"), "city-pd-intel"), NOW))
    assert [one.grade for one in found] == [Grade.WARNING] * 2
    assert all(one.do.endswith("start the workers anew") for one in found)


def test_a_worker_says_it_in_its_log_on_a_live_site_before_it_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "GIVE_WAY", 0)
    monkeypatch.setenv("SALLYPORT_HOME", str(tmp_path / "home"))

    def no_affairs(directory: Path) -> None:
        file = directory / "site.toml"
        file.write_text(file.read_text().replace("internal_affairs = true", ""))

    for clock in ("live", "history"):
        directory = site_files(tmp_path, f"mine-{clock}", clock=clock, change=no_affairs)
        done = CliRunner().invoke(app, ["worker", "--site", str(directory)])
        assert "no password for user" in done.stderr, "it got as far as to ask for its password"
    (said,) = [one.getMessage() for one in caplog.records if "nobody would be told" in one.getMessage()]
    assert said.startswith("mine-live: nobody would be told of contraband_delivery_expected of county-jail")
