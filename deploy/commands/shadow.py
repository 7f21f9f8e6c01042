"""`sallyport shadow`: what a rule would raise, change and withdraw, before it is switched on."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deploy.candidate import CandidateError, load_candidate
from deploy.commands.errors import fail, settings_given
from deploy.shadow import ShadowError, Shadowing
from deploy.sites import load_site
from schemas.agreements import SiteError
from schemas.settings import SecretUnreadableError
from schemas.site import Site
from streams.shadow import Alert, Candidate, Difference, News, Notice, Shadow, Tally, Verdict, notices

SHOWN = 30
"""Differences shown to a person one by one at the start; the rest is counted."""
WAITING_S = 15.0
"""Seconds for which a difference may rest on what the workers have not processed, before somebody is told."""
DIFFERS, FAILS = 1, 3
"""Exit codes."""
WORDS = {
    Verdict.RAISE: "would raise",
    Verdict.CHANGE: "would change",
    Verdict.WITHDRAW: "would withdraw",
    Verdict.UNKNOWN: "can't say",
}
COUNTED = frozenset({"subjects", "evidence"})
"""Fields of which only the number of pieces is shown, unless --evidence is given."""


def shadow(
    rule: Annotated[Path, typer.Argument(help="A file like those in streams/correlations, with its CORRELATION.")],
    site: Annotated[str | None, typer.Option(help="The site; default: SALLYPORT_SITE.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with the live log, until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object; with --follow one JSON object a line.")
    ] = False,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Show persons and evidence too: names, and what is known of them.")
    ] = False,
) -> None:
    """Try a rule on a site's own log, before it is switched on: what it would raise, change and withdraw.

    Reads as the workers do, and writes nothing. A rule of an installed one's name is compared with what that one has
    recorded; any other is new. Exit codes: 0 no difference, 1 it differs (with --follow: it ever differed), 2 can't try
    it, 3 the rule failed on something.

    Example: sallyport shadow drafts/rivals_housed_together.py --site demo --follow
    """
    settings = settings_given(site)
    try:
        described = load_site(settings)
        candidate = load_candidate(rule)
        trial = _Trial(described, candidate, as_json, evidence)
        with Shadowing(settings, described, candidate) as shadowing:
            # Who only looks needs one partition at a time; who follows needs what all of them know.
            kept = {one.number: one for one in trial.begin(_read_back(shadowing, as_json)) if follow}
            trial.show_start(follow)
            if follow:
                trial.follow(shadowing, kept)
    except (SiteError, CandidateError, ShadowError, SecretUnreadableError) as error:
        fail(str(error))
    raise typer.Exit(trial.exit_code)


def _read_back(shadowing: Shadowing, quiet: bool) -> Iterator[Shadow]:
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as bar:
        reading = bar.add_task("Reading back", total=None)
        yield from shadowing.shadows(lambda done, total: bar.update(reading, completed=done, total=total))


@dataclass
class _Trial:
    """One trial of a candidate: what is shown of it, and what is remembered for the end."""

    site: Site
    candidate: Candidate
    as_json: bool
    evidence: bool
    stands: Tally = field(default_factory=Tally)
    """How it stood at the start."""
    seen: Tally = field(default_factory=Tally)
    """Every difference that appeared, from the start on."""
    differences: list[tuple[Difference, Mapping[str, Notice]]] = field(default_factory=list)
    """Those at the start, and who would be told what."""
    failed: set[tuple[str, int]] = field(default_factory=set)
    """Errors of the candidate that were told."""

    @property
    def exit_code(self) -> int:
        """What a script may gate on."""
        if self.failed:
            return FAILS
        return DIFFERS if self.seen.verdicts else 0

    # -- the start -----------------------------------------------------------------------------------------------

    def begin(self, shadows: Iterator[Shadow]) -> Iterator[Shadow]:
        """Look at each partition's shadow for the first time."""
        for one in shadows:
            one.look()
            self.stands.count(one, self.site)
            for difference in one.differences:
                told = notices(difference, self.site, one.tick)
                self.seen.add(difference, told)
                self.differences.append((difference, told))
            yield one
        self.failed |= self.stands.errors.keys()

    def show_start(self, follow: bool) -> None:
        """Tell how the two stand, and each difference."""
        if self.as_json:
            listed = [self._as_json(difference, told) for difference, told in self.differences]
            if follow:
                for one in listed:
                    _line({"change": "appeared", **one})
                _line({"change": "started", **self._summary(self.stands)})
            else:
                _line({**self._summary(self.stands), "differences": listed})
            return
        for difference, told in self.differences[:SHOWN]:
            self._print(difference, told, "")
        if len(self.differences) > SHOWN:
            _say(f"and {len(self.differences) - SHOWN} more, with --json all")
        self._show(self.stands)

    # -- on the live log -----------------------------------------------------------------------------------------

    def follow(self, shadowing: Shadowing, shadows: Mapping[int, Shadow]) -> None:
        """Tell of differences as they appear and disappear, until a signal; then how the two stand."""
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        if not self.as_json:
            _say("Following the live log; Ctrl-C ends it.")
        gone, waiting_since, told_of_it = 0, time.monotonic(), False
        for _ in shadowing.follow(shadows, ended.is_set):
            for one in shadows.values():
                gone += self._tell(one, one.look())
            if not any(one.waiting for one in shadows.values()):
                waiting_since, told_of_it = time.monotonic(), False
            elif time.monotonic() - waiting_since > WAITING_S and not told_of_it:
                told_of_it = True
                typer.echo("sallyport: something new can't be compared before the workers have processed it", err=True)
        last = Tally()
        for one in shadows.values():
            last.count(one, self.site)
        appeared = self.seen.verdicts.total()
        if self.as_json:
            _line({"change": "ended", **self._summary(last), "appeared": appeared, "disappeared": gone})
            return
        self._show(last)
        _say(f"{appeared} differences appeared in all, {gone} of them disappeared")

    def _tell(self, one: Shadow, news: Sequence[News]) -> int:
        """Tell what is new of a partition; how many differences disappeared."""
        for item in news:
            told = notices(item.difference, self.site, one.tick)
            if item.appeared:
                self.seen.add(item.difference, told)
            if self.as_json:
                change = "appeared" if item.appeared else "disappeared"
                _line({"change": change, **self._as_json(item.difference, told)})
            else:
                self._print(item.difference, told, f"{_time(one.tick)} {'' if item.appeared else 'no longer: '}")
        for kind in one.errors:
            if (kind, one.number) not in self.failed:
                self.failed.add((kind, one.number))
                if self.as_json:
                    _line({"change": "failed", "error": kind, "partition": one.number})
                else:
                    _say(f"{_time(one.tick)} the rule failed: {kind}, on partition {one.number}")
        return sum(not item.appeared for item in news)

    # -- words ---------------------------------------------------------------------------------------------------

    def _print(self, difference: Difference, told: Mapping[str, Notice], before: str) -> None:
        alert = difference.alert
        where = " ".join(part for part in (alert["facility"], alert["unit"]) if part)
        who = ", ".join(f"{recipient} ({notice.lower()})" for recipient, notice in told.items()) or "nobody"
        _say(f"{before}{WORDS[difference.verdict]} {alert['severity']} {where}: {alert['headline']}")
        _say(f"    alert {alert['alert_id']}, tells {who}")
        for name in difference.fields:
            old, new = (self._shown(name, side) for side in (difference.recorded, difference.derived))
            _say(f"    {name}: {old} -> {new}")
        if self.evidence:
            for subject in alert["subjects"]:
                _say(f"    about {subject['name'] or 'a person'}, booking {subject['booking_number'] or 'not known'}")
            for item in alert["evidence"]:
                _say(f"    on {item['text']} ({item['agency']}, {_time(item['event_time'])})")

    def _shown(self, name: str, alert: Alert | None) -> Any:
        """A field as a person or a script sees it."""
        if alert is None:
            return None
        value = alert[name]
        if name not in COUNTED:
            return value
        if self.as_json:
            return value if self.evidence else len(value)
        if not self.evidence:
            return f"{len(value)} {'piece' if len(value) == 1 else 'pieces'}"
        return [item["text"] if name == "evidence" else item["name"] for item in value]

    def _as_json(self, difference: Difference, told: Mapping[str, Notice]) -> dict[str, Any]:
        alert = difference.alert
        return {
            "verdict": difference.verdict.value,
            "alert_id": alert["alert_id"],
            "partition": difference.partition,
            **{name: alert[name] for name in ("kind", "severity", "confidence", "facility", "unit", "headline")},
            "fields": {
                name: {"before": self._shown(name, difference.recorded), "after": self._shown(name, difference.derived)}
                for name in difference.fields
            },
            "recipients": {recipient: notice.value for recipient, notice in told.items()},
            **({name: alert[name] for name in ("subjects", "evidence", "actions")} if self.evidence else {}),
        }

    def _summary(self, tally: Tally) -> dict[str, Any]:
        rule = self.candidate.correlation
        return {
            "site": self.site.name,
            "rule": rule.name,
            "version": rule.version,
            "installed": self.candidate.installed,
            "kind": rule.kind,
            "stage": self.candidate.stage,
            "tick": tally.tick,
            "open_now": tally.open_now.total(),
            "open_then": tally.open_then.total(),
            "same": tally.same,
            "verdicts": {verdict.value: tally.verdicts[verdict] for verdict in Verdict},
            "facilities": {
                name: {
                    "open_now": tally.open_now[name],
                    "open_then": tally.open_then[name],
                    **{verdict.value: tally.facilities[name][verdict] for verdict in Verdict},
                }
                for name in _facilities(tally)
            },
            "recipients": {
                name: {notice.value: counted[notice] for notice in Notice}
                for name, counted in sorted(tally.recipients.items())
            },
            "errors": [
                {"error": kind, "partition": number, "times": times}
                for (kind, number), times in sorted(tally.errors.items())
            ],
        }

    def _show(self, tally: Tally) -> None:
        rule, installed = self.candidate.correlation, self.candidate.installed
        beside = f"beside version {installed}" if installed is not None else "a new rule"
        title = f"{rule.name} version {rule.version}, {beside}, on {self.site.name} at {_time(tally.tick)}"
        table = Table(title=f"{title} (alerts of kind {rule.kind})", title_justify="left")
        table.add_column("facility")
        for column in ("open now", *WORDS.values(), "open then"):
            table.add_column(column, justify="right")
        for name in _facilities(tally):
            counted = tally.facilities[name]
            row = (tally.open_now[name], *(counted[verdict] for verdict in Verdict), tally.open_then[name])
            table.add_row(name or "none", *(f"{count:,}" for count in row))
        Console().print(table)
        told = Table(title="Notices if it were switched on now", title_justify="left")
        told.add_column("recipient")
        for notice in Notice:
            told.add_column(notice.lower(), justify="right")
        for recipient, counts in sorted(tally.recipients.items()):
            told.add_row(recipient, *(f"{counts[notice]:,}" for notice in Notice))
        if tally.recipients:
            Console().print(told)
        for (kind, number), times in sorted(tally.errors.items()):
            _say(f"the rule failed {times:,} times: {kind}, on partition {number}. A worker would not start with it")
        if not tally.verdicts:
            _say(f"No difference: {tally.same:,} open alerts are the same.")


def _facilities(tally: Tally) -> list[str]:
    return sorted({*tally.open_now, *tally.open_then, *tally.facilities})


def _time(microseconds: int) -> str:
    if microseconds == 0:
        return "no time yet"
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _say(text: str) -> None:
    typer.echo(text)


def _line(what: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(what))  # click flushes
