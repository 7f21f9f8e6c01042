"""`sallyport replay`: an alert evaluated again from the log, and held against what is recorded."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from deploy.commands.errors import fail, settings_given
from deploy.commands.explain import ALERT_ID, SITE, progress
from deploy.explanation import input_topic
from deploy.explanation_words import WIDTH, Paper, at, when
from deploy.log_reader import LogError, LogReader, Said, log_reader
from deploy.sites import load_site
from schemas import topics
from schemas.agreements import SiteError
from schemas.codec import DecodeError, decode, decode_event
from schemas.settings import SecretUnreadableError
from streams import replay as replaying
from streams.facts import TICK_KEY
from streams.records import LoggedRecord
from streams.replay import REMOVED, SOFTWARE, Basis, Elsewhere, Lack, Lacking, Named, Names, Replay, Verdict

DIFFERENT: Final = 1
CANNOT: Final = 3
OTHER_VERSION: Final = 4


@dataclass(frozen=True, slots=True)
class Replayed:
    """A record of the alert, and what its replay found."""

    said: Said
    found: Replay


def replay(
    alert_id: ALERT_ID,
    site: SITE = None,
    revision: Annotated[
        int | None, typer.Option("--revision", min=1, help="Only this one. Default: every revision on the log.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write what was found as JSON.")] = False,
) -> None:
    """Replay an alert: fold the facts up to its cause, evaluate its rule again, and compare with what is recorded.

    IDENTICAL, DIFFERENT (the fields are named), or CANNOT (what is missing is named, and why). It shows all of it,
    whoever may see what, on standard output only, and reads as the bus's own user: it is for who runs the bus and who
    audits it. Exit codes: 0 identical, 1 different, 2 can't be read, 3 something is missing, 4 the recorded version
    of the rule is not the one that this software has. Of several revisions the lowest of 1, 3 and 4 counts.

    Example: sallyport replay 4f1f --site demo
    """
    settings = settings_given(site)
    try:
        described = load_site(settings)
        with progress() as tell, log_reader(settings, described, tell) as reader:
            alerts = reader.alert(alert_id)
            wanted = [one for one in alerts if revision in (None, one.value["revision"])]
            if not wanted:
                there = ", ".join(str(one.value["revision"]) for one in alerts)
                fail(f"the record of revision {revision} is not on the log any more; there is {there}", CANNOT)
            replayed = [Replayed(one, _replay(reader, one.value)) for one in wanted]
    except (SiteError, LogError, SecretUnreadableError) as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(_as_json(replayed), indent=2))
    else:
        for line in _in_words(replayed, min(WIDTH, Console().width) if sys.stdout.isatty() else WIDTH):
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


def _replay(reader: LogReader, alert: Mapping[str, Any]) -> Replay:
    """Replay one record; where that lacks anything, with what is elsewhere, and the purge dates of what is gone."""
    read = input_topic(reader.site, alert["cause"]["stage"]), alert["cause"]["partition"]
    clock = _LastTick(reader)
    found = replaying.replay(alert, clock.passing(reader.records(*read)), (), reader.site, reader.schemas)
    if found.verdict is not Verdict.CANNOT or alert["state"] != "OPEN" or found.basis is Basis.NOTHING:
        return found
    elsewhere = list(_elsewhere(reader, Names.of(alert), read))
    found = replaying.replay(alert, reader.records(*read), elsewhere, reader.site, reader.schemas)
    gone = {(one.agency, one.event_id) for one in found.lacking if one.why in REMOVED}
    dates = dict(_purge_dates(reader, alert, gone))
    return replaying.with_purge_dates(found, dates, clock.last)


def _elsewhere(reader: LogReader, names: Names, read: tuple[str, int]) -> Iterator[Elsewhere]:
    topic = topics.person_facts(reader.site.name)
    for number in reader.partitions(topic):
        if (topic, number) != read:
            for found in reader.matching(topic, names.borne_on_by, [number]):
                yield Elsewhere(found.place, found.record)


def _purge_dates(reader: LogReader, alert: Mapping[str, Any], gone: set[Named]) -> Iterator[tuple[Named, int]]:
    """Purge dates of events that are gone from the facts, from their agencies' topics, where those still have them."""
    came_on = {item["topic"] for item in alert["evidence"] if (item["agency"], item["event_id"]) in gone}
    for topic in sorted(came_on):
        _, agency, _ = topics.parse_inbound(topic)
        for found in reader.events(topic, [event_id for _, event_id in gone]):
            try:
                head = decode_event(found.record.value or b"", reader.schemas).head
            except DecodeError:
                continue
            if head.handling.purge_by is not None:
                yield (agency, head.event_id), head.handling.purge_by


class _LastTick:
    """How late it is by the last tick that passed, microseconds."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self.last = 0

    def passing(self, records: Iterator[LoggedRecord]) -> Iterator[LoggedRecord]:
        """The records as they are."""
        for record in records:
            if record.key == TICK_KEY and record.value is not None:
                self.last = max(self.last, int(decode(record.value, self._reader.schemas, "Tick")[1]["time"]))
            yield record


# -- telling ---------------------------------------------------------------------------------------------------------


def _as_json(replayed: Sequence[Replayed]) -> dict[str, Any]:
    last = replayed[-1].said.value
    return {
        "alert_id": last["alert_id"],
        "rule": last["rule"],
        "replays": [
            {
                "revision": one.said.value["revision"],
                "state": one.said.value["state"],
                "at": one.said.value["at"],
                "cause": one.said.value["cause"],
                "rule_version": one.said.value["rule_version"],
                **asdict(one.found),
            }
            for one in replayed
        ],
    }


def _in_words(replayed: Sequence[Replayed], width: int) -> Iterator[str]:
    paper = Paper(width)
    last = replayed[-1].said.value
    yield from paper.write(f"Alert {last['alert_id']}, rule {last['rule']}")
    for one in replayed:
        alert, found = one.said.value, one.found
        yield ""
        yield from paper.write(
            f"Revision {alert['revision']}, {alert['state']}, {when(alert['at'])}, rule version {alert['rule_version']}"
        )
        yield from paper.write(f"{found.verdict}: {_verdict(alert, found)}", 2)
        for difference in found.differences:
            yield from paper.write(f"{difference.field}:", 4)
            yield from paper.write(f"recorded {json.dumps(difference.recorded)}", 6)
            yield from paper.write(f"derived  {json.dumps(difference.derived)}", 6)
        for lacking in found.lacking:
            yield from paper.write(f"- {_lacking(lacking)}", 4)


def _verdict(alert: Mapping[str, Any], found: Replay) -> str:
    cause = alert["cause"]
    if found.verdict is Verdict.DIFFERENT:
        return "the log up to the cause is whole, and derives something else than is recorded."
    if found.verdict is Verdict.CANNOT:
        if found.basis is Basis.NOTHING:
            return "this needs the software that has the recorded version of the rule."
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
