"""How a desk says things: times, ages, persons, blindness. Pure; times are microseconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from consumers.board import SECOND, Alert, Blind, Blindness, Caution, Entry, Notice, Person
from schemas.site import Site

MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_OPERATOR: Final = "let the operator run `sallyport topics`"
WHAT_TO_DO: Final[dict[Blind, str]] = {
    Blind.UNREACHABLE: f"check this desk's network, then {_OPERATOR}",
    Blind.REFUSED: "its password or rights were taken away; call the operator",
    Blind.REGISTRY_AWAY: _OPERATOR,
    Blind.READING: "wait a moment",
    Blind.UNREADABLE: "update Sallyport on this desk, or call the operator",
    Blind.NO_REPORT: _OPERATOR,
    Blind.STOPPED: _OPERATOR,
    Blind.REFOLDING: "wait until it is done",
    Blind.NO_TICK: f"check this desk's clock, then {_OPERATOR}",
    Blind.BEHIND: f"alerts come late; if it does not shrink, {_OPERATOR}",
}

TAKEN_BACK: Final = "report changed"
"""Withdrawn, or another one says otherwise: that somebody left the group, for one."""
WAYS_TO_END: Final[Mapping[str, tuple[str, ...]]] = {
    "rivals_housed_together": ("moved", "released", TAKEN_BACK),
    "classification_review": ("reclassified", "released", TAKEN_BACK),
    "contraband_delivery_expected": (
        "done",
        "called off",
        "put off (it may still come)",
        "seized",
        "recipient released or moved",
        "somebody else meant",
        "tip withdrawn or closed",
        "too many meant now (it may still come)",
    ),
    "tip_too_broad": ("tip withdrawn", "closed", "fewer are meant now"),
    "feed_silent": ("it comes as usual again",),
    "feed_frozen": ("the list changes as usual again",),
}
"""By rule: in which ways its alerts end, time aside. The record of an end does not say which: it could tell whose
information it was."""
IN_SHORT: Final[Mapping[str, str]] = {"contraband_delivery_expected": "done or off, or it may still come"}
"""By rule: all of its ways and time, where there is no room for them; what matters most of them must not be cut off."""
UNTIL_KNOWN: Final[Mapping[str, str]] = {
    "rivals_housed_together": "Until your own records show that they no longer share the unit, keep them apart",
    "contraband_delivery_expected": "Until your own records show what came of it, be ready for it",
}
"""By rule: what goes on being wise where an alert's end may mean that nothing has changed."""
NOT_TOLD: Final = "an agreement ended: it may still be so"
MAYBE_NOT_TOLD: Final = "no longer so or no longer told here: it may still be so"
MAYBE_NOT_TOLD_ON_A_START: Final = (
    "no longer so or no longer told here, found when the bus started again: it may still be so"
)
YOUR_RECORDS: Final = "Which, your own records may show"
TIME_PASSED: Final = "too long ago by now"
OR: Final = " or "


def zone_of(site: Site, recipient: str, facility: str | None) -> tzinfo:
    """The time zone that an alert of a facility is read in: its own, else that of the recipient's first facility."""
    known = site.facility_by_id
    for name in (facility, *site.recipient_by_id[recipient].facilities, *known):
        if name in known:
            return ZoneInfo(known[name].time_zone)
    return UTC


def when(time: int, now: int, zone: tzinfo, named: bool = False) -> str:
    """A time as people say it: "14:02 today", "14:02 yesterday", "14:02 on 3 November", with the year if another.

    `named`: with its zone, "14:02 EST today". So it is on a day on which clocks are changed, in any case.
    """
    moment, today = datetime.fromtimestamp(time / SECOND, zone), datetime.fromtimestamp(now / SECOND, zone)
    clock = moment.strftime("%H:%M %Z" if named or _clocks_change(moment) else "%H:%M")
    if moment.date() == today.date():
        return f"{clock} today"
    if moment.date() == today.date() - timedelta(days=1):
        return f"{clock} yesterday"
    if moment.date() == today.date() + timedelta(days=1):
        return f"{clock} tomorrow"
    year = "" if moment.year == today.year else f" {moment.year}"
    return f"{clock} on {moment.day} {moment:%B}{year}"


