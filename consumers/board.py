"""The board: what a desk knows. A pure fold of what its topics say into open alerts, notices and blindness.

Nothing is read or written here, and time is an argument: microseconds since 1970-01-01T00:00:00Z, by the desk's clock
where it is called `now`. Whatever order the topics come in, and however often a record is sent, the board is the same
in the end; `tests/property/test_board_laws.py` holds it to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from consumers.printable import printable
from schemas.site import Site

SECOND: Final = 1_000_000
OVER_SHOWN: Final = 120 * SECOND
"""How long a withdrawn alert is still shown, as over, and the notice of a mass change."""
TOGETHER: Final = 2 * SECOND
"""How soon after each other changes of one rule come together: what one event does comes from many partitions."""
MANY: Final = 20
"""Changes of one rule that came together, beyond which they are one notice."""
SOON: Final = 3_600 * SECOND
"""What is expected within this time stands before what holds already: for that there is still time."""
BURST: Final = "together since "
"""What the desk itself names a mass change: its rule, this, and the time of the first."""
PATIENCE: Final = 10 * SECOND
"""How old a tick or a report may be before the desk calls itself blind, and how long it may take to start."""
MUCH_LAG: Final = 1000
"""Records not processed from which a stage counts as behind."""
SEVERITIES: Final = ("UNKNOWN", "CRITICAL", "HIGH", "MEDIUM", "LOW")
"""In the order of the list. A severity that this version does not know may be graver than all that it knows."""
URGENT: Final = ("UNKNOWN", "CRITICAL", "HIGH")
"""Severities for which the bell rings."""
FOLDING: Final = ("person", "facility", "disclose")
"""Stages in which time passes by ticks."""
REPORTING: Final = ("identify", *FOLDING)
"""Stages that report for every partition."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person whom an alert concerns, as far as the recipient may see."""

    name: str | None
    booking_number: str | None
    linked_by: str | None


@dataclass(frozen=True, slots=True)
class Why:
    """One thing that an alert rests on."""

    text: str
    agency: str
    """Empty where it was handed on without its author."""
    event_time: int | None


@dataclass(frozen=True, slots=True)
class Caution:
    """What whoever gave the information asks, before anything is done."""

    kind: str
    limit: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An open alert, as the recipient may see it."""

    alert_id: str
    revision: int
    kind: str
    rule: str | None
    severity: str
    confidence: str
    facility: str | None
    unit: str | None
    headline: str
    persons: tuple[Person, ...]
    why: tuple[Why, ...]
    left_out: int
    actions: tuple[str, ...]
    caution: Caution | None
    """Within what limit."""
    agreements: tuple[str, ...]
    due: int | None
    """When what it warns of is expected."""
    until: int | None
    at: int
    opened: int
    """Since when the recipient was told of it, as its record says; where that does not say it, `at` of the first
    revision that the board saw since it was last closed."""
    group: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Alert:
        """From a record AlertDisclosed that is OPEN."""
        return cls(
            record["alert_id"],
            record["revision"],
            record["kind"],
            record["rule"],
            record["severity"],
            record["confidence"],
            _or_none(record["facility"]),
            _or_none(record["unit"]),
            printable(record["headline"] or "An alert whose headline may not be shown to this desk"),
            tuple(
                Person(_or_none(s["name"]), _or_none(s["booking_number"]), _or_none(s["linked_by"]))
                for s in record["subjects"]
            ),
            tuple(Why(printable(w["text"]), w["agency"], w["event_time"]) for w in record["why"]),
            record["left_out"],
            tuple(printable(action) for action in record["actions"]),
            (said := record["caution"]) and Caution(said["kind"], printable(said["limit"])),
            tuple(record["agreements"]),
            record["due"],
            record["until"],
            record["at"],
            record["at"] if record["opened"] is None else record["opened"],
            record["group"],
        )


def _or_none(text: str | None) -> str | None:
    return printable(text) if text else None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """That somebody at this recipient's desks took note of a revision."""

    revision: int
    by: str
    at: int


class Standing(StrEnum):
    """What is to be done about an alert at the desk."""

    OPEN = "OPEN"
    CHANGED = "CHANGED"
    """It changed since it was acknowledged."""
    ACKNOWLEDGED = "ACKNOWLEDGED"
    OVER = "OVER"


