"""`sallyport replay`: an alert evaluated again from the log, and held against what is recorded.

Of a record that is gone, against what the audit keeps of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.console import Console

from deploy.commands.errors import fail, settings_given
from deploy.commands.explain import ALERT_ID, SITE, progress
from deploy.explanation_words import WIDTH, Paper, at, when
from deploy.log_reader import LogError, LogReader, log_reader
from deploy.purged import LastTick, purge_dates
from deploy.sites import load_site
from schemas import topics
from schemas.agreements import SiteError
from schemas.settings import SecretUnreadableError
from streams import replay as replaying
from streams.outline import is_outline, outlines
from streams.replay import REMOVED, SOFTWARE, Basis, Elsewhere, Lack, Lacking, Names, Replay, Verdict
from streams.stage import input_of

DIFFERENT: Final = 1
CANNOT: Final = 3
OTHER_VERSION: Final = 4
NOT_FOR_LACK_OF_FACTS: Final = (Basis.NOTHING, Basis.WHOLE)
"""From which it can't be told, and no fact from elsewhere would help."""


Alert: TypeAlias = Mapping[str, Any]
"""A record of `alerts.raised`, or the outline of one."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A revision of the alert, and what its replay found."""

    revision: int
    alert: Alert | None
    """None where neither its record is left, nor an outline of it."""
    found: Replay


def replay(
    alert_id: ALERT_ID,
    site: SITE = None,
    revision: Annotated[
        int | None, typer.Option("--revision", min=1, help="Only this one. Default: every revision that there was.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write what was found as JSON.")] = False,
) -> None:
    """Replay an alert: fold the facts up to its cause, evaluate its rule again, and compare with what is recorded.

    Of a revision whose record is gone, with the digest that the audit keeps of it. IDENTICAL, DIFFERENT (the fields are
    named), or CANNOT (what is missing is named, and why). It shows all of it, whoever may see what, on standard output
    only, and reads as the bus's own user: it is for who runs the bus and who audits it. For each revision the facts are
    read anew. Exit codes: 0 identical, 1 different, 2 can't be read, 3 something is missing, 4 the recorded version of
    the rule is not the one that this software has. Of several revisions the lowest of 1, 3 and 4 counts.

    Example: sallyport replay 4f1f --site demo
    """
    settings = settings_given(site)
    try:
        described = load_site(settings)
        with progress() as tell, log_reader(settings, described, tell) as reader:
            last, revisions = _revisions(reader, alert_id)
            if revision not in (None, *revisions):
                fail(f"the alert has no revision {revision}: its last one is {last['revision']}")
            wanted = revisions if revision is None else {revision: revisions[revision]}
            replayed = [Replayed(number, alert, _replay(reader, alert)) for number, alert in wanted.items()]
    except (SiteError, LogError, SecretUnreadableError) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(_as_json(replayed, last), indent=2))
    else:
        for line in _in_words(replayed, last, min(WIDTH, Console().width) if sys.stdout.isatty() else WIDTH):
            typer.echo(line)
    raise typer.Exit(exit_code(one.found for one in replayed))


def exit_code(found: Iterator[Replay] | Sequence[Replay]) -> int:
    """What the command ends with: a difference counts more than what can't be told."""
    codes = {_code(one) for one in found} - {0}
    return min(codes, default=0)


def _code(found: Replay) -> int:
    if found.verdict is Verdict.IDENTICAL:
        return 0
    if found.verdict is Verdict.DIFFERENT:
        return DIFFERENT
    return OTHER_VERSION if any(one.why in SOFTWARE for one in found.lacking) else CANNOT


# -- reading ---------------------------------------------------------------------------------------------------------


def _revisions(reader: LogReader, alert_id: str) -> tuple[Alert, dict[int, Alert | None]]:
    """The last record of an alert, and all revisions that it has had, in order: each by its record, by its outline, or
    by nothing."""
    alerts = reader.alert(alert_id)
    last, partition = alerts[-1].value, alerts[-1].place.partition
    known = {one.value["revision"]: one.value for one in alerts}
    decisions = [one.value for one in reader.decisions(last["alert_id"], partition)]
    kept = outlines(decisions, known.values(), last, reader.site.name)
    return last, {number: known.get(number) or kept.get(number) for number in range(1, last["revision"] + 1)}


def _replay(reader: LogReader, alert: Alert | None) -> Replay:
    """Replay one revision; where that lacks anything, with what is elsewhere, and the purge dates of what is gone."""
    if alert is None:
        return Replay(Verdict.CANNOT, Basis.NOTHING, lacking=(Lacking(Lack.RECORD_GONE),))
    read = input_of(alert["cause"]["stage"], reader.site), alert["cause"]["partition"]
    clock = LastTick(reader.schemas)
    found = replaying.replay(alert, clock.passing(reader.records(*read)), (), reader.site, reader.schemas)
    if found.verdict is not Verdict.CANNOT or alert["state"] != "OPEN" or found.basis in NOT_FOR_LACK_OF_FACTS:
        return found
    for known in _with_persons(reader, alert):
        elsewhere = list(_elsewhere(reader, Names.of(known), read))
        found = replaying.replay(known, reader.records(*read), elsewhere, reader.site, reader.schemas)
        if found.verdict is not Verdict.CANNOT:
            return found
    gone = {(one.agency, one.event_id) for one in found.lacking if one.why in REMOVED}
    came_on = {item["topic"] for item in alert["evidence"] if (item["agency"], item["event_id"]) in gone}
    inbound = (one for topic in sorted(came_on) for one in reader.events(topic, [event_id for _, event_id in gone]))
    return replaying.with_purge_dates(found, purge_dates(inbound, reader.schemas), clock.last)


