"""Which delivery a tip means: what speaks for it, and what rules it out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import DeliveryMethod, Tip
from streams.facts import Provenance
from streams.pictures.deliveries import HOUR, VISIT_LINGERS, Delivery
from streams.pictures.tip_match import ROUGHLY, TIP_LIVES, Awaited, match, most_points, speaks_until
from tests.county import DAY, MAIN, START

SOURCE = Provenance("county-jail", "VisitScheduled", "e", START, "t")
AT = START + 5 * DAY
ENDS = AT + HOUR
OVER = ENDS + VISIT_LINGERS


def tip(**said: Any) -> Tip:
    unknown = {"method": "UNKNOWN", "substance": "", "handling": "ACT", "touches_staff": False}
    return Tip.model_validate({**unknown, "reliability": "B", "credibility": 2, **said})


def points(
    said: dict[str, Any],
    *,
    by_number: bool = False,
    recipient: str | None = "Adams, Ada",
    is_another: bool = False,
    time: int = START,
    **delivery: Any,
) -> int | None:
    """What speaks for a visit of Dana Cole to Ada Adams; None where it is not meant."""
    coming = Delivery(DeliveryMethod.VISIT, "V-1", "Cole, Dana", "1990-05-01", AT, OVER, SOURCE)
    found = match(tip(**said), time, Awaited(MAIN, recipient, by_number, coming._replace(**delivery), is_another))
    return found.points if found is not None and found.is_meant else None


COURIER, RECIPIENT = {"courier_name": "Dana Cole"}, {"recipient_name": "Ada Adams"}
THAT_DAY = {"expected_from": START + 5 * DAY, "expected_until": START + 6 * DAY}


@pytest.mark.parametrize(
    ("said", "more", "expected"),
    [
        # Recipient or courier must be the same, and one name is not enough.
        ({}, {"by_number": True}, 6),
        (RECIPIENT, {}, None),
        (COURIER, {}, None),
        ({**RECIPIENT, **COURIER}, {}, 8),
        (COURIER, {"by_number": True}, 10),
        ({**COURIER, "facility": MAIN}, {}, 5),
        ({**COURIER, "method": "VISIT"}, {}, 5),
        ({**COURIER, **THAT_DAY}, {}, 5),
        ({**COURIER, "courier_born": "1990-05-01"}, {}, 6),
        ({"facility": MAIN, "method": "VISIT", **THAT_DAY}, {}, None),
        ({"facility": MAIN, "method": "VISIT", **THAT_DAY}, {"by_number": True}, 9),
        # Whatever is contradicted rules it out.
        ({"facility": "annex"}, {"by_number": True}, None),
        ({"method": "MAIL"}, {"by_number": True}, None),
        ({"courier_name": "Pat Reed"}, {"by_number": True}, None),
        ({**COURIER, "courier_born": "1990-05-02"}, {"by_number": True}, None),
        ({"recipient_name": "Bell, Bo", **COURIER, "facility": MAIN}, {}, None),
        ({**COURIER, "facility": MAIN}, {"is_another": True}, None),
        # By the number it is the same, however the tip spells the name.
        ({"recipient_name": "Bell, Bo"}, {"by_number": True}, 6),
        # By the number it is somebody else, whatever the name is.
        ({**RECIPIENT, **COURIER, "facility": MAIN}, {"is_another": True}, None),
        ({"courier_born": "1971-01-01"}, {"by_number": True}, None),
        ({"courier_name": "Dana", "courier_born": "1971-01-01"}, {"by_number": True}, None),
        # What one of them does not know counts nothing.
        ({**RECIPIENT, **COURIER}, {"recipient": None}, None),
        ({**RECIPIENT, **COURIER, "facility": MAIN}, {"recipient": None}, 5),
        ({**RECIPIENT, **COURIER, "facility": MAIN}, {"recipient": None, "is_another": True}, None),
        # Nor does a name of one part, or initials: it may be theirs.
        ({"courier_name": "Dana"}, {"by_number": True}, 6),
        ({"courier_name": "Izzy"}, {"by_number": True}, 6),
        ({"courier_name": "Dana", "courier_born": "1990-05-01"}, {"by_number": True}, 6),
        (COURIER, {"by_number": True, "party": "D. Cole"}, 6),
        (COURIER, {"by_number": True, "party": "E. Stone"}, None),
        ({"recipient_name": "Ace", **COURIER, "facility": MAIN}, {}, 5),
        ({"recipient_name": "Ace", **COURIER, "facility": MAIN}, {"is_another": True}, None),
        ({"courier_name": "Dana", "facility": MAIN, "method": "VISIT", **THAT_DAY}, {}, None),
        (COURIER, {"by_number": True, "party": None}, 6),
        ({**COURIER, "facility": MAIN}, {"party": None}, None),
        ({**COURIER, "courier_born": "1971-01-01"}, {"by_number": True, "born": None}, 10),
        ({"courier_born": "1990-05-01"}, {"by_number": True}, 6),
        ({"courier_born": "1990-05-01", "facility": MAIN, "method": "VISIT", **THAT_DAY}, {}, None),
        # Nearly her name, and born on her day: by the name alone it would be another's.
        ({"courier_name": "Gana Cole", "courier_born": "1990-05-01", "facility": MAIN}, {}, 5),
        ({"courier_name": "Gana Cole", "courier_born": "1990-05-01"}, {}, None),
        ({"courier_name": "Gana Cole", "courier_born": "1990-05-01"}, {"by_number": True}, 10),
        ({"courier_name": "Gana Cole", "courier_born": "1990-05-02"}, {"by_number": True}, None),
        ({"courier_name": "Gana Cole", "facility": MAIN}, {"by_number": True}, None),
        ({"courier_name": "Gana Cole", "courier_born": "1990-05-01"}, {"by_number": True, "born": None}, None),
        ({"courier_name": "Vera Stone", "courier_born": "1990-05-01"}, {"by_number": True}, None),
        # Of a long name of which the first letter is another nobody can say, unless she was born on that day.
        ({"courier_name": "Ana Fernandez"}, {"by_number": True, "party": "Hernandez, Ana"}, 6),
        ({"courier_name": "Ana Fernandez", "facility": MAIN}, {"party": "Hernandez, Ana"}, None),
        (
            {"courier_name": "Ana Fernandez", "courier_born": "1990-05-01"},
            {"by_number": True, "party": "Hernandez, Ana"},
            10,
        ),
        (
            {"courier_name": "Ana Fernandez", "courier_born": "1971-01-01"},
            {"by_number": True, "party": "Hernandez, Ana"},
            None,
        ),
    ],
)
def test_what_speaks_for_it(said: dict[str, Any], more: dict[str, Any], expected: int | None) -> None:
    assert points(said, **more) == expected


@pytest.mark.parametrize(
    ("said", "finds", "most"),
    [
        ({}, False, 0),
        ({"facility": MAIN, "method": "VISIT", **THAT_DAY}, False, 0),
        ({"courier_born": "1990-05-01", "facility": MAIN}, False, 0),
        ({"recipient_name": "Ace", "courier_name": "D. Cole", "facility": MAIN}, False, 0),
        (COURIER, False, 4),
        (RECIPIENT, False, 4),
        ({**RECIPIENT, "courier_name": "Dana", "courier_born": "1990-05-01"}, False, 4),
        ({}, True, 6),
        (RECIPIENT, True, 6),
        ({**RECIPIENT, **COURIER}, False, 8),
        ({**COURIER, "facility": MAIN}, False, 5),
        ({**COURIER, "method": "MAIL"}, False, 5),
        ({**COURIER, "expected_from": AT}, False, 5),
        ({**COURIER, "expected_until": AT}, False, 5),
        ({**COURIER, **THAT_DAY}, False, 5),
        ({**COURIER, "courier_born": "1990-05-01"}, False, 6),
        # Only of a visitor the date of birth is known, and of who comes back nobody else is.
        ({**COURIER, "courier_born": "1990-05-01", "method": "VISIT"}, False, 7),
        ({**COURIER, "courier_born": "1990-05-01", "method": "MAIL"}, False, 5),
        ({**COURIER, "courier_born": "1990-05-01", "method": "DEPOSIT"}, False, 5),
        ({**COURIER, "courier_born": "1990-05-01", "method": "COURT_RETURN", "facility": MAIN}, False, 0),
        ({**COURIER, **RECIPIENT, "method": "WORK_CREW", "facility": MAIN}, False, 6),
        ({**COURIER, "courier_born": "1990-05-01", "method": "VISIT", "facility": MAIN, **THAT_DAY}, True, 15),
    ],
)
def test_the_most_points_that_a_tip_can_reach(said: dict[str, Any], finds: bool, most: int) -> None:
    assert most_points(tip(**said), finds) == most


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "recipient_name": st.sampled_from(["Ada Adams", "Adams", "Bo Bell"]),
            "courier_name": st.sampled_from(["Dana Cole", "Gana Cole", "Dana"]),
            "courier_born": st.just("1990-05-01"),
            "facility": st.just(MAIN),
            "method": st.sampled_from(["UNKNOWN", "VISIT", "MAIL", "DEPOSIT", "COURT_RETURN", "WORK_CREW"]),
            "expected_from": st.just(AT),
            "expected_until": st.just(AT + DAY),
        },
    ),
    st.sampled_from([method for method in DeliveryMethod if method is not DeliveryMethod.UNKNOWN]),
    st.booleans(),
)
def test_no_delivery_has_more_points_than_its_tip_can_reach(
    said: dict[str, Any], method: DeliveryMethod, is_named: bool
) -> None:
    brings = method not in (DeliveryMethod.COURT_RETURN, DeliveryMethod.WORK_CREW)
    who: dict[str, Any] = {
        "party": "Cole, Dana" if brings else None,
        "born": "1990-05-01" if method is DeliveryMethod.VISIT else None,
    }
    found = points(said, by_number=is_named, method=method, **who)
    assert found is None or found <= most_points(tip(**said), is_named)


@pytest.mark.parametrize(
    ("said", "time", "meant"),
    [
        ({"expected_from": AT, "expected_until": AT}, START, True),
        # Any of it is enough: a visit at 13:55 is one of "two to four".
        ({"expected_from": AT + 1}, START, True),
        ({"expected_from": ENDS - 1}, START, True),
        ({"expected_from": ENDS}, START, False),
        ({"expected_from": ENDS, "expected_until": OVER}, START, False),
        ({"expected_until": AT - 1}, START, False),
        ({"expected_from": AT}, START, True),
        ({"expected_until": AT}, START, True),
        ({}, AT - TIP_LIVES, True),
        ({}, AT - TIP_LIVES - 1, False),
        ({}, OVER - 1, True),
        ({}, OVER, False),
        # What it says itself counts, whenever it was said.
        ({"expected_from": AT}, AT - 2 * TIP_LIVES, True),
        ({"expected_until": AT}, AT - 2 * TIP_LIVES, True),
        # From when on, and not until when: as long as one that does not say when.
        ({"expected_from": AT - TIP_LIVES}, START, True),
        ({"expected_from": AT - TIP_LIVES - 1}, START, False),
    ],
)
def test_the_time_at_its_bounds(said: dict[str, Any], time: int, meant: bool) -> None:
    assert (points(said, by_number=True, time=time) is not None) is meant


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"expected_from": AT + ROUGHLY, "expected_until": OVER}, True),
        ({"expected_from": AT + ROUGHLY + 1, "expected_until": OVER}, False),
        ({"expected_until": AT - ROUGHLY}, True),
        ({"expected_until": AT - ROUGHLY - 1}, False),
        ({"expected_from": AT - 2 * ROUGHLY, "expected_until": AT - ROUGHLY}, True),
        ({"expected_from": AT - 2 * ROUGHLY, "expected_until": AT - ROUGHLY - 1}, False),
    ],
)
@pytest.mark.parametrize(
    "method",
    [DeliveryMethod.MAIL, DeliveryMethod.DEPOSIT, DeliveryMethod.COURT_RETURN, DeliveryMethod.WORK_CREW],
)
def test_what_has_no_end_may_come_an_hour_earlier_or_later_than_the_tip_says(
    method: DeliveryMethod, said: dict[str, Any], meant: bool
) -> None:
    assert (points(said, by_number=True, method=method) is not None) is meant


def test_a_tip_speaks_no_longer_than_it_says_or_than_such_a_tip_lives() -> None:
    assert speaks_until(tip(expected_from=AT, expected_until=OVER), START) == OVER + ROUGHLY
    assert speaks_until(tip(expected_from=AT), START) == AT + TIP_LIVES
    assert speaks_until(tip(), START) == START + TIP_LIVES


def test_a_visit_of_no_length_comes_when_it_begins() -> None:
    over = AT + VISIT_LINGERS
    assert points({"expected_from": AT, "expected_until": AT}, by_number=True, over=over) is not None
    assert points({"expected_from": AT + 1}, by_number=True, over=over) is None


def test_each_reason_is_said_with_its_points_and_the_fields_that_it_tells_of() -> None:
    coming = Delivery(DeliveryMethod.VISIT, "V-1", "Cole, Danna", "1990-05-01", AT, OVER, SOURCE)
    said = tip(**COURIER, courier_born="1990-05-01", facility=MAIN, method="VISIT", **THAT_DAY)
    found = match(said, START, Awaited(MAIN, None, True, coming))
    assert found is not None
    assert [reason[:3] for reason in found.reasons] == [
        ("the recipient is known by number", 6, ("recipient_name",)),
        ("the courier's name is alike, 98 of 100", 4, ("courier_name",)),
        ("the courier's date of birth is the same", 2, ("courier_born",)),
        ("the facility is the same", 1, ("facility",)),
        ("the method is the same", 1, ("method",)),
        ("the time fits the tip's", 1, ("expected_from", "expected_until")),
    ]
    assert found.points == 15


def test_of_a_recipient_known_by_name_it_is_said_how_alike_the_names_are() -> None:
    coming = Delivery(DeliveryMethod.VISIT, "V-1", "Cole, Dana", None, AT, OVER, SOURCE)
    found = match(tip(**RECIPIENT, **COURIER), START, Awaited(MAIN, "Adams, Ada", False, coming))
    assert found is not None
    assert [reason[:3] for reason in found.reasons] == [
        ("the recipient's name is alike, 100 of 100", 4, ("recipient_name",)),
        ("the courier's name is alike, 100 of 100", 4, ("courier_name",)),
    ]


@pytest.mark.parametrize(
    ("said", "recipient", "party", "doubt"),
    [
        ({"courier_name": "Ana Fernandez", "facility": MAIN}, None, "Hernandez, Ana", 4),
        ({"recipient_name": "Ana Fernandez", "facility": MAIN}, "Hernandez, Ana", None, 4),
        ({"recipient_name": "Bo Garrison", "courier_name": "Ana Fernandez"}, "Harrison, Bo", "Hernandez, Ana", 8),
        # Even as the same name it would be too little.
        ({"courier_name": "Ana Fernandez"}, None, "Hernandez, Ana", None),
        # These are another's, or say nothing.
        ({"courier_name": "Harry Cole", "facility": MAIN}, None, "Barry Cole", None),
        ({"courier_name": "Ana", "facility": MAIN}, None, "Hernandez, Ana", None),
    ],
)
def test_a_long_name_of_which_the_first_letter_is_another_may_be_meant_and_alerts_on_nobody(
    said: dict[str, Any], recipient: str | None, party: str | None, doubt: int | None
) -> None:
    coming = Delivery(DeliveryMethod.VISIT, "V-1", party, None, AT, OVER, SOURCE)
    found = match(tip(**said), START, Awaited(MAIN, recipient, False, coming))
    assert (None if found is None else found.doubt) == doubt
    assert found is None or not found.is_meant


@pytest.mark.parametrize(
    ("said", "by_number", "party", "sure"),
    [
        ({"courier_name": "COLE, DÀNA"}, True, "Dana Cole", True),
        ({"courier_name": "Dana Cole"}, True, "Dana Quincy Cole", True),
        ({"courier_name": "Danna Cole"}, True, "Dana Cole", False),
        ({"courier_name": "Ana Martin"}, True, "Martinez, Ana", False),
        ({"courier_name": "Mario Cole"}, True, "Cole, Maria", False),
        # One that is the same does not make the other so.
        ({"recipient_name": "Ada Adam", "courier_name": "Dana Cole"}, False, "Dana Cole", False),
        ({"recipient_name": "Ada Adams", "courier_name": "Dana Cole"}, False, "Dana Cole", True),
        # With the date of birth it is hers.
        ({"courier_name": "Danna Cole", "courier_born": "1990-05-01"}, True, "Dana Cole", True),
        ({"courier_name": "Gana Cole", "courier_born": "1990-05-01"}, True, "Dana Cole", False),
        ({"recipient_name": "Ada Adam", "courier_name": "Dana Cole", "courier_born": "1990-05-01"}, False,
         "Dana Cole", False),
        # By the number it is the recipient, however the name is written.
        ({"recipient_name": "Ada Adam", "courier_name": "Dana Cole"}, True, "Dana Cole", True),
    ],
)  # fmt: skip
def test_a_name_that_is_not_the_same_in_every_part_is_not_sure_by_itself(
    said: dict[str, Any], by_number: bool, party: str, sure: bool
) -> None:
    coming = Delivery(DeliveryMethod.VISIT, "V-1", party, "1990-05-01", AT, OVER, SOURCE)
    found = match(tip(**said), START, Awaited(MAIN, "Adams, Ada", by_number, coming))
    assert found is not None
    assert found.is_sure is sure


def test_what_is_not_the_same_is_never_said_to_be_alike_by_a_hundred_of_a_hundred() -> None:
    coming = Delivery(DeliveryMethod.VISIT, "V-1", "Featherstonehaugh, Maximiliana Ana Rosa", None, AT, OVER, SOURCE)
    found = match(tip(courier_name="Maximilianah Ana Rosa Featherstonehaugh"), START, Awaited(MAIN, None, True, coming))
    assert found is not None
    assert found.reasons[-1].text == "the courier's name is alike, 99 of 100"
