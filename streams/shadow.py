"""Shadow: a rule tried on the live log before it is switched on. Pure: what it would raise, change and withdraw.

A `Shadow` is one partition number's stage with the candidate as its only correlation, and beside it what the live rule
has recorded. The stage is the engine's own: it folds, evaluates and keeps its timers as a worker's would, and what it
wants written is taken as what the candidate derives. Nothing is written.

The two do not see a fact at the same moment. So they are compared alert by alert, and only where each has seen all that
made the other say what it says last: what is only ahead, or behind, is no difference.
"""

from __future__ import annotations

import inspect
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple, get_args, get_type_hints

from schemas.agreements import Kind
from schemas.codec import DecodeError, WriterSchema, decode, encode
from schemas.events import CARE_EVENTS, EVENT_TYPES, TIP_EVENTS, ListTaken
from schemas.site import Site
from streams.alerts import ALWAYS, CONTENT, Cause, CauseKind, alerts_in, content
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from streams.correlations.situation import Correlation, FacilityCorrelation, PersonCorrelation, Situation
from streams.disclose import Disclose, decide
from streams.failures import names
from streams.pictures.facility import FEED_HEARD, FacilityPicture
from streams.pictures.person import STAY, PersonPicture
from streams.records import Out, Record
from streams.stage import FACILITY, PERSON, FacilityStage, PersonStage

Alert = Mapping[str, Any]
"""An AlertRaised, as it is recorded or would be."""
AnyCorrelation = Correlation[Any, Any]
LIST_TAKEN: Final = ListTaken.__name__
TRIGGERS: Final[Mapping[str, frozenset[str]]] = {
    PERSON: frozenset(EVENT_TYPES) - CARE_EVENTS - {LIST_TAKEN} | {STAY} | ALWAYS,
    FACILITY: frozenset({"PersonInCustody", "StreetViolenceReported", FEED_HEARD, LIST_TAKEN}) | TIP_EVENTS | ALWAYS,
}
"""What can trigger a correlation, by the stage that evaluates it."""


# -- what can be tried -----------------------------------------------------------------------------------------------


class Unfit(StrEnum):
    """Why something can't be tried as a rule."""

    NO_CORRELATION = "NO_CORRELATION"
    NO_NAME = "NO_NAME"
    UNKNOWN_KIND = "UNKNOWN_KIND"
    OTHER_KIND = "OTHER_KIND"
    UNKNOWN_PICTURE = "UNKNOWN_PICTURE"
    OTHER_PICTURE = "OTHER_PICTURE"
    UNKNOWN_TRIGGER = "UNKNOWN_TRIGGER"
    INSTALLED = "INSTALLED"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule that can be tried."""

    correlation: AnyCorrelation
    stage: str
    """The stage that would evaluate it: person or facility."""
    installed: int | None
    """Version of the installed rule of that name; None for a new rule."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that can't be tried: why, in a word and in words."""

    reason: Unfit
    detail: str


def judge(
    given: object,
    persons: Sequence[PersonCorrelation] = PERSON_CORRELATIONS,
    units: Sequence[FacilityCorrelation] = FACILITY_CORRELATIONS,
) -> Candidate | Refused:
    """Whether something can be tried beside the installed rules, which are evaluated for persons and housing units."""
    if not isinstance(given, Correlation):
        return Refused(Unfit.NO_CORRELATION, "it is no Correlation of streams/correlations/situation.py")
    if not given.name or not isinstance(given.version, int):
        return Refused(Unfit.NO_NAME, "a rule has a name, and a whole number as its version")
    if given.kind not in get_args(Kind):
        return Refused(Unfit.UNKNOWN_KIND, f"there is no kind {given.kind!r}; there are {', '.join(get_args(Kind))}")
    installed: list[tuple[str, AnyCorrelation]] = [(PERSON, one) for one in persons] + [
        (FACILITY, one) for one in units
    ]
    of_stage, rule = next(((stage, one) for stage, one in installed if one.name == given.name), (None, None))
    stage = _stage_of(given) or of_stage
    if stage is None:
        words = "say in the signature of `situations` which picture it takes: PersonPicture or FacilityPicture"
        return Refused(Unfit.UNKNOWN_PICTURE, words)
    unknown = sorted(frozenset(given.triggers) - TRIGGERS[stage])
    if unknown:
        words = f"nothing called {unknown[0]} triggers a rule of the {stage} stage; what does is "
        return Refused(Unfit.UNKNOWN_TRIGGER, words + ", ".join(sorted(TRIGGERS[stage] - ALWAYS)))
    if rule is None:
        return Candidate(given, stage, None)
    if of_stage != stage:
        words = f"the installed {rule.name} is evaluated in the {of_stage} stage: give this one another name"
        return Refused(Unfit.OTHER_PICTURE, words)
    if rule.kind != given.kind:
        words = f"the installed {rule.name} is of kind {rule.kind}: give this one another name"
        return Refused(Unfit.OTHER_KIND, words)
    if rule.version == given.version:
        words = f"{rule.name} version {rule.version} is what is installed: give what changed a version of its own"
        return Refused(Unfit.INSTALLED, words)
    return Candidate(given, stage, rule.version)


