"""An explanation in words, for a terminal of 80 columns. Pure. Times are UTC.

It shows all that the records say, and that is personal data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from textwrap import wrap
from typing import Any, Final

from consumers.printable import printable
from deploy.explanation import Decision, Explanation, Ground, Origin, Revision, Shown, Trace, What
from streams.alerts import CauseKind
from streams.replay import Lack, Place

WIDTH: Final = 80
SECOND: Final = 1_000_000
GONE: Final = {
    Lack.WITHDRAWN: "its agency withdrew it",
    Lack.PURGED: "its purge date has come",
    Lack.TOMBSTONED: "it was removed",
    Lack.GONE: "nothing there says why",
}
"""Why a fact is not there any more."""


def in_words(of: Explanation, width: int = WIDTH) -> Iterator[str]:
    """The lines of an explanation."""
    paper = Paper(width)
    shipped = (
        "this software has it no more" if of.shipped_version is None else f"this software has {of.shipped_version}"
    )
    yield from paper.write(f"Alert {of.alert_id}")
    yield from paper.write("Where records are is written as topic partition@offset. Times are UTC.", 2)
    yield from paper.write(f"rule {of.rule}, version {of.rule_version} ({shipped}), kind {of.kind}", 2)
    yield from paper.write(f"about {', '.join(of.key)}", 2)
    standing = "open" if of.state == "OPEN" else "withdrawn"
    yield from paper.write(f"now {standing}, at revision {of.revisions[-1].revision}", 2)
    if of.missing:
        yield from paper.write(
            f"Not on the log any more: {_count(len(of.missing), 'revision')} {_listed(of.missing)}. "
            "The log keeps the last record of each alert. What the others said is gone. What they rested on, and what "
            "was decided about each, is kept on the audit for ever, and is below.",
            2,
        )
    for revision in of.revisions:
        yield ""
        yield from _revision(revision, paper)
    if of.agreements or of.agreements_gone:
        yield from ("", "Agreements")
    for agreement in of.agreements:
        until = f" until {when(agreement.valid_until)}" if agreement.valid_until is not None else ""
        yield from paper.write(f"{agreement.id}: {agreement.title}", 2)
        yield from paper.write(
            f"{agreement.source} to {agreement.recipient}, from {when(agreement.valid_from)}{until}", 4
        )
        yield from paper.write(agreement.authority, 4)
    for gone in of.agreements_gone:
        yield from paper.write(f"{gone}: not in the site's files any more", 2)


class Paper:
    """Lines of at most so many columns; what is one word, such as an id, is never cut."""

    def __init__(self, width: int) -> None:
        self._width = width

    def write(self, text: str, indent: int = 0, hanging: int = 2) -> list[str]:
        """A paragraph; its further lines are set in by `hanging` more."""
        return wrap(
            printable(text),
            self._width,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + hanging),
            break_long_words=False,
            break_on_hyphens=False,
        )


def when(time: int) -> str:
    """A time (microseconds), in UTC and to the second."""
    return f"{datetime.fromtimestamp(time // SECOND, UTC):%Y-%m-%d %H:%M:%S}"


def at(place: Place) -> str:
    """Where a record is."""
    return f"{place.topic} {place.partition}@{place.offset}"


def _count(number: int, one: str) -> str:
    return one if number == 1 else f"{one}s"


def _listed(numbers: Iterable[int]) -> str:
    """ "1", "1, 2", "1 to 7, 9"."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda one: one[1] - one[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


# -- a revision ------------------------------------------------------------------------------------------------------


def _revision(of: Revision, paper: Paper) -> Iterator[str]:
    said = of.record or of.outline
    if said is None or of.origin is None:
        yield from paper.write(f"Revision {of.revision}: its record is not on the log any more")
        kept = (
            "the audit has decisions about it, which do not say what it rested on"
            if of.decisions
            else "nor has the audit anything of it: no recipient has its kind, or it took back what nobody was told of"
        )
        yield from paper.write(kept, 2)
        yield from _decisions(of.decisions, paper)
        return
    yield from paper.write(f"Revision {of.revision}: {_did(said['state'], of)}, {when(said['at'])}")
    where = f"record {at(of.place)}" if of.place is not None else "its words are gone; this is what the audit keeps"
    yield from paper.write(f"{where}, rule version {said['rule_version']}", 2)
    names = {one["person_id"]: _named(one) for one in said["subjects"]}
    yield from _origin(of.origin, names, paper)
    if of.record is not None and of.record["group"]:
        yield from paper.write(f"one of a mass change: {of.record['group']}", 2)
    if said["state"] == "OPEN":
        if of.record is not None:
            yield from _said(of.record, of.changed, paper)
        numbered = enumerate(of.grounds, start=1)
        for _, same in groupby(numbered, lambda one: (one[1].agency, one[1].event_id, one[1].person)):
            yield from _grounds(list(same), names, of.origin, paper)
    yield from _decisions(of.decisions, paper)