def _with_persons(reader: LogReader, alert: Alert) -> Sequence[Alert]:
    """The record; or the outline, in each way in which its events may have been somebody's then."""
    if not is_outline(alert):
        return (alert,)
    topic = topics.person_facts(reader.site.name)
    facts = (record for number in reader.partitions(topic) for record in reader.records(topic, number))
    now, at_first = replaying.with_those_whose_facts_they_are(alert, facts)
    return (now,) if now == at_first else (at_first, now)


def _elsewhere(reader: LogReader, names: Names, read: tuple[str, int]) -> Iterator[Elsewhere]:
    topic = topics.person_facts(reader.site.name)
    for number in reader.partitions(topic):
        if (topic, number) != read:
            for found in reader.matching(topic, names.borne_on_by, [number]):
                yield Elsewhere(found.place, found.record)


# -- telling ---------------------------------------------------------------------------------------------------------


def _as_json(replayed: Sequence[Replayed], last: Alert) -> dict[str, Any]:
    return {
        "alert_id": last["alert_id"],
        "rule": last["rule"],
        "replays": [
            {
                "revision": one.revision,
                **{name: one.alert[name] if one.alert else None for name in ("state", "at", "cause", "rule_version")},
                "record": one.alert is not None and not is_outline(one.alert),
                **asdict(one.found),
            }
            for one in replayed
        ],
    }


def _in_words(replayed: Sequence[Replayed], last: Alert, width: int) -> Iterator[str]:
    paper = Paper(width)
    yield from paper.write(f"Alert {last['alert_id']}, rule {last['rule']}")
    for one in replayed:
        alert, found = one.alert, one.found
        yield ""
        if alert is None:
            yield from paper.write(f"Revision {one.revision}")
            yield from paper.write(f"{found.verdict}: neither its record nor an outline of it is left.", 2)
        else:
            yield from paper.write(
                f"Revision {one.revision}, {alert['state']}, {when(alert['at'])}, rule version {alert['rule_version']}"
            )
            yield from paper.write(f"{found.verdict}: {_verdict(alert, found)}", 2)
            if is_outline(alert):
                yield from paper.write("Its words are gone; held against the digest that the audit keeps of them.", 2)
        for difference in found.differences:
            yield from paper.write(f"{difference.field}:", 4)
            yield from paper.write(f"recorded {json.dumps(difference.recorded)}", 6)
            yield from paper.write(f"derived  {json.dumps(difference.derived)}", 6)
        for lacking in found.lacking:
            yield from paper.write(f"- {_lacking(lacking)}", 4)


def _verdict(alert: Alert, found: Replay) -> str:
    cause = alert["cause"]
    if found.verdict is Verdict.DIFFERENT:
        return "the log up to the cause is whole, and derives something else than is recorded."
    if found.verdict is Verdict.CANNOT:
        if found.basis is Basis.NOTHING:
            return "this needs the software that has the recorded version of the rule."
        if found.basis is Basis.WHOLE:
            return "the log up to the cause is whole, but not all that the rule had read was on it."
        if alert["state"] != "OPEN":
            return "what it stood on, and what ended it, is not all left on the log."
        return "what is left of the log does not derive it, and not all is left that the rule had read."
    what = "derive exactly what is recorded" if alert["state"] == "OPEN" else "do not derive it, as is recorded"
    match found.basis:
        case Basis.WHOLE:
            return f"the facts up to offset {cause['offset']} {what}. Nothing that counted then is gone from the log."
        case Basis.LATER_COPIES:
            return f"the facts left of the log then, and these, which are found later or elsewhere by now, {what}."
        case _:
            return f"the facts left of the log up to offset {cause['offset']} {what}. The log may be compacted there."


def _lacking(of: Lacking) -> str:
    event = f"{of.event_type or 'event'} {of.event_id} of {of.agency}"
    where = f" ({at(of.place)})" if of.place is not None else ""
    match of.why:
        case Lack.OTHER_VERSION:
            return (
                f"version {of.recorded_version} of the rule is recorded, this software has version {of.shipped_version}"
            )
        case Lack.RULE_GONE:
            return f"version {of.recorded_version} of the rule is recorded, this software has no such rule"
        case Lack.RECORD_GONE:
            return (
                "its record on alerts.raised, of which the last one is kept; and no decision on the audit says what it "
                "rested on"
            )
        case Lack.WITHDRAWN:
            return f"{event}: its agency withdrew it{where}, and its fact is gone"
        case Lack.PURGED:
            return f"{event}: its purge date has come, and its fact is gone"
        case Lack.TOMBSTONED:
            return f"{event}: its fact was removed{where}"
        case Lack.GONE:
            return f"{event}: no record of it is left on the facts topics"
        case Lack.WRITTEN_LATER:
            return f"{event}: found later than the cause only{where}"
        case Lack.MOVED:
            return f"{event}: moved with its person's identity{where}"
        case Lack.REPLACED:
            return f"the record of person {of.person} in custody, as it was then, was replaced{where}"
        case Lack.COMPACTED:
            return f"the log was compacted after the cause{where}: what else was on it can't be told"
        case Lack.SITE_CHANGED:
            return (
                f"what {of.agency} was expected to send then: neither what it publishes by the site's files as they "
                "are now, nor all that was heard of it, leads to what is recorded; the files may have said otherwise"
            )