def _clocks_change(moment: datetime) -> bool:
    """Whether clocks are changed on this day: an hour may come twice then."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return midnight.utcoffset() != (midnight + timedelta(days=1)).utcoffset()


def date_and_time(time: int, zone: tzinfo) -> str:
    """A time with everything: "Thu 27 Nov 2025 14:02:07 EST"."""
    moment = datetime.fromtimestamp(time / SECOND, zone)
    return f"{moment:%a} {moment.day} {moment:%b %Y %H:%M:%S %Z}"


def age(microseconds: int) -> str:
    """How long: "under 1 min", "12 min", "3 h", "5 days"."""
    if microseconds < MINUTE:
        return "under 1 min"
    if microseconds < HOUR:
        return f"{microseconds // MINUTE} min"
    if microseconds < 2 * DAY:
        return f"{microseconds // HOUR} h"
    return f"{microseconds // DAY} days"


def count(number: int, one: str, many: str | None = None) -> str:
    """ "1 alert", "1,200 alerts"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def person(who: Person) -> str:
    """A person as far as the desk may know."""
    if who.name and who.booking_number:
        return f"{who.name} (booking {who.booking_number})"
    if who.booking_number:
        return f"booking {who.booking_number} (name not shown)"
    return who.name or "a person who may not be named here"


def persons(alert: Alert, most: int | None = None) -> str:
    """Who, for the list: all of them, or so many and how many more: "Adams, Ada and 2 more"."""
    named = [who.name or person(who) for who in alert.persons]
    if most is None or len(named) <= most:
        return "; ".join(named)
    return f"{'; '.join(named[:most])} and {len(named) - most:,} more"


def expected(alert: Alert, now: int) -> str:
    """When what an alert warns of is due: "in 5 h", "now", "12 min ago"; empty where it does not say."""
    if alert.due is None:
        return ""
    if abs(alert.due - now) < MINUTE:
        return "now"
    return f"in {age(alert.due - now)}" if alert.due > now else f"{age(now - alert.due)} ago"


def caution(said: Caution) -> str:
    """What must not be done at once, in two words."""
    return {"WATCH_ONLY": "WATCH ONLY", "CALL_FIRST": "CALL FIRST"}.get(said.kind, "READ FIRST")


def place(alert: Alert, site: Site) -> str:
    """Facility and unit, as far as shown."""
    facility = site.facility_by_id.get(alert.facility or "")
    parts = [facility.name if facility else alert.facility, alert.unit and f"unit {alert.unit}"]
    return ", ".join(part for part in parts if part)


def buildings(site: Site, recipient: str) -> Mapping[str, str]:
    """What the list calls the facilities of a desk, by id: "annex" for "County Jail, annex", where the others are
    of the County Jail as well, or have a name of one part; nothing on a desk of one facility."""
    facilities = [site.facility_by_id[name] for name in site.recipient_by_id[recipient].facilities] or site.facilities
    if len(facilities) == 1:
        return {}
    names = {facility.id: facility.name.rpartition(", ") for facility in facilities}
    are_of = {of for of, _, _ in names.values() if of}
    return {name: called if len(are_of) == 1 else f"{of}{comma}{called}" for name, (of, comma, called) in names.items()}


def short_place(alert: Alert, called: Mapping[str, str]) -> str:
    """Where, for the list: "annex, unit 4-B". `called` is what `buildings` says."""
    parts = [called.get(alert.facility or ""), alert.unit and f"unit {alert.unit}"]
    return ", ".join(part for part in parts if part)


def confidence(alert: Alert) -> str:
    """How sure the evidence makes the alert."""
    sure = alert.confidence.lower() if alert.confidence != "UNKNOWN" else "not told, as it rests on what is not shown"
    return f"confidence in this alert: {sure}"


def rule(name: str) -> str:
    """A rule's name as words: "rivals housed together"."""
    return name.replace("_", " ")