def _did(state: str, of: Revision) -> str:
    """What a revision did to the alert."""
    if state != "OPEN":
        return "WITHDRAWN"
    if of.revision == 1:
        return "RAISED"
    return {"OPEN": "CHANGED", "WITHDRAWN": "RAISED AGAIN"}.get(of.before or "", "RAISED AGAIN OR CHANGED")


def _named(subject: Mapping[str, Any]) -> str:
    """A person, by what the jail calls him."""
    booking = f"booking {subject['booking_number']}" if subject["booking_number"] else "no booking number"
    return f"{subject['name']} ({booking})" if subject["name"] else booking


def _said(record: Any, changed: Sequence[str], paper: Paper) -> Iterator[str]:
    yield from paper.write(f"{record['severity']}, confidence {record['confidence']}: {record['headline']}", 2)
    where = ", ".join(part for part in (record["facility"], record["unit"] and f"unit {record['unit']}") if part)
    if where:
        yield from paper.write(f"where: {where}", 2)
    for subject in record["subjects"]:
        yield from paper.write(f"who: {_named(subject)}, person {subject['person_id']}", 2)
    if record["until"] is not None:
        yield from paper.write(f"to be looked at again: {when(record['until'])}", 2)
    if changed:
        yield from paper.write(f"differs from the revision before in: {', '.join(changed)}", 2)


def _origin(of: Origin, names: Mapping[str, str], paper: Paper) -> Iterator[str]:
    match of.kind:
        case CauseKind.FACT:
            here = next((one for one in of.traces if one.place == of.place), None)
            yield from paper.write(f"because of {_what(here, names)}", 2)
        case CauseKind.TICK:
            yield from paper.write("because time passed: a tick", 2)
        case CauseKind.RECONCILED:
            yield from paper.write(f"found when the {of.stage} stage recovered, with all folded up to", 2)
        case CauseKind.RULE_CHANGED:
            yield from paper.write("because the rule changed, with all folded up to", 2)
    gone = "" if of.on_the_log else ", not on the log any more"
    yield from paper.write(f"{at(of.place)}{gone}", 4)
    if of.event_id:
        yield from paper.write(f"event {of.event_id}", 4)
        for one in of.traces:
            if one.place != of.place:
                yield from paper.write(f"{one.event_type or 'record'}: {_trace(one)}", 4)
        yield from _inbound(of.inbound, paper, 4)


def _what(trace: Trace | None, names: Mapping[str, str]) -> str:
    if trace is None:
        return "a record"
    match trace.what:
        case What.PLACEMENT:
            return f"a change to the record in custody of {names.get(trace.person, f'person {trace.person}')}"
        case What.WITHDRAWAL:
            return f"the withdrawal of an event by {trace.agency}"
        case What.TOMBSTONE:
            return "a tombstone: a fact was purged or forwarded"
        case What.NOTE:
            return f"a note that {trace.event_type} of {trace.agency} came"
        case What.SAME_AS:
            return f"{trace.event_type} of {trace.agency}, by which two persons are the same"
        case _:
            return f"{trace.event_type} of {trace.agency}"


def _trace(of: Trace) -> str:
    words = {
        What.FACT: "fact",
        What.SAME_AS: "fact that joins persons",
        What.WITHDRAWAL: "withdrawal",
        What.TOMBSTONE: "tombstone",
        What.PLACEMENT: "record in custody",
        What.NOTE: "note that it came",
    }
    return f"{words.get(of.what, 'record')} {at(of.place)}"