def _stage_of(correlation: AnyCorrelation) -> str | None:
    """The stage whose picture the rule's function says it takes; None where it does not say."""
    try:
        hints = get_type_hints(correlation.situations)
        takes = [hints.get(name) for name in inspect.signature(correlation.situations).parameters]
    except (NameError, TypeError, ValueError):  # an annotation of what is not there; no function in Python
        return None
    picture = takes[0] if takes else None
    return PERSON if picture is PersonPicture else FACILITY if picture is FacilityPicture else None


# -- differences -----------------------------------------------------------------------------------------------------


class Verdict(StrEnum):
    """What switching the candidate on would do to an alert."""

    RAISE = "RAISE"
    CHANGE = "CHANGE"
    WITHDRAW = "WITHDRAW"
    UNKNOWN = "UNKNOWN"
    """The candidate fails on what the alert is about: it says nothing of it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One alert of which the candidate does not say what is recorded."""

    partition: int
    verdict: Verdict
    recorded: Alert | None
    """As it is open now; None where it is not."""
    derived: Alert | None
    """As it would be open; None where it would not."""

    @property
    def alert(self) -> Alert:
        """As it would be; where it would not be, as it is."""
        return self.derived or self.recorded or {}

    @property
    def fields(self) -> tuple[str, ...]:
        """What a CHANGE changes, as names of fields that hold content."""
        before, after = self.recorded, self.derived
        if before is None or after is None:
            return ()
        return tuple(name for name in CONTENT if before[name] != after[name])

    @property
    def says(self) -> tuple[Verdict, str | None, str | None]:
        """Equal for differences that say the same."""
        return self.verdict, _digest(self.recorded), _digest(self.derived)


def _digest(alert: Alert | None) -> str | None:
    return alert["digest"] if alert is not None else None


@dataclass(frozen=True, slots=True)
class News:
    """A difference that appeared (or says something else by now), or that is none any more."""

    appeared: bool
    difference: Difference


class _Said(NamedTuple):
    """What one side said last of an alert: offset of the fact that made it so, and the alert where it is open."""

    at: int
    alert: Alert | None


NOTHING_SAID: Final = _Said(-1, None)


