"""The form of the facts on the log: a record that was written must be read for ever, and by every worker alike."""

from __future__ import annotations

import uuid
import zlib
from typing import Any

import pytest

from streams.custody import NEVER_PLACED, Placed, custody_key, person_of, read_placed, written_by
from streams.facts import (
    COMMON,
    PERSON_NAMESPACE,
    SAME_AS,
    TICK_KEY,
    Fact,
    FactKey,
    Joining,
    KeyKind,
    Provenance,
    Rarity,
    event_key,
    is_of_one_person,
    parse_key,
    partition_of,
    person_id,
    person_key,
    read_fact,
    sort_of,
    variant_of,
)
from streams.records import LoggedRecord, header

EVENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
RAW = b"an event"
SORT = sort_of("BookingReported", "demo.jail.x.v1", False, "jail number")
MARKED = sort_of("BookingReported", "demo.jail.x.v1", True, "by; a number")
JOINED = (Joining("p1", "jail", EVENT, None), Joining("p2", "police", EVENT, 77))


def fact(person: str = "p9", role: str = "subject", **changes: Any) -> Fact:
    shape = {
        "person": person,
        "event_key": event_key("jail", EVENT),
        "role": role,
        "sort": SORT,
        "time": 12,
        "body_at": 34,
        "raw": RAW,
        **changes,
    }
    return Fact(**shape)


def said(one: Fact) -> tuple[Any, ...]:
    """All that a fact says."""
    return one.person, one.event_key, one.role, one.sort, one.time, one.body_at, one.raw, one.rarity, one.stay


# -- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "written"),
    [
        (FactKey(KeyKind.TICK), b"~tick"),
        (FactKey(KeyKind.EVERYONE, "", "jail", EVENT, "", "v1"), f"~everyone/jail/{EVENT}/v1".encode()),
        (FactKey(KeyKind.WITHDRAWN, "", "jail", EVENT), f"~withdrawn/jail/{EVENT}".encode()),
        (FactKey(KeyKind.JOINED, "p1"), b"~joined/p1"),
        (FactKey(KeyKind.PERSON, "p1", "jail", EVENT, "victim", "v1"), f"p1/jail/{EVENT}/victim/v1".encode()),
        (FactKey(KeyKind.PERSON, "p2", "jail", EVENT, "victim", "v1", "p1"), f"p2/jail/{EVENT}/victim/v1/p1".encode()),
        (FactKey(KeyKind.SAME_AS, "p1", "jail", EVENT, SAME_AS, "v1"), f"p1/jail/{EVENT}/same-as/v1".encode()),
    ],
    ids=lambda one: one.kind if isinstance(one, FactKey) else "",
)
def test_a_key_is_written_and_read_the_same(key: FactKey, written: bytes) -> None:
    assert key.encoded() == written
    assert parse_key(written) == key


@pytest.mark.parametrize("key", [b"", b"~nothing/x", b"~everyone/jail", b"a/b/c/d", b"a/b/c/d/e/f/g"])
def test_a_key_that_no_stage_writes_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"^a key that no stage writes$"):
        parse_key(key)


@pytest.mark.parametrize(
    ("key", "is_so"),
    [
        (person_key("p1", "jail", EVENT, "victim", "v1"), True),
        (person_key("p2", "jail", EVENT, "victim", "v1", "p1"), True),
        (person_key("p1", "same-as", EVENT, "victim", "v1"), False),
        (person_key("p1", "jail", EVENT, SAME_AS, "v1"), False),
        (FactKey(KeyKind.EVERYONE, "", "jail", EVENT, "", "v1").encoded(), False),
        (FactKey(KeyKind.JOINED, "p1").encoded(), False),
        (TICK_KEY, False),
    ],
)
def test_a_key_tells_whether_the_fact_is_one_persons_who_is_joined_to_nobody_by_it(key: bytes, is_so: bool) -> None:
    assert is_of_one_person(key) == is_so


def test_what_a_withdrawal_names_is_the_events_id_and_its_agency() -> None:
    assert event_key("jail", EVENT) == uuid.UUID(EVENT).bytes + b"jail"
    assert FactKey(KeyKind.WITHDRAWN, agency="jail", event_id=EVENT).event_key == event_key("jail", EVENT)
    assert Joining("p1", "jail", EVENT, None).event_key == event_key("jail", EVENT)
    assert person_key("p", "jail", EVENT, "victim", "v") == f"p/jail/{EVENT}/victim/v".encode()


# -- ids -------------------------------------------------------------------------------------------------------------