@dataclass(frozen=True, slots=True)
class Entry:
    """An alert on the board."""

    alert: Alert
    standing: Standing
    acknowledged: Acknowledged | None
    over_at: int | None = None
    """When the desk heard that it is over."""
    over_by: str | None = None
    """Kind of cause of its end, as the record has it."""
    ended: int | None = None
    """When it ended by the log, as the record has it."""

    @property
    def key(self) -> str:
        """What tells it from the other lines."""
        return self.alert.alert_id

    @property
    def is_over(self) -> bool:
        """Whether it does not hold any more."""
        return self.standing is Standing.OVER

    def rank(self, now: int) -> tuple[bool, int, bool, int, int, str]:
        """What is over last; else severity first, what is acknowledged below the rest of it; then what is expected
        soon, or was lately, soonest first; what holds already, longest first; what was or is expected at another time.
        `now`: as in `Board.time`."""
        due = self.alert.due
        return (
            self.is_over,
            SEVERITIES.index(self.alert.severity),
            self.standing is Standing.ACKNOWLEDGED,
            1 if due is None else 0 if -SOON <= due - now <= SOON else 2,
            self.alert.opened if due is None else due,
            self.alert.alert_id,
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """That several alerts changed together. Those that are open stand in the list besides."""

    group: str
    entries: tuple[Entry, ...]
    """Two or more, in order, open ones and those that are over."""

    @property
    def over(self) -> tuple[Entry, ...]:
        """Those that are over: they stand nowhere else."""
        return tuple(entry for entry in self.entries if entry.is_over)

    @property
    def is_burst(self) -> bool:
        """Whether nobody but the desk says that it is one: they came together."""
        return _is_burst(self.group)

    @property
    def key(self) -> str:
        """What tells it from the other lines."""
        return f"group/{self.group}"


def _is_burst(group: str) -> bool:
    return f": {BURST}" in group


class Blind(StrEnum):
    """Why the desk may miss something, the cause that explains others first."""

    UNREACHABLE = "UNREACHABLE"
    REFUSED = "REFUSED"
    REGISTRY_AWAY = "REGISTRY_AWAY"
    READING = "READING"
    UNREADABLE = "UNREADABLE"
    NO_REPORT = "NO_REPORT"
    STOPPED = "STOPPED"
    REFOLDING = "REFOLDING"
    NO_TICK = "NO_TICK"
    BEHIND = "BEHIND"


CERTAIN: Final = (Blind.UNREACHABLE, Blind.REFUSED, Blind.REGISTRY_AWAY, Blind.UNREADABLE)
"""Causes that are no matter of waiting for the first reports."""


@dataclass(frozen=True, slots=True)
class Blindness:
    """One cause of blindness."""

    why: Blind
    since: int
    """Microseconds."""
    where: str = ""
    """Stages and partitions concerned, such as "person 2"."""
    number: int = 0
    """REFOLDING: percent done. BEHIND: records not processed. UNREADABLE: records."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Whether the desk sees."""

    starting: bool
    """It has not run long enough to tell."""
    blind: tuple[Blindness, ...]
    """Empty: it sees everything."""
    tick: int
    """Time up to which everything disclosed is known, by the log; 0: no tick yet."""

    @property
    def is_blind(self) -> bool:
        """Whether the desk must say so: while it starts, it may just not have heard yet, unless the bus is lost."""
        return any(one.why in CERTAIN or not self.starting for one in self.blind)


class ChangeKind(StrEnum):
    """What happened to an alert."""

    OPENED = "opened"
    UPDATED = "updated"
    WITHDRAWN = "withdrawn"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class Change:
    """Something on the board changed."""

    what: ChangeKind
    entry: Entry
    graver: bool = False
    """It is graver than it was."""

    @property
    def is_urgent(self) -> bool:
        """Whether somebody should look up: grave, and new, graver than before, or changed since acknowledged."""
        is_news = self.what is ChangeKind.OPENED or (
            self.what is ChangeKind.UPDATED and (self.graver or self.entry.standing is Standing.CHANGED)
        )
        return is_news and self.entry.alert.severity in URGENT and self.entry.standing is not Standing.ACKNOWLEDGED


# -- what a feed says ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AlertSaid:
    """A record AlertDisclosed."""

    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AlertForgotten:
    """A tombstone on a topic of alerts."""

    alert_id: str


@dataclass(frozen=True, slots=True)
class ActionSaid:
    """A record DeskActionTaken."""

    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReportSaid:
    """A record StageReported."""

    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that can't be decoded, by topic and key: until the next one of that key the desk misses something."""

    topic: str
    key: str


@dataclass(frozen=True, slots=True)
class Readable:
    """A record that replaces one that could not be decoded."""

    topic: str
    key: str


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The bus can't be read."""

    why: Blind
    since: int


@dataclass(frozen=True, slots=True)
class LinkBack:
    """The bus can be read again."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Everything that was there at the start has been said."""


@dataclass(frozen=True, slots=True)
class LogReplaced:
    """The bus has another log than the one that was read, such as a restored one: all of it is said anew."""


Said = (
    AlertSaid
    | AlertForgotten
    | ActionSaid
    | ReportSaid
    | Unreadable
    | Readable
    | LinkLost
    | LinkBack
    | CaughtUp
    | LogReplaced
)


@dataclass(frozen=True, slots=True)
class _Heard:
    """When the last change of an alert came, and what with."""

    at: int
    group: str


@dataclass(frozen=True, slots=True)
class _Over:
    alert: Alert
    """As the desk was told last: the record of its end has nothing but its id."""
    heard: _Heard
    by: str
    ended: int | None


@dataclass(frozen=True, slots=True)
class _Report:
    """The newest report of a stage of a partition."""

    state: str
    state_since: int
    behind_since: int | None
    tick: int
    lag: int
    done: int
    total: int
    at: int


class Board:
    """What one recipient's desk knows. `started` is when it began to read."""

    def __init__(self, site: Site, recipient: str, started: int) -> None:
        self._live = site.clock == "live"
        self._partitions = site.partitions
        self._recipient = recipient
        self._started = started
        self._revisions: dict[str, int] = {}
        self._open: dict[str, Alert] = {}
        self._over: dict[str, _Over] = {}
        self._heard: dict[str, _Heard] = {}
        """Of open alerts whose last revision is news: what was there at the start is none."""
        self._bursts: dict[str, tuple[int, int]] = {}
        """By rule: when the first and the last came of those that came together last."""
        self._acknowledged: dict[str, tuple[Acknowledged, str]] = {}
        self._reports: dict[tuple[str, int], _Report] = {}
        self._unreadable: dict[tuple[str, str], int] = {}
        self._lost: LinkLost | None = None
        self._clock_behind = 0
        self.caught_up = False

    # -- folding ---------------------------------------------------------------------------------------------------

    def fold(self, said: Said, now: int) -> Change | None:
        """Take in one thing that the feed said; what changed by it, if anything did."""
        match said:
            case AlertSaid(record):
                return self._fold_alert(record, now)
            case AlertForgotten(alert_id):
                return self._forget(alert_id, now)
            case ActionSaid(record):
                return self._fold_action(record)
            case ReportSaid(record):
                self._fold_report(record, now)
            case Unreadable(topic, key):
                self._unreadable.setdefault((topic, key), now)
            case Readable(topic, key):
                self._unreadable.pop((topic, key), None)
            case LinkLost():
                self._lost = said if self._lost is None else replace(said, since=self._lost.since)
            case LinkBack():
                self._lost = None
            case CaughtUp():
                self.caught_up = True
            case LogReplaced():
                self._begin_anew(now)
        return None

    def _begin_anew(self, now: int) -> None:
        """Forget all that was said, and that it was: what another log says has revisions and times of its own."""
        self._started = now
        self._revisions.clear()
        self._open.clear()
        self._over.clear()
        self._heard.clear()
        self._bursts.clear()
        self._acknowledged.clear()
        self._reports.clear()
        self._unreadable.clear()
        self._clock_behind = 0
        self.caught_up = False

    def _fold_alert(self, record: Mapping[str, Any], now: int) -> Change | None:
        alert_id = record["alert_id"]
        if record["recipient"] != self._recipient or record["revision"] <= self._revisions.get(alert_id, 0):
            return None
        self._revisions[alert_id] = record["revision"]
        if record["state"] == "WITHDRAWN":
            return self._close(alert_id, now, record["cause"]["kind"], record["at"], record["group"])
        alert = Alert.of(record)
        was = self._open.get(alert_id)
        self._over.pop(alert_id, None)
        if was is not None and record["opened"] is None:
            alert = replace(alert, opened=was.opened)
        self._open[alert_id] = alert
        if self.caught_up:
            self._heard[alert_id] = self._hear(alert, record["group"], now)
        if was is None:
            return Change(ChangeKind.OPENED, self._entry(alert))
        graver = SEVERITIES.index(alert.severity) < SEVERITIES.index(was.severity)
        return Change(ChangeKind.UPDATED, self._entry(alert), graver)

    def _forget(self, alert_id: str, now: int) -> Change | None:
        # Whoever writes of it again begins to count anew.
        self._revisions.pop(alert_id, None)
        return self._close(alert_id, now, "UNKNOWN", None, None)

    def _close(self, alert_id: str, now: int, by: str, ended: int | None, group: str | None) -> Change | None:
        alert = self._open.pop(alert_id, None)
        self._heard.pop(alert_id, None)
        if alert is None:
            return None
        over = _Over(alert, self._hear(alert, group, now), by, ended)
        # What was over before this desk looked is nothing that its user saw.
        if self.caught_up:
            self._over[alert_id] = over
        return Change(ChangeKind.WITHDRAWN, self._over_entry(over))

    def _hear(self, alert: Alert, group: str | None, now: int) -> _Heard:
        """A change of an alert came; `group` is what the bus says that it is part of."""
        if group is not None:
            return _Heard(now, group)
        rule = alert.rule or alert.kind
        first, last = self._bursts.get(rule, (now, now))
        if not 0 <= now - last <= TOGETHER:
            first = now
        self._bursts[rule] = first, now
        return _Heard(now, f"{rule}: {BURST}{first}")

    def _fold_action(self, record: Mapping[str, Any]) -> Change | None:
        if record["action"] != "ACKNOWLEDGE" or record["recipient"] != self._recipient:
            return None
        alert_id = record["alert_id"]
        said = Acknowledged(record["revision"], printable(record["by"]), record["at"])
        known = self._acknowledged.get(alert_id)
        # The highest revision counts, and of it the first to be acknowledged: on all desks the same.
        if known is not None and (-known[0].revision, known[0].at, known[1]) <= (
            -said.revision,
            said.at,
            record["action_id"],
        ):
            return None
        self._acknowledged[alert_id] = said, record["action_id"]
        alert = self._open.get(alert_id)
        return Change(ChangeKind.ACKNOWLEDGED, self._entry(alert)) if alert is not None else None

    def _fold_report(self, record: Mapping[str, Any], now: int) -> None:
        at, place = record["at"], (record["stage"], record["partition"])
        known = self._reports.get(place)
        if known is not None and at < known.at:
            return
        same = known is not None and known.state == record["state"]
        behind = record["lag"] > MUCH_LAG
        behind_since = known.behind_since if known is not None and known.behind_since is not None else at
        self._reports[place] = _Report(
            record["state"],
            known.state_since if same and known else at,
            behind_since if behind else None,
            record["tick"],
            record["lag"],
            record["done"],
            record["total"],
            at,
        )
        # A report from the future: it is this desk's clock that is behind. (A late one may just be late.)
        self._clock_behind = max(0, at - now)

    # -- asking ----------------------------------------------------------------------------------------------------

    def lines(self, now: int) -> list[Entry | Notice]:
        """What the list shows, in its order: alerts, and above them one notice for those that changed together.

        Of these, the ones that are over are shown by the notice alone.
        """
        self._over = {k: over for k, over in self._over.items() if now - over.heard.at < OVER_SHOWN}
        over = map(self._over_entry, self._over.values())
        entries = self._in_order([*map(self._entry, self._open.values()), *over], now)
        notices = self._notices(entries, now)
        lines: list[Entry | Notice] = []
        told = set()
        for entry in entries:
            notice = notices.get(entry.key)
            if notice is not None and notice.group not in told:
                told.add(notice.group)
                lines.append(notice)
            if notice is None or not entry.is_over:
                lines.append(entry)
        return lines

    def _notices(self, entries: Sequence[Entry], now: int) -> dict[str, Notice]:
        """By alert, the notice that it belongs to."""
        grouped: dict[str, list[Entry]] = {}
        for entry in entries:
            heard = self._over[entry.key].heard if entry.is_over else self._heard.get(entry.key)
            if heard is not None and now - heard.at < OVER_SHOWN:
                grouped.setdefault(heard.group, []).append(entry)
        several = [
            Notice(group, tuple(of_it))
            for group, of_it in grouped.items()
            if len(of_it) > (MANY if _is_burst(group) else 1)
        ]
        return {entry.key: notice for notice in several for entry in notice.entries}

    def open_entries(self, now: int) -> list[Entry]:
        """Every open alert, in the list's order."""
        return self._in_order(map(self._entry, self._open.values()), now)

    def _in_order(self, entries: Iterable[Entry], now: int) -> list[Entry]:
        time = self.time(now)
        return sorted(entries, key=lambda entry: entry.rank(time))

    def entry(self, alert_id: str) -> Entry | None:
        """One alert that is open or was until a moment ago."""
        if alert_id in self._open:
            return self._entry(self._open[alert_id])
        return self._over_entry(self._over[alert_id]) if alert_id in self._over else None

    def _entry(self, alert: Alert) -> Entry:
        known = self._acknowledged.get(alert.alert_id)
        if known is None:
            return Entry(alert, Standing.OPEN, None)
        up_to_date = known[0].revision >= alert.revision
        return Entry(alert, Standing.ACKNOWLEDGED if up_to_date else Standing.CHANGED, known[0])

    def _over_entry(self, over: _Over) -> Entry:
        known = self._acknowledged.get(over.alert.alert_id)
        acknowledged = known[0] if known else None
        return Entry(over.alert, Standing.OVER, acknowledged, over.heard.at, over.by, over.ended)

    def time(self, now: int) -> int:
        """The time that ages and "today" are counted from: the wall clock's, on a history site the log's."""
        return self.tick or now if not self._live else now

    @property
    def tick(self) -> int:
        """Time up to which everything disclosed is known, by the log; 0: no tick yet."""
        ticks = [
            report.tick
            for stage in FOLDING
            for number in range(self._partitions)
            if (report := self._reports.get((stage, number))) is not None
        ]
        return min(ticks, default=0)

    def is_shown(self, now: int) -> bool:
        """Whether what was read is to be shown. While it reads, that may be over already; when reading takes too long,
        or one topic can't be read, it is better than nothing."""
        return self.caught_up or not self.sight(now).starting

    def sight(self, now: int) -> Sight:
        """Whether the desk sees everything; where not, why and since when."""
        blind: list[Blindness] = []
        if self._lost is not None:
            blind.append(Blindness(self._lost.why, self._lost.since))
        starting = now - self._started < PATIENCE
        if not self.caught_up:
            blind.append(Blindness(Blind.READING, self._started))
        if self._unreadable:
            since = min(self._unreadable.values())
            blind.append(Blindness(Blind.UNREADABLE, since, number=len(self._unreadable)))
        blind += self._stages_blind(now + self._clock_behind)
        return Sight(starting, tuple(blind), self.tick)

    def _stages_blind(self, now: int) -> list[Blindness]:
        """What ails the stages: one line for each ailment, wherever it is found."""
        found: dict[Blind, list[Blindness]] = {}
        for stage in REPORTING:
            for number in range(self._partitions):
                for ailment in self._ailments(stage, number, now):
                    found.setdefault(ailment.why, []).append(ailment)
        return [self._together(why, found[why]) for why in Blind if why in found]

    def _ailments(self, stage: str, number: int, now: int) -> Iterator[Blindness]:
        where, report = f"{stage} {number}", self._reports.get((stage, number))
        if report is None:
            yield Blindness(Blind.NO_REPORT, self._started, where)
        elif now - report.at > PATIENCE:
            yield Blindness(Blind.NO_REPORT, report.at, where)
        elif report.state != "LIVE":
            why = Blind.REFOLDING if report.state == "REFOLDING" else Blind.STOPPED
            yield Blindness(why, report.state_since, where)
        else:
            # Ahead, too, it stands still: until it is that late, no tick is written, and nothing ends or is raised.
            if self._live and stage in FOLDING and abs(now - report.tick) > PATIENCE:
                since = report.tick if 0 < report.tick < now else report.state_since
                yield Blindness(Blind.NO_TICK, since, where)
            if report.behind_since is not None:
                yield Blindness(Blind.BEHIND, report.behind_since, where, report.lag)

    def _together(self, why: Blind, ailments: list[Blindness]) -> Blindness:
        since = min(ailment.since for ailment in ailments)
        places = [ailment.where for ailment in ailments]
        if len(places) == len(REPORTING) * self._partitions:
            # Where all are silent, what counts is when the last of them spoke.
            since = max(ailment.since for ailment in ailments) if why is Blind.NO_REPORT else since
            where = ""
        else:
            where = places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
        if why is Blind.REFOLDING:
            return Blindness(why, since, where, self._percent_refolded())
        return Blindness(why, since, where, max(ailment.number for ailment in ailments))

    def _percent_refolded(self) -> int:
        # Of those that a desk waits for: who only stands by is none of them.
        found = [report for (stage, _), report in self._reports.items() if stage in REPORTING]
        reports = [report for report in found if report.state == "REFOLDING"]
        total = sum(report.total for report in reports)
        return min(100, 100 * sum(report.done for report in reports) // total) if total else 0