class Shadow:
    """One partition number's facts under a candidate, and what the live rule recorded of them.

    As a worker's stage it first folds silently (`refold`), evaluates everything once (`evaluate`), and is live then
    (`process`). `recall` takes the records of `alerts.raised` at any time, in the order of the log.
    """

    def __init__(self, site: Site, number: int, schemas: Mapping[int, WriterSchema], candidate: Candidate) -> None:
        self._schemas = schemas
        self.number = number
        self._name = candidate.correlation.name
        self._stage_name = candidate.stage
        self._guarded = _Guarded(candidate.correlation.situations)
        correlation = replace(candidate.correlation, situations=self._guarded)
        self._stage: PersonStage | FacilityStage = (
            PersonStage(site, number, schemas, (correlation,))
            if candidate.stage == PERSON
            else FacilityStage(site, number, schemas, (correlation,))
        )
        self._recorded: dict[str, _Said] = {}
        self._derived: dict[str, _Said] = {}
        self._unequal: set[str] = set()
        self._shown: dict[str, Difference] = {}
        self.position = 0
        """The first offset of the facts that is not folded."""
        self.done = 0
        """The first offset that the live workers may not have processed, as far as is known."""

    # -- what the logs say ---------------------------------------------------------------------------------------

    def refold(self, record: Record) -> None:
        """Fold one fact silently."""
        _unless_poison(self._stage.refold, record)

    def evaluate(self, position: int) -> None:
        """Evaluate everything at the last tick. `position` is the first offset that is not folded; the live workers
        have processed all before it."""
        self.position = position
        self.done_up_to(position)
        self._derive(self._stage.reconcile(position))

    def process(self, record: Record) -> None:
        """Fold one fact and evaluate what it touched."""
        self._derive(_unless_poison(self._stage.process, record) or ())
        self.position = record.offset + 1

    def recall(self, record: Record) -> None:
        """Take in a record of this partition of `alerts.raised`."""
        if record.value is not None:
            _unless_poison(self._recall, record)

    def done_up_to(self, offset: int) -> None:
        """The live workers have processed the facts before this offset, and what they wrote was recalled."""
        self.done = max(self.done, offset)

    def _recall(self, record: Record) -> None:
        _, alert = decode(record.value or b"", self._schemas, "AlertRaised")
        cause = alert["cause"]
        if (cause["stage"], cause["partition"]) != (self._stage_name, self.number):
            return
        self.done_up_to(cause["offset"] + 1)
        if alert["rule"] == self._name:
            self._take(self._recorded, alert)

    def _derive(self, outs: Iterable[Out]) -> None:
        # A stage also wants persons placed and facts forwarded: the live one has seen to that.
        for alert in alerts_in(outs):
            self._take(self._derived, alert)

    def _take(self, side: dict[str, _Said], alert: Alert) -> None:
        known_as = alert["alert_id"]
        side[known_as] = _Said(alert["cause"]["offset"], alert if alert["state"] == "OPEN" else None)
        recorded, derived = self._said(known_as)
        if _digest(recorded.alert) == _digest(derived.alert):
            self._unequal.discard(known_as)
        else:
            self._unequal.add(known_as)

    # -- what they differ in -------------------------------------------------------------------------------------

    def look(self) -> list[News]:
        """What is new since the last look, where both sides have seen what the other has."""
        news = []
        for known_as in sorted(self._unequal | self._shown.keys()):
            if not self._comparable(known_as):
                continue
            before, now = self._shown.get(known_as), self._difference(known_as)
            if now is not None and (before is None or before.says != now.says):
                self._shown[known_as] = now
                news.append(News(True, now))
            elif now is None and before is not None:
                del self._shown[known_as]
                news.append(News(False, before))
        return news

    def _said(self, known_as: str) -> tuple[_Said, _Said]:
        return self._recorded.get(known_as, NOTHING_SAID), self._derived.get(known_as, NOTHING_SAID)

    def _comparable(self, known_as: str) -> bool:
        recorded, derived = self._said(known_as)
        return recorded.at < self.position and derived.at < self.done

    def _difference(self, known_as: str) -> Difference | None:
        (_, recorded), (_, derived) = self._said(known_as)
        if _digest(recorded) == _digest(derived):
            return None
        if derived is not None:
            verdict = Verdict.RAISE if recorded is None else Verdict.CHANGE
        else:
            verdict = Verdict.UNKNOWN if recorded and self._fails_on(recorded["key"]) else Verdict.WITHDRAW
        return Difference(self.number, verdict, recorded, derived)

    def _fails_on(self, key: Sequence[str]) -> bool:
        """Whether the candidate fails on the focus of an alert: a situation's key names it."""
        return any(names(key, focus) for focus in self._guarded.failing)

    # -- asking --------------------------------------------------------------------------------------------------

    @property
    def tick(self) -> int:
        """The last tick, microseconds."""
        return self._stage.tick

    @property
    def differences(self) -> list[Difference]:
        """The differences as they were at the last look, in order of alert id."""
        return [self._shown[known_as] for known_as in sorted(self._shown)]

    @property
    def recorded(self) -> list[Alert]:
        """The alerts that are open."""
        return [said.alert for said in self._recorded.values() if said.alert is not None]

    @property
    def derived(self) -> list[Alert]:
        """The alerts that would be open."""
        return [said.alert for said in self._derived.values() if said.alert is not None]

    @property
    def same(self) -> int:
        """How many alerts are open of which the candidate says the same."""
        return sum(
            said.alert is not None and known_as not in self._unequal for known_as, said in self._recorded.items()
        )

    @property
    def waiting(self) -> bool:
        """Whether the two differ in something that one of them has yet to see what the other has seen of."""
        return any(not self._comparable(known_as) for known_as in self._unequal)

    @property
    def errors(self) -> Mapping[str, int]:
        """How often the candidate failed, by kind of error and line of its file."""
        return self._guarded.errors


def _unless_poison(fold: Callable[[Record], Sequence[Out] | None], record: Record) -> Sequence[Out] | None:
    """What folding a record leads to; None where no schema or key explains it: it is a dead letter already."""
    try:
        return fold(record)
    except (DecodeError, ValueError):
        return None


