"""The facility's picture: who is where by the latest record of each person, and what a feud outside concerns inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from schemas.codec import DecodeError, encode, encode_event
from schemas.events import AffiliationStatus, DeliveryMethod, Event
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.custody import custody_key, read_placed
from streams.facts import TICK_KEY, Conflict, FactKey, KeyKind
from streams.heard import SLOT, Heard, Listed, Note
from streams.pictures.deliveries import Delivery
from streams.pictures.facility import (
    FEED_HEARD,
    NOTHING,
    FacilityChange,
    FacilityPicture,
    Focus,
    InCustody,
    Standing,
    UnitKey,
)
from streams.pictures.feeds import KEPT, FeedKey
from streams.pictures.interceptions import DeliveryKey, TipAt, Touched
from streams.pictures.lists import ListKey
from streams.records import LoggedRecord
from tests.county import DAY, JAIL, MAIN, POLICE, START, event, event_id
from tests.facility_facts import HOUSED, SAID, gone, placed, violence
from tests.identified import fact_of

A, B = UnitKey(MAIN, "4-A"), UnitKey(MAIN, "4-B")


def ticked(at: int) -> LoggedRecord:
    return LoggedRecord(0, TICK_KEY, encode("Tick", {"time": at}, SCHEMA_IDS["Tick"]))


NO_TICK = encode_event(event("BookingReported", "ada"), SCHEMA_IDS["BookingReported"])


def withdrawal(name: str = "it") -> LoggedRecord:
    key = FactKey(KeyKind.WITHDRAWN, agency=POLICE, event_id=event_id(name))
    return LoggedRecord(0, key.encoded(), b"as it came")


def picture(*records: LoggedRecord) -> FacilityPicture:
    made = FacilityPicture(SCHEMAS)
    for record in records:
        made.fold(record)
    return made


def who(made: FacilityPicture, unit: UnitKey) -> dict[str, list[str]]:
    """By group: who of it is in a unit."""
    return {group: sorted(members) for group, members in made.members(unit).items()}


# -- who is where ----------------------------------------------------------------------------------------------------


def test_a_person_is_known_as_the_record_says() -> None:
    made = FacilityPicture(SCHEMAS)
    assert made.fold(placed()) == FacilityChange(frozenset({A}), "PersonInCustody", "e1")
    standing = Standing("Eastside", AffiliationStatus.MEMBER, SAID)
    known = InCustody("ada", "B-ada", "Ada", "4-A", HOUSED, (standing,))
    assert made.members(A) == {"eastside": {"ada": known}}
    assert made.members(B) == {}
    assert set(made.focuses()) == {A}


def test_a_unit_that_is_known_from_no_event_is_known_all_the_same() -> None:
    assert picture(placed(housing=[])).members(A)["eastside"]["ada"].housed is None


@pytest.mark.parametrize(
    ("record", "event_id"),
    [(placed(groups=()), "e1"), (placed(unit=None), "e1"), (gone(), "e2")],
    ids=["of no group", "in no unit", "not there"],
)
def test_what_a_record_says_is_not_read_where_nothing_in_it_matters(record: LoggedRecord, event_id: str) -> None:
    unread = record._replace(value=b"nothing that could be decoded")
    assert FacilityPicture(SCHEMAS).fold(unread) == FacilityChange(frozenset(), "PersonInCustody", event_id)


@pytest.mark.parametrize(("revision", "moved"), [(1, False), (2, False), (3, True)])
def test_only_a_later_record_of_a_person_moves_it(revision: int, moved: bool) -> None:
    made = picture(placed(revision=2))
    change = made.fold(placed(unit="4-B", revision=revision))
    assert change == (FacilityChange(frozenset({A, B}), "PersonInCustody", "e3") if moved else NOTHING)
    assert (who(made, A), who(made, B)) == (({}, {"eastside": ["ada"]}) if moved else ({"eastside": ["ada"]}, {}))


@pytest.mark.parametrize(("offset", "moved"), [(6, False), (7, False), (8, True)])
def test_what_rests_on_something_later_moves_it_though_its_writer_did_not_see_the_last_revision(
    offset: int, moved: bool
) -> None:
    made = picture(placed(revision=6, offset=7))
    made.fold(placed(unit="4-B", revision=5, offset=offset))
    assert who(made, B) == ({"eastside": ["ada"]} if moved else {})
    # And so does what comes after it, by whichever of the two.
    made.fold(placed(unit="4-A", revision=6, offset=9))
    assert who(made, A) == {"eastside": ["ada"]}


@pytest.mark.parametrize(("revision", "back"), [(1, False), (2, False), (3, True)])
def test_who_has_left_comes_back_only_by_a_later_record(revision: int, back: bool) -> None:
    made = picture(placed())
    assert made.fold(gone()) == FacilityChange(frozenset({A}), "PersonInCustody", "e2")
    assert who(made, A) == {}
    made.fold(placed(revision=revision))
    assert who(made, A) == ({"eastside": ["ada"]} if back else {})


def test_a_custody_record_that_says_something_else_is_refused() -> None:
    with pytest.raises(DecodeError, match="WRONG_TYPE"):
        picture(placed()._replace(value=ticked(START).value))


def test_who_was_never_there_has_left_all_the_same() -> None:
    made = picture(gone())
    assert made.fold(placed(revision=2)) == NOTHING
    assert made.fold(placed(revision=3)) == FacilityChange(frozenset({A}), "PersonInCustody", "e3")
    assert made.fold(gone(revision=4)).units == {A}


def test_a_first_record_has_at_least_revision_one() -> None:
    assert FacilityPicture(SCHEMAS).fold(placed(revision=0)) == NOTHING


def test_of_those_who_share_a_group_one_leaves_and_the_other_stays() -> None:
    made = picture(placed("ada"), placed("bo", groups=("EASTSIDE ", "Harbor")), gone("ada"))
    assert who(made, A) == {"eastside": ["bo"], "harbor": ["bo"]}
    made.fold(gone("bo"))
    assert who(made, A) == {}


def test_one_whom_two_agencies_know_as_of_one_group_leaves_it_once() -> None:
    made = picture(placed(groups=("Eastside", "eastside")))
    assert who(made, A) == {"eastside": ["ada"]}
    made.fold(gone())
    assert who(made, A) == {}


def test_who_is_in_no_unit_is_nobodys_neighbour() -> None:
    made = FacilityPicture(SCHEMAS)
    assert made.fold(placed(unit=None)) == FacilityChange(frozenset(), "PersonInCustody", "e1")
    assert set(made.focuses()) == set()
    assert made.fold(placed(revision=2)).units == {A}
    assert made.fold(placed(unit=None, revision=3)).units == {A}
    assert who(made, A) == {}


def test_where_one_without_a_standing_is_changes_no_unit() -> None:
    made = picture(placed("ada"), placed("bo", "4-C", groups=()))
    assert made.fold(placed("bo", "4-B", 2, groups=())) == FacilityChange(frozenset(), "PersonInCustody", "e2")
    assert set(made.focuses()) == {A}
    assert made.fold(placed("bo", "4-A", 3)).units == {A}, "only the unit in which the standing is new"
    assert made.fold(placed("bo", "4-A", 4, groups=())).units == {A}, "and in which it is no more"


def test_a_tombstone_of_a_person_says_nothing() -> None:
    made = picture(placed())
    assert made.fold(LoggedRecord(2, custody_key(MAIN, "ada"), None)) == NOTHING
    assert who(made, A) == {"eastside": ["ada"]}


def test_a_persons_record_has_its_facility_in_its_key() -> None:
    assert custody_key("county-jail-main", "ada") == b"~custody/county-jail-main/ada"


# -- what is outside -------------------------------------------------------------------------------------------------


def test_violence_concerns_the_units_in_which_a_group_of_it_is() -> None:
    made = picture(placed("ada"), placed("bo", "4-B", groups=("Westend",)))
    assert made.fold(violence()) == FacilityChange(frozenset({A}), "StreetViolenceReported", event_id("it"))
    assert made.fold(violence()) == NOTHING
    assert made.fold(withdrawal()) == FacilityChange(frozenset({A}), "EventWithdrawn", event_id("it"))
    assert made.street.feuds_of("eastside", START) == []
    assert made.spent() == [violence().key]


def test_a_unit_that_the_last_of_a_group_has_left_is_concerned_no_more() -> None:
    made = picture(placed("ada"), placed("bo"), gone("ada"))
    assert made.fold(violence()).units == {A}
    made.fold(gone("bo"))
    assert made.fold(withdrawal()).units == frozenset()


def test_what_was_withdrawn_before_it_came_never_counts_and_goes() -> None:
    made = picture(placed(), withdrawal())
    assert made.fold(violence()) == NOTHING
    assert made.street.feuds_of("eastside", START) == []
    assert made.spent() == [violence().key]
    assert made.spent() == []


def test_a_second_content_concerns_the_groups_of_both() -> None:
    first, second = violence(), violence(groups=("Westend", "Harbor"))
    in_each = placed("ada"), placed("bo", "4-B", groups=("Westend",))
    changes = [picture(*in_each, one).fold(other) for one, other in ((first, second), (second, first))]
    assert sorted(len(change.units) for change in changes) == [0, 2], (
        "only where another stands now does anything follow"
    )
    both = picture(*in_each, first, second)
    stands, falls = both.street.facts_of(FactKey(KeyKind.WITHDRAWN, agency=POLICE, event_id=event_id("it")).event_key)
    change = both.fold(LoggedRecord(9, stands.key.encoded(), None))
    assert change == FacilityChange(frozenset({A, B}), "Purged", event_id("it"))
    assert both.street.facts_of(falls.event_key) == (falls,)


def test_of_several_that_were_withdrawn_each_goes() -> None:
    made = picture(violence("it"), violence("more"), withdrawal("it"), withdrawal("more"))
    assert sorted(made.spent()) == sorted(violence(name).key or b"" for name in ("it", "more"))


def test_what_has_reached_its_purge_date_is_to_go_once() -> None:
    it = violence(purge_day=1)
    made = picture(it)
    purge = START + 86_400_000_000
    assert made.fold(ticked(purge - 1)) == FacilityChange(ticked=True)
    assert made.spent() == []
    made.fold(ticked(purge))
    assert made.spent() == [it.key]
    assert made.spent() == []
    gone_before = picture(it, LoggedRecord(9, it.key, None), ticked(purge))
    assert gone_before.spent() == []


# -- what is to come -------------------------------------------------------------------------------------------------

VISIT = Delivery(DeliveryMethod.VISIT, "V-1", "Cole, Dana", None, START + DAY, START + 2 * DAY, HOUSED)
TO_ADA = DeliveryKey(MAIN, "ada", "VISIT", "V-1")
TIP_AT = TipAt(MAIN, POLICE, event_id("tip"))
BOTH = Touched(frozenset({TO_ADA}), frozenset({TIP_AT}))


def visited(revision: int = 1, *, here: bool = True, **changes: Any) -> LoggedRecord:
    """The record of Ada, to whom somebody is to come."""
    visit = {
        **HOUSED.record(),
        "method": "VISIT",
        "number": VISIT.number,
        "party": VISIT.party,
        "born": None,
        "delivery_at": VISIT.at,
        "delivery_over": VISIT.over,
    }
    record = placed("ada", None, revision, (), here=here, deliveries=[visit], **changes)
    _, _, head = read_placed(record)
    return record._replace(headers=head._replace(deliveries=1).headers())


def tip(courier: str = "Dana Cole", **said: Any) -> Event:
    return event("ContrabandTipped", name="tip", courier_name=courier, facility=MAIN, **said)


def logged(what: Event) -> LoggedRecord:
    fact = fact_of(what)
    return LoggedRecord(0, fact.key.encoded(), fact.raw, fact.headers())


def test_a_tip_and_a_delivery_touch_each_other_until_one_of_them_goes() -> None:
    made = picture(visited())
    assert made.fold(logged(tip())) == FacilityChange(frozenset(), "ContrabandTipped", event_id("tip"), touched=BOTH)
    assert made.fold(logged(tip())) == NOTHING
    assert set(made.focuses()) == {TO_ADA, TIP_AT}
    touched = Touched(frozenset({TO_ADA}))
    assert made.fold(visited(2, here=False)) == FacilityChange(frozenset(), "PersonInCustody", "e2", touched=touched)
    assert made.interceptions.delivery(TO_ADA) is None
    assert made.fold(visited(3)) == FacilityChange(frozenset(), "PersonInCustody", "e3", touched=touched)
    assert made.interceptions.delivery(TO_ADA) is not None


@pytest.mark.parametrize(
    ("goes", "called", "told_to_go"),
    [
        (withdrawal("tip"), "EventWithdrawn", [logged(tip()).key]),
        (logged(tip())._replace(value=None), "Purged", []),
    ],
    ids=["withdrawn", "gone from the log"],
)
def test_a_tip_that_goes_touches_what_it_meant_and_counts_no_more(
    goes: LoggedRecord, called: str, told_to_go: list[bytes]
) -> None:
    made = picture(visited(), logged(tip()))
    assert made.fold(goes) == FacilityChange(frozenset(), called, event_id("tip"), touched=BOTH)
    assert list(made.focuses()) == []
    assert made.spent() == told_to_go


def test_of_two_contents_of_a_tip_one_stands_and_it_is_said_which_falls() -> None:
    either = logged(tip()), logged(tip("Danna Cole"))
    stood = set()
    for first, second in (either, either[::-1]):
        made = picture(visited(), first)
        change = made.fold(second)
        stands, falls = made.interceptions.facts_of(fact_of(tip()).event_key)
        conflict = Conflict(stands, falls)
        changes = FacilityChange(frozenset(), "ContrabandTipped", event_id("tip"), touched=BOTH, conflict=conflict)
        assert change == (changes if stands.raw == second.value else FacilityChange(conflict=conflict))
        stood.add(stands.raw)
    assert len(stood) == 1, "the same whichever came first"


# -- what was heard of agencies --------------------------------------------------------------------------------------

FEED, LIST = FeedKey(JAIL), ListKey(JAIL, MAIN)
LONG_AGO = 100_000


def note(of: Note, value: bytes | None = b"") -> LoggedRecord:
    return LoggedRecord(0, of.key, value, (("topic", b"t"),))


def heard(slot: int = LONG_AGO) -> Heard:
    return Heard(JAIL, "HousingAssigned", slot, None)


def listed(slot: int = LONG_AGO) -> Listed:
    return Listed(JAIL, MAIN, slot, 4, "c")


@pytest.mark.parametrize(
    ("of", "change"),
    [
        (heard(), FacilityChange(event_type=FEED_HEARD, heard_of=(FEED,))),
        (listed(), FacilityChange(event_type="ListTaken", heard_of=(LIST,))),
    ],
    ids=["a feed", "a list"],
)
def test_a_note_says_of_whom_something_was_heard_and_the_same_again_says_nothing(
    of: Note, change: FacilityChange
) -> None:
    made = FacilityPicture(SCHEMAS)
    assert made.fold(note(of)) == change
    assert made.fold(note(of)) == NOTHING
    assert [*made.focuses()] == change.focuses == [*change.heard_of]


@pytest.mark.parametrize("made_of", [heard, listed], ids=["a feed", "a list"])
def test_a_note_from_too_long_ago_is_to_go_unless_it_has_gone(made_of: Callable[[int], Note]) -> None:
    old, new = made_of(LONG_AGO), made_of(LONG_AGO + KEPT + 200)
    assert picture(note(new), note(old)).spent() == [old.key]
    assert picture(note(new), note(old), note(old, None)).spent() == []
    other = made_of(LONG_AGO + 1)
    assert picture(note(new), note(old), note(other), note(old, None)).spent() == [other.key]
    assert picture(note(new)).fold(note(old, None)) == NOTHING


def test_only_feeds_and_lists_are_looked_at_again_without_anything_that_comes() -> None:
    made = picture(note(heard()), note(listed()), visited(), logged(tip()), placed("bo"))
    asked: list[Focus] = [FEED, LIST]
    assert [made.look_again(of) for of in asked] == [LONG_AGO * SLOT] * 2
    assert [made.look_again(of) for of in (TO_ADA, TIP_AT, A)] == [None] * 3


def test_a_unit_and_a_list_of_the_same_names_are_two() -> None:
    in_a_small_town = placed("bo", JAIL)._replace(key=custody_key(JAIL, "bo"))
    made = picture(in_a_small_town, note(Listed(JAIL, JAIL, LONG_AGO, 4, "c")))
    unit, its_list = UnitKey(JAIL, JAIL), ListKey(JAIL, JAIL)
    assert len({*made.focuses()}) == 2
    assert [made.look_again(unit), made.look_again(its_list)] == [None, LONG_AGO * SLOT]


# -- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("later", "ticks"), [(-1, False), (0, False), (1, True)])
def test_time_goes_on_and_never_back(later: int, ticks: bool) -> None:
    made = picture(ticked(START))
    assert FacilityPicture(SCHEMAS).now == 0
    assert made.fold(ticked(START + later)) == (FacilityChange(ticked=True) if ticks else NOTHING)
    assert made.now == START + max(later, 0)


def test_before_any_tick_it_is_as_early_as_can_be() -> None:
    assert picture().fold(ticked(0)) == NOTHING
    assert picture().fold(ticked(1)) == FacilityChange(ticked=True)


@pytest.mark.parametrize("broken", [LoggedRecord(0, TICK_KEY, raw) for raw in (None, b"", b"soon", NO_TICK)])
def test_what_is_no_tick_is_no_time(broken: LoggedRecord) -> None:
    with pytest.raises(DecodeError):
        FacilityPicture(SCHEMAS).fold(broken)


@pytest.mark.parametrize("key", [None, b"", b"~nobody/knows"])
def test_a_key_that_no_stage_writes_is_refused(key: bytes | None) -> None:
    with pytest.raises(ValueError, match="no stage writes"):
        FacilityPicture(SCHEMAS).fold(LoggedRecord(0, key, b"x"))