def notice(line: Notice) -> str:
    """What changed together: "classification review: 37 alerts withdrawn; the rule is now version 2"."""
    name, _, what = line.group.partition(": ")
    over = len(line.over)
    others = len(line.entries) - over
    happened = [f"{count(over, 'alert')} withdrawn"] if over else []
    if others:
        happened.append(f"{others:,} new or changed" if over else f"{count(others, 'alert')} new or changed")
    if line.is_burst:
        # Whatever brought it about may be more than this desk may know.
        why = "all within moments"
    elif what.startswith("found on recovery"):
        why = "found when the bus started again"
    elif what.startswith("version "):
        why = f"the rule is now {what}"
    else:
        why = what or "one change"
    return f"{rule(name)}: {', '.join(happened)}; {why}"


def severity(name: str) -> str:
    """A severity; one of a later version has no name here."""
    return "UNRATED" if name == "UNKNOWN" else name


def over_because(entry: Entry) -> str:
    """Why an alert is over, as far as the record of its end and what was shown of it tell: "moved or released"."""
    ways = WAYS_TO_END.get(entry.alert.rule or "", ())
    if entry.over_by == "FACT" and ways:
        until = entry.alert.until
        if until is None or entry.ended is None:
            return either([*ways, TIME_PASSED])
        return TIME_PASSED if entry.ended >= until else either(ways)
    return {
        "FACT": "no longer so",
        "TICK": NOT_TOLD,
        # The record does not tell whether the alert ended or may not be told any more, neither does one of a later
        # version: of what may still be there it must not be said that it is over.
        "RECONCILED": MAYBE_NOT_TOLD_ON_A_START,
        "RULE_CHANGED": "the rule that raised it was changed",
    }.get(entry.over_by or "", MAYBE_NOT_TOLD)


def over_in_short(entry: Entry) -> str:
    """The same in fewer words, where there may be several ways and such words."""
    why = over_because(entry)
    if why == MAYBE_NOT_TOLD_ON_A_START:
        return MAYBE_NOT_TOLD
    return IN_SHORT.get(entry.alert.rule or "", why) if OR in why else why


def until_known(entry: Entry) -> str:
    """What an alert's end leaves to do, where it may have ended in several ways or may still be so; empty where not."""
    why, wise = over_because(entry), UNTIL_KNOWN.get(entry.alert.rule or "", "")
    if OR in why:
        return wise or YOUR_RECORDS
    return wise if why == NOT_TOLD else ""


def either(ways: Sequence[str]) -> str:
    """ "moved", "moved or released", "moved, released or seized"."""
    return OR.join(part for part in (", ".join(ways[:-1]), ways[-1]) if part)


def blindness(one: Blindness) -> str:
    """What keeps the desk from seeing, in a few words."""
    stage, _, rest = one.where.partition(" ")
    number, _, more = rest.partition(" ")
    where = f" ({stage}, partition {number}{' ' + more if more else ''})" if one.where else ""
    return {
        Blind.UNREACHABLE: "the bus does not answer",
        Blind.REFUSED: "the bus refuses this desk",
        Blind.REGISTRY_AWAY: "the schema registry does not answer, so records can't be read",
        Blind.READING: "the desk is still reading what is there",
        Blind.UNREADABLE: f"{count(one.number, 'record')} can't be read by this version",
        Blind.NO_REPORT: f"no word from the workers{where}",
        Blind.STOPPED: f"a worker has stopped{where}",
        Blind.REFOLDING: f"the bus is reading back what it knows, {one.number} % done",
        Blind.NO_TICK: f"time stands still on the bus{where}",
        Blind.BEHIND: f"the bus is {one.number:,} records behind{where}",
    }[one.why]


def blind_line(blind: tuple[Blindness, ...], now: int, zone: tzinfo) -> str:
    """The banner: since when, what that means, why, and what to do; further causes by count."""
    first, *others = blind
    more = f" (and {count(len(others), 'more cause')})" if others else ""
    since = when(min(one.since for one in blind), now, zone, named=True).removesuffix(" today")
    why = f"{blindness(first)}{more}: {WHAT_TO_DO[first.why]}."
    return f"This desk is BLIND since {since}: alerts may be missing; phone the floor. {why[0].upper()}{why[1:]}"
