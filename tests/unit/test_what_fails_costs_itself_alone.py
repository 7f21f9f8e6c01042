"""A rule that fails, or a fact that can't be read any more: what it is about stays as it was said, all else goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from schemas import topics
from schemas.codec import DecodeError, Undecodable, encode
from streams import disclose
from streams.alerts import AlertBook, Cause, CauseKind
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.correlations.situation import Correlation, Severity, Situation
from streams.facts import TICK_KEY, person_id
from streams.failures import RETRY, Failures, names
from streams.partition import FOLDING, Partition
from streams.pictures.facility import UnitKey
from streams.pictures.lists import ListKey
from streams.records import LoggedRecord, Out, header
from streams.stage import PersonStage
from tests.county import DAY, JAIL, START, demo_site, event
from tests.in_memory_bus import InMemoryBus, processed

FACT = Cause(CauseKind.FACT, "person", 0, 1, "e1")
NOW = 1_000
SITE = demo_site(partitions=1)
ALERTS = topics.alerts_raised("demo")


class County:
    """What holds for each focus by each of two rules, and where they fail."""

    def __init__(self) -> None:
        self.holds: set[tuple[str, str]] = set()
        self.until: dict[str, int] = {}
        self.fails: set[tuple[str, str]] = set()

    def rule(self, name: str) -> Any:
        def situations(_: object, focus: str, now: int) -> set[Situation]:
            if (name, focus) in self.fails:
                raise KeyError(focus)
            until = self.until.get(focus)
            if (name, focus) not in self.holds or (until is not None and until <= now):
                return set()
            return {Situation((focus, name), Severity.LOW, "look", (), (), (), until=until)}

        return Correlation[object, str](name, 1, "housing", frozenset({"HousingAssigned"}), situations, str)

    def book(self, failures: Failures | None) -> AlertBook[object, str]:
        return AlertBook("demo", "person", 0, (self.rule("first"), self.rule("second")), failures)


def evaluated(book: AlertBook[object, str], focuses: Iterable[str] = ("ada", "bo"), now: int = NOW) -> list[Any]:
    return [out.value for out in book.evaluate(object(), focuses, None, FACT, now)]


def said(records: Iterable[Any]) -> list[tuple[str, str, str]]:
    return [(record["key"][0], record["rule"], record["state"]) for record in records]


def recovered(county: County, log: Iterable[Any], failures: Failures) -> tuple[AlertBook[object, str], list[Any]]:
    """A book that is recovered from a log of alerts, and what it wrote."""
    book = county.book(failures)
    for record in log:
        book.recall(record)
    book.derive(object(), ("ada", "bo"), NOW)
    return book, [out.value for out in book.settle(NOW, 7)]


def test_a_rule_that_fails_for_one_loses_nobody_else_s_alert() -> None:
    county, failures = County(), Failures()
    county.holds = {(rule, focus) for rule in ("first", "second") for focus in ("ada", "bo")}
    county.fails = {("second", "ada")}
    book = county.book(failures)
    records = evaluated(book)
    assert said(records) == [("ada", "first", "OPEN"), ("bo", "first", "OPEN"), ("bo", "second", "OPEN")]
    assert book.open_alerts().keys() == {record["alert_id"] for record in records}
    ((what, kind),) = failures.untold()
    assert what == "second"
    assert kind.startswith(f"KeyError at {__file__.rpartition('/')[2]}:")
    assert failures.untold() == []


def test_where_nobody_notes_failures_they_are_raised() -> None:
    county = County()
    county.fails = {("second", "ada")}
    with pytest.raises(KeyError):
        evaluated(county.book(None))


def test_what_fails_is_tried_again_and_the_others_timers_are_kept() -> None:
    county = County()
    county.holds = {("first", "ada"), ("first", "bo")}
    county.until = {"ada": 2_000, "bo": 2_000}
    book = county.book(Failures())
    evaluated(book)
    county.fails = {("first", "ada")}
    assert book.due(2_000) == ["ada", "bo"]
    assert said(evaluated(book, ("ada", "bo"), 2_000)) == [("bo", "first", "WITHDRAWN")]
    county.fails = set()
    assert book.due(2_000 + RETRY - 1) == []
    assert book.due(2_000 + RETRY) == ["ada"]
    assert said(evaluated(book, ("ada",), 2_000 + RETRY)) == [("ada", "first", "WITHDRAWN")]


def test_a_recovery_neither_raises_nor_withdraws_where_a_rule_fails() -> None:
    county = County()
    county.holds = {("first", "ada"), ("first", "bo")}
    log = evaluated(county.book(None))
    county.holds = set()
    county.fails = {("first", "ada")}
    _, written = recovered(county, log, Failures())
    assert said(written) == [("bo", "first", "WITHDRAWN")]


@pytest.mark.parametrize(("holds", "then"), [(True, []), (False, [("ada", "first", "WITHDRAWN")])])
def test_what_a_recovery_left_open_is_judged_when_the_rule_fails_no_more(holds: bool, then: list[Any]) -> None:
    county, failures = County(), Failures()
    county.holds = {("first", "ada"), ("second", "ada"), ("first", "bo")}
    log = evaluated(county.book(None))
    county.fails = {("first", "ada")}
    book, written = recovered(county, log, failures)
    assert written == []
    county.fails = set()
    if not holds:
        county.holds.discard(("first", "ada"))
    assert said(evaluated(book)) == then
    assert not failures
    assert said(evaluated(book)) == []


def test_who_stands_by_forgets_a_failure_that_is_over() -> None:
    county, failures = County(), Failures()
    county.fails = {("first", "ada")}
    book = county.book(failures)
    book.derive(object(), ("ada",), NOW)
    assert failures
    county.fails = set()
    book.derive(object(), ("ada",), NOW)
    assert not failures


def test_what_failed_is_mended_at_its_own_focus_and_once() -> None:
    failures = Failures()
    failures.note("rule", "ada", KeyError())
    failures.note("rule", "bo", KeyError())
    assert not failures.mended("rule", "cy")
    assert not failures.mended("other", "ada")
    assert failures.mended("rule", "ada")
    assert not failures.mended("rule", "ada")
    assert failures
    assert failures.mended("rule", "bo")
    assert not failures


def test_a_failure_concerns_the_alerts_of_its_rule_at_its_focus_and_a_fact_that_is_unread_all() -> None:
    failures = Failures()
    failures.note("rule", UnitKey("main", "4-A"), KeyError())
    assert failures.concern("rule", ("main", "4-A", "east", "west"))
    assert failures.concern("rule", ("main", "4-A"))
    assert not failures.concern("rule", ("main", "4-B", "4-A"))
    assert not failures.concern("other", ("main", "4-A"))
    failures.note_unread(DecodeError(Undecodable.BROKEN_AVRO, "it never could be read"))
    assert not failures.concern("other", ("main", "4-B"))
    failures.note_unread(DecodeError(Undecodable.UNKNOWN_SCHEMA, "the schema is gone"))
    assert failures.concern("other", ("main", "4-B"))
    assert [what for what, _ in failures.untold()] == ["reading a fact", "rule"]


@pytest.mark.parametrize(
    ("key", "focus", "named"),
    [
        (("ada", "x"), "ada", True),
        (("bo", "x"), "ada", False),
        (("main", "4-A", "x"), ("main", "4-A"), True),
        (("main", "4-B"), ("main", "4-A"), False),
        (("main", "north", "4-A"), ("main", "4-A"), False),
        (("jail", "main"), ListKey("jail", "main"), True),
    ],
)
def test_a_key_names_the_focus_it_was_derived_of(key: tuple[str, ...], focus: Any, named: bool) -> None:
    assert names(key, focus) is named


# -- facts whose schema is gone --------------------------------------------------------------------------------------

HAPPENED = [
    what
    for person in ("ada", "bo")
    for what in (
        event("BookingReported", person),
        event("AffiliationValidated", person, day=1, group="Eastside"),
        event("HousingAssigned", person, day=1, unit="4-A"),
        event("CustodyClassified", person, day=1),
    )
]
FORGOTTEN = {number: schema for number, schema in SCHEMAS.items() if schema.name != "CustodyClassified"}
REVIEWED = [event("DisciplinaryRecorded", person, day=2) for person in ("ada", "bo")]


def refolded(bus: InMemoryBus) -> Partition:
    partition = Partition.of(bus.site, 0, FORGOTTEN)
    for record in bus.logs[ALERTS, 0]:
        partition.recall(ALERTS, record)
    for stage in FOLDING:
        for record in bus.input_of(stage, 0):
            partition.refold(stage, record)
    return partition


def letters(outs: Iterable[Out]) -> list[tuple[str | None, str | None]]:
    box = topics.dead_letters("demo", topics.BUS)
    return [(header(out.headers, "reason"), header(out.headers, "detail")) for out in outs if out.topic == box]


def test_a_recovery_goes_on_where_the_registry_has_forgotten_a_schema() -> None:
    bus = processed(SITE, [*HAPPENED, *REVIEWED], START + 3 * DAY)
    partition = refolded(bus)
    outs = list(partition.reconcile({stage: len(bus.input_of(stage, 0)) for stage in FOLDING}))
    assert [out.value for out in outs if out.name == "AlertRaised"] == []
    ((reason, detail),) = letters(outs)
    assert reason == "RULE_FAILED"
    assert detail is not None
    assert detail.startswith("classification_review failed (DecodeError at codec.py:")
    assert partition.person.book.open_alerts() != {}


FEUD = [
    *HAPPENED[:3],
    event("BookingReported", "cy"),
    event("HousingAssigned", "cy", day=1, unit="4-A"),
    event("AffiliationValidated", "cy", day=1, group="Harbor"),
    event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"], name="feud"),
]


def test_a_recovery_withdraws_nothing_where_a_fact_can_t_be_read_that_could_be_when_it_came() -> None:
    bus = processed(SITE, FEUD, START + 3 * DAY)
    assert len(bus.open_alerts()) == 1
    known = {number: schema for number, schema in SCHEMAS.items() if schema.name != "StreetViolenceReported"}
    partition = Partition.of(SITE, 0, known)
    for where in partition.outputs():
        for record in bus.logs[where]:
            partition.recall(where[0], record)
    for stage in FOLDING:
        for record in bus.input_of(stage, 0):
            with suppress(DecodeError):
                partition.refold(stage, record)
    outs = list(partition.reconcile({stage: len(bus.input_of(stage, 0)) for stage in FOLDING}))
    assert [out.value for out in outs if out.name == "AlertRaised"] == []
    assert {reason for reason, _ in letters(outs)} == {"RULE_FAILED"}


def test_nothing_that_is_told_of_a_failure_names_anybody() -> None:
    bus = processed(SITE, [*HAPPENED, *REVIEWED], START + 3 * DAY)
    partition = refolded(bus)
    outs = partition.reconcile({stage: len(bus.input_of(stage, 0)) for stage in FOLDING})
    ada = person_id(f"{JAIL}/LOCAL", "jms", "ada")
    (told,) = [out for out in outs if header(out.headers, "reason") == "RULE_FAILED"]
    assert ada.encode() not in told.key + b"".join(value for _, value in told.headers)
    assert told.value == b""


@pytest.mark.parametrize(
    ("of", "source"),
    [
        ("person", topics.person_facts("demo")),
        ("facility", topics.facility_facts("demo")),
        ("disclose", topics.alerts_raised("demo")),
    ],
)
def test_a_letter_says_on_which_partition_of_which_log_it_failed(of: str, source: str) -> None:
    partition = Partition.of(demo_site(partitions=4), 3, SCHEMAS)
    getattr(partition, of).failures.note("a rule", "ada", LookupError())
    tick = LoggedRecord(0, TICK_KEY, encode("Tick", {"time": START}, SCHEMA_IDS["Tick"]))
    (letter,) = partition.process("person", tick)
    assert (letter.topic, letter.partition) == (topics.dead_letters("demo", topics.BUS), 0)
    assert letter.key == f"{source}/3/a rule".encode()
    assert (header(letter.headers, "topic"), header(letter.headers, "partition")) == (source, "3")
    assert partition.process("person", tick) == [], "it is told once"


def test_a_tick_goes_on_where_following_somebody_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = Failures()
    stage = PersonStage(SITE, 0, SCHEMAS, failures=failures)
    bus = processed(SITE, HAPPENED, START + 3 * DAY)
    ada = person_id(f"{JAIL}/LOCAL", "jms", "ada")
    placed = stage._placements._grounds

    def grounds(person: str) -> Any:
        if person == ada:
            raise LookupError(person)
        return placed(person)

    monkeypatch.setattr(stage._placements, "_grounds", grounds)
    outs = [out for record in bus.input_of("person", 0) for out in stage.process(record)]
    assert {
        out.value["person_id"] for out in outs if out.name == "PersonInCustody" and isinstance(out.value, dict)
    } == {person_id(f"{JAIL}/LOCAL", "jms", "bo")}
    monkeypatch.undo()
    time = START + 3 * DAY + RETRY
    outs = stage.process(LoggedRecord(99, TICK_KEY, encode("Tick", {"time": time}, SCHEMA_IDS["Tick"])))
    assert [
        out.value["person_id"] for out in outs if out.name == "PersonInCustody" and isinstance(out.value, dict)
    ] == [ada]
    assert not failures


def test_without_anybody_who_notes_it_a_stage_raises() -> None:
    stage = PersonStage(SITE, 0, FORGOTTEN)
    bus = processed(SITE, [*HAPPENED, *REVIEWED], START + 3 * DAY)
    for record in bus.input_of("person", 0):
        stage.refold(record)
    with pytest.raises(DecodeError):
        list(stage.reconcile(0))


# -- who may know ----------------------------------------------------------------------------------------------------


def test_where_it_can_t_be_decided_whether_one_may_know_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = processed(SITE, [*HAPPENED, *REVIEWED], START + 3 * DAY)
    partition, decide = Partition.of(SITE, 0, SCHEMAS), disclose.decide
    told_by_all = {out.topic for out in of_everybody(Partition.of(SITE, 0, SCHEMAS), bus)}
    fails = next(one for one in SITE.recipients if topics.alerts_for("demo", one.id, "housing") in told_by_all)

    def decides(alert: Any, recipient: Any, *more: Any) -> Any:
        if recipient.id == fails.id:
            raise LookupError(alert["headline"])
        return decide(alert, recipient, *more)

    monkeypatch.setattr(disclose, "decide", decides)
    outs = list(of_everybody(partition, bus))
    theirs = topics.alerts_for("demo", fails.id, "housing")
    assert {out.topic for out in outs} == told_by_all - {theirs} | {topics.dead_letters("demo", topics.BUS)}
    ((reason, detail),) = letters(outs)
    assert reason == "RULE_FAILED"
    assert detail is not None
    assert detail.startswith(f"disclose to {fails.id} failed (LookupError at ")
    monkeypatch.undo()
    soon, later = START + 3 * DAY + RETRY - 1, START + 3 * DAY + RETRY
    assert ticked(partition, soon) == [], "what was decided is not audited again and again"
    assert {(out.topic, out.partition) for out in ticked(partition, later)} == {
        (theirs, 0),
        (topics.disclosures("demo"), 0),
    }
    assert ticked(partition, later + RETRY) == []


def test_what_fails_later_does_not_keep_what_failed_before_from_being_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, (first, second) = disclose.DiscloseStage(SITE, 0, SCHEMAS, Failures()), two_reviews()
    with monkeypatch.context() as failing:
        failing.setattr(disclose, "decide", fails_always)
        assert stage.tell(first) == stage.advance(RETRY // 2) == stage.tell(second) == []
    assert audited(stage.advance(RETRY - 1)) == set()
    assert audited(stage.advance(RETRY)) == {first["alert_id"]}
    assert audited(stage.advance(RETRY // 2 + RETRY - 1)) == set()
    assert audited(stage.advance(RETRY // 2 + RETRY)) == {second["alert_id"]}


def test_what_fails_again_is_tried_once_more_as_long_after_unless_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, (first, second) = disclose.DiscloseStage(SITE, 0, SCHEMAS, Failures()), two_reviews()
    with monkeypatch.context() as failing:
        failing.setattr(disclose, "decide", fails_always)
        assert stage.tell(first) == stage.tell(second) == stage.advance(RETRY) == []
    stage.tell({**second, "state": "WITHDRAWN", "revision": 2})
    assert audited(stage.advance(2 * RETRY - 1)) == set()
    assert audited(stage.advance(2 * RETRY)) == {first["alert_id"]}


def test_from_whom_an_alert_is_withheld_once_that_can_be_decided_is_on_the_audit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    intel = SITE.recipient_by_id["city-pd-intel"].model_copy(update={"kinds": ("housing",)})
    site = SITE.model_copy(update={"recipients": (intel,), "agreements": ()})
    stage, (first, _) = disclose.DiscloseStage(site, 0, SCHEMAS, Failures()), two_reviews()
    with monkeypatch.context() as failing:
        failing.setattr(disclose, "decide", fails_always)
        assert stage.tell(first) == []
    outs = stage.advance(RETRY)
    assert audited(outs) == {first["alert_id"]}
    assert [(said["decision"], said["recipient"]) for said in written(outs)] == [("WITHHELD", intel.id)]


def fails_always(alert: Any, *_: Any) -> Any:
    raise LookupError(alert["headline"])


def two_reviews() -> list[dict[str, Any]]:
    return list(processed(SITE, [*HAPPENED, *REVIEWED], START + 3 * DAY).open_alerts().values())


def audited(outs: Iterable[Out]) -> set[str]:
    """The alerts of which a decision is on the audit."""
    return {said["alert_id"] for said in written(out for out in outs if out.name == "DisclosureDecided")}


def written(outs: Iterable[Out]) -> list[Mapping[str, Any]]:
    return [out.value for out in outs if isinstance(out.value, Mapping)]


def ticked(partition: Partition, time: int) -> list[Out]:
    """What it leads to that it is so late."""
    told = LoggedRecord(999, TICK_KEY, encode("Tick", {"time": time}, SCHEMA_IDS["Tick"]))
    return [out for stage in FOLDING for out in partition.process(stage, told)]


def of_everybody(partition: Partition, bus: InMemoryBus) -> Iterable[Out]:
    for stage in FOLDING:
        for record in bus.input_of(stage, 0):
            for out in partition.process(stage, record):
                if out.topic not in (topics.facility_facts("demo"), topics.person_facts("demo")):
                    yield out