def test_a_persons_id_is_a_uuid_of_its_number_the_same_for_ever() -> None:
    namespace = uuid.UUID(bytes=PERSON_NAMESPACE)
    for number in range(50):
        assert person_id("SID", "NY", str(number)) == str(uuid.uuid5(namespace, f"SID/NY/{number}"))
    assert str(namespace) == "6f1f5f0e-6f0f-5a55-9a11-5a11790a7000"


def test_a_partition_is_the_checksum_of_the_id() -> None:
    assert [partition_of(f"person {n}", 7) for n in range(20)] == [zlib.crc32(b"person %d" % n) % 7 for n in range(20)]


def test_contents_are_told_apart_by_the_beginning_of_their_digest() -> None:
    assert variant_of(b"") == "e3b0c44298fc"


# -- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "headers"),
    [
        (fact(), [("sort", b"BookingReported;demo.jail.x.v1;;jail number"), ("fact", b"12;34;")]),
        (
            fact(sort=MARKED, stay=("main", "B;1")),
            [("sort", b"BookingReported;demo.jail.x.v1;marked;by; a number"), ("fact", b"12;34;;main;B;1")],
        ),
        (
            fact(rarity=Rarity(purge_by=56)),
            [("sort", b"BookingReported;demo.jail.x.v1;;jail number"), ("fact", b"12;34;56")],
        ),
        (
            fact(role=SAME_AS, rarity=Rarity(same_as="1/p1", purge_by=56)),
            [
                ("sort", b"BookingReported;demo.jail.x.v1;;jail number"),
                ("fact", b"12;34;56"),
                ("same-as", b"1/p1"),
            ],
        ),
        (
            fact(rarity=Rarity(joined_by=JOINED, origin="p1"), stay=("main", "B1")),
            [
                ("sort", b"BookingReported;demo.jail.x.v1;;jail number"),
                ("fact", b"12;34;;main;B1"),
                ("joined-by", f"p1/jail/{EVENT}/;p2/police/{EVENT}/77".encode()),
                ("origin", b"p1"),
            ],
        ),
        (fact("", ""), [("sort", b"BookingReported;demo.jail.x.v1;;jail number"), ("fact", b"12;34;")]),
    ],
    ids=["common", "marked, of a stay", "with a purge date", "that joins", "that was forwarded", "of everyone"],
)
def test_a_fact_is_written_and_read_the_same(one: Fact, headers: list[tuple[str, bytes]]) -> None:
    assert list(one.headers()) == headers
    assert one.record_key == one.key.encoded()
    assert said(read_fact(LoggedRecord(0, one.key.encoded(), RAW, headers))) == said(one)


def test_a_fact_that_moves_says_the_same_of_another() -> None:
    rare = Rarity(joined_by=JOINED[:1], origin="p1", purge_by=99)
    one = fact(rarity=rare, stay=("main", "B1"))
    there = one.moved_to("p7", JOINED)
    assert said(there) == ("p7", *said(one)[1:7], Rarity(None, JOINED, "p1", 99), one.stay)
    assert one.moved_to("p1", ()).rarity == Rarity(purge_by=99)


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        (None, fact().headers()),
        (b"a/b", fact().headers()),
        (b"p/jail/no-uuid/subject/v", fact().headers()),
        (fact().key.encoded(), ()),
        (fact().key.encoded(), [("sort", b"x"), ("fact", b"1;2;")]),
        (fact().key.encoded(), [("sort", SORT.header), ("fact", b"soon;2;")]),
        (fact().key.encoded(), [("sort", SORT.header), ("fact", b"1")]),
    ],
)
def test_a_fact_with_another_key_or_other_headers_is_refused(key: bytes | None, headers: Any) -> None:
    with pytest.raises(ValueError, match=r"^a fact with another key or other headers than stages write$"):
        read_fact(LoggedRecord(0, key, RAW, headers))


# -- what a fact tells -----------------------------------------------------------------------------------------------


def test_a_fact_tells_where_it_came_from() -> None:
    one = fact(sort=MARKED, rarity=Rarity(joined_by=JOINED, origin="p1", purge_by=9))
    told = Provenance("jail", "BookingReported", EVENT, 12, "demo.jail.x.v1", "by; a number", True, True)
    assert one.provenance == told
    assert told.record() == {
        "agency": "jail",
        "event_type": "BookingReported",
        "event_id": EVENT,
        "event_time": 12,
        "topic": "demo.jail.x.v1",
        "via": "by; a number",
        "joined": True,
        "marked": True,
    }
    assert Provenance.of({**told.record(), "more": 1}) == told
    assert not fact().provenance.joined
    assert (one.event_type, one.purge_by, one.origin, fact().origin) == ("BookingReported", 9, "p1", "p9")
    assert one.key == FactKey(KeyKind.PERSON, "p9", "jail", EVENT, "subject", variant_of(RAW), "p1")
    assert fact().key == FactKey(KeyKind.PERSON, "p9", "jail", EVENT, "subject", variant_of(RAW))
    assert fact(role=SAME_AS).key.kind is KeyKind.SAME_AS
    assert fact("", "").key.kind is KeyKind.EVERYONE