class _Guarded:
    """A rule's function whose errors are counted: where it fails it finds nothing, and the others go on."""

    def __init__(self, situations: Callable[[Any, Any, int], set[Situation]]) -> None:
        self._situations = situations
        code = getattr(situations, "__code__", None)
        self._file: str | None = None if code is None else code.co_filename
        self.errors: Counter[str] = Counter()
        self.failing: set[Any] = set()
        """The focuses on which it failed when it was last evaluated."""

    def __call__(self, picture: Any, focus: Any, now: int) -> set[Situation]:
        try:
            found = set(self._situations(picture, focus, now))
            for situation in found:
                _check(situation)
        except Exception as error:  # it is somebody's draft: whatever it raises is what is to be told
            self.errors[kind_and_place(self._file, error)] += 1
            self.failing.add(focus)
            return set()
        self.failing.discard(focus)
        return found


def lines_of(file: str | None, error: BaseException) -> list[int]:
    """The lines of a candidate's file by which an error came, the last one last."""
    return [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file]


def kind_and_place(file: str | None, error: BaseException) -> str:
    """What a candidate failed with, and where in its file; never the error's words, which may hold a name."""
    lines = lines_of(file, error)
    return f"{type(error).__name__}{f' at line {lines[-1]}' if lines else ''}"


_FRAME: Final = {
    **dict.fromkeys(("alert_id", "digest", "rule", "kind"), ""),
    **dict.fromkeys(("revision", "rule_version", "at"), 0),
    "state": "OPEN",
    "cause": Cause(CauseKind.FACT, PERSON, 0, 0).record(),
}
"""What of an alert is no draft's to say; any would do."""


def _check(situation: Situation) -> None:
    """Raises what a worker would meet that writes the situation."""
    said = {"key": list(situation.key), "until": situation.until, **content(situation)}
    encode("AlertRaised", {**_FRAME, **said}, 0)


# -- who would be told -----------------------------------------------------------------------------------------------


class Notice(StrEnum):
    """What a recipient would be told of an alert."""

    NEW = "NEW"
    CHANGED = "CHANGED"
    WITHDRAWN = "WITHDRAWN"


def notices(difference: Difference, site: Site, now: int) -> dict[str, Notice]:
    """What each recipient would be told, by id; whoever would be told nothing is left out.

    `now` (microseconds) is the log's time: agreements begin and end.
    """
    if difference.verdict is Verdict.UNKNOWN:
        return {}
    told = {}
    for recipient in site.recipients:
        if difference.alert["kind"] not in recipient.kinds:
            continue
        before, after = (
            (decision.view, decision.agreements)
            if alert is not None and isinstance(decision := decide(alert, recipient, site, now), Disclose)
            else None
            for alert in (difference.recorded, difference.derived)
        )
        if before != after:
            told[recipient.id] = Notice.NEW if before is None else Notice.WITHDRAWN if after is None else Notice.CHANGED
    return told


@dataclass(slots=True)
class Tally:
    """Differences, counted, and how the two rules stand."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    facilities: defaultdict[str, Counter[Verdict]] = field(default_factory=lambda: defaultdict(Counter))
    """By facility; empty text for alerts of none."""
    recipients: defaultdict[str, Counter[Notice]] = field(default_factory=lambda: defaultdict(Counter))
    open_now: Counter[str] = field(default_factory=Counter)
    """Alerts that are open, by facility."""
    open_then: Counter[str] = field(default_factory=Counter)
    """Alerts that would be open, by facility."""
    same: int = 0
    """Alerts that are open and of which the candidate says the same."""
    errors: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often the candidate failed, by kind and place of the error and by partition."""
    tick: int = 0
    """The earliest of the partitions' last ticks, microseconds."""

    def add(self, difference: Difference, told: Mapping[str, Notice]) -> None:
        """Count one difference, and what its recipients would be told."""
        self.verdicts[difference.verdict] += 1
        self.facilities[_facility(difference.alert)][difference.verdict] += 1
        for recipient, notice in told.items():
            self.recipients[recipient][notice] += 1

    def count(self, shadow: Shadow, site: Site) -> None:
        """Count how a partition stands, as of the last look at it."""
        for difference in shadow.differences:
            self.add(difference, notices(difference, site, shadow.tick))
        self.open_now.update(map(_facility, shadow.recorded))
        self.open_then.update(map(_facility, shadow.derived))
        self.same += shadow.same
        for kind, times in shadow.errors.items():
            self.errors[kind, shadow.number] += times
        self.tick = min(self.tick or shadow.tick, shadow.tick)


def _facility(alert: Alert) -> str:
    return alert["facility"] or ""