def _inbound(places: Sequence[Place], paper: Paper, indent: int) -> Iterator[str]:
    for place in places:
        yield from paper.write(f"came on {at(place)}", indent)
    if not places:
        yield from paper.write("came on its agency's topic, which does not keep it any more", indent)


def _grounds(
    numbered: Sequence[tuple[int, Ground]], names: Mapping[str, str], origin: Origin, paper: Paper
) -> Iterator[str]:
    """What one event says about one person, and where it is from."""
    for number, ground in numbered:
        who = names.get(ground.person, f"person {ground.person}") if ground.person else ""
        # Of a record that is gone, only which event it was is known.
        what = ground.text or f"{ground.event_type} of {ground.agency}"
        yield from paper.write(f"{number}. {who}{': ' if who else ''}{what}", 2, 3)
    _, of = numbered[0]
    if of.event_time is not None:
        yield from paper.write(f"{of.event_type} of {of.agency}, {when(of.event_time)}", 5)
    yield from paper.write(f"event {of.event_id}", 5)
    if of.via:
        joined = ", joined by a number verified by fingerprint" if of.joined else ""
        yield from paper.write(f"known by {of.via}{joined}", 5)
    if of.marked:
        yield from paper.write("marked by its publisher: shown to nobody else", 5)
    for one in of.facts:
        read = (one.place.topic, one.place.partition) == (origin.place.topic, origin.place.partition)
        later = " (written after the cause)" if read and one.place.offset > origin.place.offset else ""
        yield from paper.write(f"{_trace(one)}{later}", 5)
    # Of what came in a slot of time it was noted that it did, not which events they were.
    if not any(one.what is What.NOTE for one in of.facts):
        if of.gone is not None:
            yield from paper.write(f"its fact is not on the log any more: {GONE[of.gone]}", 5)
        yield from _inbound(of.inbound, paper, 5)
    for line in _told([ground for _, ground in numbered]):
        yield from paper.write(line, 5)


def _told(grounds: Sequence[Ground]) -> Iterator[str]:
    """Who was told what of them: recipients that were told the same together."""
    fields: dict[tuple[str, Shown, tuple[str, ...]], list[str]] = {}
    for told in (told for ground in grounds for told in ground.told):
        known = fields.setdefault((told.recipient, told.how, told.agreements), [])
        known += [name for name in told.fields if name not in known]
    recipients: dict[tuple[Shown, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (recipient, how, agreements), shown in fields.items():
        recipients.setdefault((how, agreements, tuple(shown)), []).append(recipient)
    for (how, agreements, names), who in recipients.items():
        what = f": {', '.join(names)}" if names else ""
        match how:
            case Shown.LEFT_OUT:
                yield f"left out for {', '.join(who)}{what}"
            case Shown.OWN_INFORMATION:
                yield f"told to {', '.join(who)}, its own agency's information{what}"
            case Shown.AGREEMENT:
                yield f"told to {', '.join(who)} under {', '.join(agreements)}{what}"


# -- disclosure ------------------------------------------------------------------------------------------------------


def _decisions(decisions: Sequence[Decision], paper: Paper) -> Iterator[str]:
    if not decisions:
        yield from paper.write("Disclosure: the audit has no decision about it", 2)
        return
    yield from paper.write("Disclosure", 2)
    for one in decisions:
        yield from paper.write(f"{one.recipient}: {one.decision} ({one.reason}), {when(one.at)}", 4)
        yield from paper.write(f"audit {at(one.place)}", 6)
        if one.agreements:
            yield from paper.write(f"under {', '.join(one.agreements)}", 6)
        yield from _fields("shown", one.shown, paper)
        yield from _fields("withheld" if one.decision == "DISCLOSED" else "no agreement for", one.withheld, paper)


def _fields(word: str, fields: Sequence[str], paper: Paper) -> Iterator[str]:
    """Fields as agency/event type/field, or sources as agency/event type, each source once."""
    by_source: dict[str, list[str]] = {}
    for one in fields:
        agency, _, rest = one.partition("/")
        event_type, _, name = rest.partition("/")
        by_source.setdefault(f"{event_type} of {agency}", []).extend([name] if name else [])
    for source, names in by_source.items():
        yield from paper.write(f"{word}: {source}{': ' if names else ''}{', '.join(names)}", 6)