def test_facts_are_in_order_of_their_events_time_and_then_of_their_events() -> None:
    other = event_key("jail", "ffffffff-d9cb-469f-a165-70867728950e")
    first, second, third = fact(time=1), fact(time=2), fact(time=2, event_key=other)
    assert sorted([third, second, first]) == [first, second, third]


def test_the_way_that_a_fact_came_is_told_step_by_step() -> None:
    one = fact(rarity=Rarity(joined_by=JOINED, origin="p1"))
    assert list(one.hops) == [(JOINED[0], "p2"), (JOINED[1], "p9")]
    assert list(fact().hops) == []
    assert [joining.event_key[16:] for joining in JOINED] == [b"jail", b"police"]


@pytest.mark.parametrize(
    ("joined_by", "rarity"),
    [
        (JOINED, Rarity(None, JOINED, "p9", 5)),
        ((), Rarity(None, (), None, 5)),
    ],
    ids=["away", "back to where it was first addressed"],
)
def test_a_fact_that_moves_says_the_same_and_how_it_came(joined_by: tuple[Joining, ...], rarity: Rarity) -> None:
    moved = fact(rarity=Rarity(purge_by=5)).moved_to("p3", joined_by)
    assert said(moved) == said(fact("p3", rarity=rarity))


def test_what_few_facts_have_a_common_one_has_not() -> None:
    assert fact().rarity is COMMON
    read = read_fact(LoggedRecord(0, fact().key.encoded(), RAW, fact().headers()))
    assert read.rarity is COMMON, "one object for millions of facts"
    assert Rarity(None, (), None, None) == COMMON


# -- custody records -------------------------------------------------------------------------------------------------

PLACED = Placed(2, 17, 3, "d1", True, 1, EVENT, "4;A")


@pytest.mark.parametrize(
    ("placed", "written"),
    [
        (PLACED, f"2;17;{EVENT};3;d1;in;1;4;A".encode()),
        (Placed(0, -1, 1, "gone", False, 0, "", ""), b"0;-1;;1;gone;out;0;"),
    ],
)
def test_the_head_of_a_custody_record_is_written_and_read_the_same(placed: Placed, written: bytes) -> None:
    assert list(placed.headers()) == [("placed", written)]
    record = LoggedRecord(0, custody_key("main", "p1"), b"x", placed.headers())
    assert read_placed(record) == ("main", "p1", placed)
    assert written_by(record) == placed.partition


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        (None, PLACED.headers()),
        (b"~custody/main", PLACED.headers()),
        (custody_key("main", "p1"), ()),
        (custody_key("main", "p1"), (*PLACED.headers(), *PLACED.headers())),
        (custody_key("main", "p1"), (("placed", b"1;2"),)),
        (custody_key("main", "p1"), (("placed", b"a;17;e;3;d1;in;1;u"),)),
        (custody_key("main", "p1"), (("other", b"0;-1;;1;gone;out;0;"),)),
    ],
)
def test_a_custody_record_that_no_stage_writes_is_refused(key: bytes | None, headers: Any) -> None:
    with pytest.raises(ValueError, match=r"^a custody record with another key or another header than stages write$"):
        read_placed(LoggedRecord(0, key, b"x", headers))


def test_a_custody_record_is_of_the_person_its_key_ends_with() -> None:
    assert person_of(custody_key("county/jail", "p1")) == "p1"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ((), r"^a custody record without the header that stages write$"),
        ((("other", b"0;-1;;1;gone;out;0;"),), r"^a custody record without the header that stages write$"),
        ((("placed", b"a;17"),), "invalid literal"),
    ],
)
def test_a_custody_record_that_does_not_say_who_wrote_it_is_refused(headers: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        written_by(LoggedRecord(0, custody_key("main", "p1"), b"x", headers))


def test_before_the_first_record_a_person_is_nowhere() -> None:
    assert Placed(-1, -1, 0, "", False, 0, "", "") == NEVER_PLACED


@pytest.mark.parametrize(("name", "found"), [("a", "first"), ("b", "\ufffd"), ("c", None)])
def test_a_header_is_its_first_as_text(name: str, found: str | None) -> None:
    assert header([("a", b"first"), ("a", b"second"), ("b", b"\xff")], name) == found
