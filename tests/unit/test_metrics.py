"""Metrics: what Prometheus is told of a site, how often the broker is asked, and what the dashboard makes of it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

import deploy
from consumers.board import REPORTING
from deploy import metrics, topic_report
from deploy.metrics import (
    GROUND_KEPT_S,
    GROUND_WAIT_S,
    KEPT_S,
    OLD_S,
    REPORT_WAIT_S,
    Ground,
    SiteCollector,
    families,
    ground,
)
from deploy.tallies import Standing, Tallies
from deploy.tls import CA_PEM, VALID, ensure_certificates
from deploy.topic_report import DeadLetters, ReportError, StageStands, TopicReport, TopicStands
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site
from tests.county import SITE, demo_site
from tests.free_ports import free_ports
from tests.unit.test_certificates_are_looked_at import served
from tests.working_site import until

REPORT = TopicReport(
    "demo",
    (
        TopicStands("demo.county-jail.booking-reported.v1", 4, 120, True, 3, "30 days"),
        TopicStands("demo.city-pd.contraband-tipped.v1", 4, 5, True, 1, "30 days"),
        TopicStands("demo.city-pd.event-withdrawn.v1", 4, 6, True, 0, "30 days"),
        TopicStands("demo.alerts.raised.v1", 4, 40, False, None, "latest of each key"),
        TopicStands("demo.bus.facility.facts.v1", 4, 70, False, 2, "latest of each key"),
        TopicStands("demo.alerts.county-jail-affairs.contraband.v1", 4, 1, False, None, "latest of each key"),
    ),
    (DeadLetters("city-pd", "NAMES_NOBODY", 1, 0), DeadLetters("city-pd", "NOT_FRAMED", 2, 60_000_000)),
    (
        StageStands("person", 0, "LIVE", 90_000_000, 1, 0, 0, 97_000_000),
        StageStands("facility", 1, "REFOLDING", 0, 7, 4, 9, 98_500_000),
    ),
)
SHIPPED = Path(deploy.__file__).parent / "prometheus"
RULES = (SHIPPED / "sallyport.rules.yml").read_text(encoding="utf-8")
DATA = Path(__file__).parents[1] / "data" / "prometheus"
DASHBOARD = json.loads((Path(deploy.__file__).parent / "grafana" / "sallyport.json").read_text(encoding="utf-8"))
STANDING = Standing({("a_rule", "housing", "HIGH"): 2}, {("city-pd", "feed_silent"): True})
GROUND = Ground({"broker there:9092": 200.0}, 30, 100)


def told(
    report: TopicReport | None, standing: Standing | None = STANDING, ground: Ground | None = GROUND, site: Site = SITE
) -> dict[str, float]:
    """Sample, as it is written, to value."""
    return {
        f"{sample.name}{sample.labels}": sample.value
        for family in families(report, site, 100.0, standing, ground)
        for sample in family.samples
    }


def of_nobody(name: str) -> list[str]:
    """The samples of all stages of the demo site's partitions."""
    return [
        f"{name}{{'site': 'demo', 'stage': '{stage}', 'partition': '{n}'}}"
        for stage, n in product(REPORTING, range(SITE.partitions))
    ]


def test_what_the_report_says_is_told_but_for_what_tips_lead_to() -> None:
    person, facility = "'stage': 'person', 'partition': '0'", "'stage': 'facility', 'partition': '1'"
    letters = "'agency': 'city-pd', 'reason': 'NOT_FRAMED'"
    assert told(REPORT) == {
        "sallyport_up{'site': 'demo'}": 1,
        "sallyport_live_clock{'site': 'demo'}": 1,
        "sallyport_certificate_expiry_timestamp_seconds{'site': 'demo', 'server': 'broker there:9092'}": 200,
        "sallyport_disk_free_bytes{'site': 'demo'}": 30,
        "sallyport_disk_bytes{'site': 'demo'}": 100,
        "sallyport_alerts_known{'site': 'demo'}": 1,
        "sallyport_alerts_open{'site': 'demo', 'rule': 'a_rule', 'kind': 'housing', 'severity': 'HIGH'}": 2,
        "sallyport_feed_failing{'site': 'demo', 'agency': 'city-pd', 'rule': 'feed_silent'}": 1,
        f"sallyport_dead_letter_oldest_timestamp_seconds{{'site': 'demo', {letters}}}": 60,
        f"sallyport_dead_letter_goes_timestamp_seconds{{'site': 'demo', {letters}}}": 60 + 30 * 86_400,
        "sallyport_topic_records{'site': 'demo', 'topic': 'demo.county-jail.booking-reported.v1'}": 120,
        "sallyport_topic_lag{'site': 'demo', 'topic': 'demo.county-jail.booking-reported.v1'}": 3,
        f"sallyport_dead_letters{{'site': 'demo', {letters}}}": 2,
        **dict.fromkeys(of_nobody("sallyport_stage_live"), 0),
        f"sallyport_stage_live{{'site': 'demo', {person}}}": 1,
        f"sallyport_stage_live{{'site': 'demo', {facility}}}": 0,
        f"sallyport_stage_report_age_seconds{{'site': 'demo', {person}}}": 3,
        f"sallyport_stage_report_age_seconds{{'site': 'demo', {facility}}}": 1.5,
        f"sallyport_stage_tick_timestamp_seconds{{'site': 'demo', {person}}}": 90,
    }


@pytest.mark.parametrize(
    ("agency", "publishes", "reason", "is_told"),
    [
        ("city-pd", ("AffiliationReported", "ContrabandTipped"), "UNKNOWN_FACILITY", False),
        ("city-pd", ("AffiliationReported", "ContrabandTipped"), "NO_PERSON", True),
        ("city-pd", ("AffiliationReported", "ContrabandTipped"), "NOBODY_TO_CALL", False),
        ("city-pd", ("BookingReported", "ContrabandTipped"), "UNKNOWN_FACILITY", True),
        ("city-pd", ("ListTaken", "ContrabandTipped"), "UNKNOWN_FACILITY", True),
        ("city-pd", ("ContrabandTipped", "TipOutcome"), "NOT_FRAMED", False),
        # What is refused of care is set aside apart: the rest is of tips.
        ("city-pd", ("ContrabandTipped", "CareObserved"), "NOT_FRAMED", False),
        ("bus", ("ContrabandTipped",), "NOT_FRAMED", True),
    ],
)
def test_what_only_a_tip_of_an_agency_can_be_set_aside_for_is_not_counted(
    agency: str, publishes: tuple[str, ...], reason: str, is_told: bool
) -> None:
    agencies = [
        one.model_copy(update={"publishes": publishes}) if one.id == "city-pd" else one for one in SITE.agencies
    ]
    report = TopicReport("demo", (), (DeadLetters(agency, reason, 1, 0),), ())
    names = told(report, site=demo_site(agencies=tuple(agencies)))
    assert any(name.startswith("sallyport_dead_letter") for name in names) is is_told


def test_what_was_refused_of_care_is_counted_with_the_rest_and_told_by_when_the_first_of_both_goes() -> None:
    day = 86_400
    some = DeadLetters("county-jail", "FUTURE", 3, day * 1_000_000)
    of_care = DeadLetters("county-jail", "FUTURE", 2, 5 * day * 1_000_000, care=True)
    found = told(TopicReport("demo", (), (some, of_care), ()))
    labels = "{'site': 'demo', 'agency': 'county-jail', 'reason': 'FUTURE'}"
    assert {name: value for name, value in found.items() if name.startswith("sallyport_dead_letter")} == {
        f"sallyport_dead_letters{labels}": 5,
        f"sallyport_dead_letter_oldest_timestamp_seconds{labels}": day,
        f"sallyport_dead_letter_goes_timestamp_seconds{labels}": 12 * day,
    }


def test_of_a_bus_that_is_away_that_is_told_and_what_this_machine_sees_itself() -> None:
    assert {name.partition("{")[0]: value for name, value in told(None).items()} == {
        "sallyport_up": 0,
        "sallyport_certificate_expiry_timestamp_seconds": 200,
        "sallyport_disk_free_bytes": 30,
        "sallyport_disk_bytes": 100,
    }


def test_where_nobody_ever_worked_no_stage_is_live() -> None:
    names = told(TopicReport("demo", (), (), ()))
    assert {name: value for name, value in names.items() if "_stage_" in name} == dict.fromkeys(
        of_nobody("sallyport_stage_live"), 0
    )


def test_of_what_was_never_looked_at_nothing_is_told() -> None:
    names = {name.partition("{")[0] for name in told(REPORT, ground=None)}
    assert not names & {"sallyport_disk_free_bytes", "sallyport_disk_bytes"}


def test_where_it_is_not_known_what_is_open_that_is_told_and_no_number() -> None:
    names = {name.partition("{")[0]: value for name, value in told(REPORT, None).items()}
    assert names["sallyport_alerts_known"] == 0
    assert not {"sallyport_alerts_open", "sallyport_feed_failing"} & names.keys()


def test_a_site_of_imported_history_is_told_from_a_live_one() -> None:
    history = SITE.model_copy(update={"clock": "history"})
    assert told(REPORT, site=history)["sallyport_live_clock{'site': 'demo'}"] == 0


def scraped() -> list[Metric]:
    """All that is served, of a site of which there is something of everything."""
    registry = CollectorRegistry()
    Tallies(SITE, registry)
    return [*registry.collect(), *families(REPORT, SITE, 0, STANDING, GROUND)]


def test_no_label_is_about_a_person_an_event_or_an_alert() -> None:
    labels = {label for family in scraped() for sample in family.samples for label in sample.labels}
    assert labels == {
        *("site", "topic", "agency", "reason", "stage", "partition", "server"),
        *("rule", "kind", "severity", "change", "recipient", "decision", "step", "le"),
    }


def test_when_certificates_end_and_how_much_room_there_is_is_looked_at(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ensure_certificates(tmp_path / "tls", ("127.0.0.1",), now)
    with served(tmp_path / "tls") as where:
        port = int(where.rpartition(":")[2])
        (nobody,) = free_ports(1)
        settings = Settings(home=tmp_path, kafka_port=port, registry_port=nobody, ca_file=tmp_path / "tls" / CA_PEM)
        found = ground(settings)
        assert found.certificates == {f"broker {where}": pytest.approx((now + VALID).timestamp(), abs=2)}
        assert 0 < found.free < found.disk
        ensure_certificates(tmp_path / "another", ("127.0.0.1",), now)
        of_another = settings.model_copy(update={"ca_file": tmp_path / "another" / CA_PEM})
        assert ground(of_another).certificates == {f"broker {where}": 0}, "it is good no more"
        open_to_all = settings.model_copy(update={"security_protocol": "PLAINTEXT"})
        assert ground(open_to_all).certificates == {}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_broker_is_not_asked_more_often_than_it_should_be() -> None:
    clock = Clock()
    asked: list[float] = []

    def ask() -> TopicReport:
        asked.append(clock.now)
        return REPORT

    registry = CollectorRegistry()
    looked: list[float] = []

    def look() -> Ground:
        looked.append(clock.now)
        return GROUND

    registry.register(SiteCollector(SITE, ask, lambda: STANDING, look, pytest.fail, clock))
    assert asked == [], "nothing is asked before somebody wants to know"
    for seconds in (KEPT_S, 1.0, KEPT_S - 1.5, 0.5, KEPT_S):
        clock.now += seconds
        assert b'sallyport_up{site="demo"} 1.0' in generate_latest(registry)
    assert asked == [100 + KEPT_S, 100 + 2 * KEPT_S, 100 + 3 * KEPT_S]
    clock.now = looked[0] + GROUND_KEPT_S
    assert b"sallyport_disk_free_bytes" in generate_latest(registry)
    assert looked == [100 + KEPT_S, 100 + KEPT_S + GROUND_KEPT_S]


def test_why_it_is_away_is_said_and_it_is_asked_again() -> None:
    clock = Clock()
    said: list[str] = []
    answers: list[TopicReport | Exception] = [
        REPORT,
        SecretUnreadableError("no password"),
        ReportError("it does not answer"),
    ]

    def ask() -> TopicReport:
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    collector = SiteCollector(SITE, ask, lambda: None, lambda: GROUND, said.append, clock)
    assert is_up(collector) == 0
    clock.now += KEPT_S
    assert is_up(collector) == 0
    assert said == ["it does not answer", "no password"]
    clock.now += KEPT_S
    assert is_up(collector) == 1


# -- a scrape is answered in time ------------------------------------------------------------------------------------

AGE = "sallyport_stage_report_age_seconds{'site': 'demo', 'stage': 'person', 'partition': '0'}"


def sampled(collector: SiteCollector) -> dict[str, float]:
    return {
        f"{sample.name}{sample.labels}": sample.value for family in collector.collect() for sample in family.samples
    }


def is_up(collector: SiteCollector) -> float:
    return sampled(collector)["sallyport_up{'site': 'demo'}"]


def no_address(_: socket.socket) -> int:
    return free_ports(1)[0]


def address_of(silent: socket.socket) -> int:
    """It listens, so that whoever comes is connected; it never says a word."""
    silent.bind(("127.0.0.1", 0))
    silent.listen()
    return int(silent.getsockname()[1])


@pytest.mark.parametrize("where", [no_address, address_of])
def test_a_broker_that_does_not_answer_keeps_no_scrape_waiting_and_is_told_to_be_away(
    where: Callable[[socket.socket], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(topic_report, "REQUEST_SECONDS", 2)
    monkeypatch.setattr(metrics, "REPORT_WAIT_S", 0.2)
    monkeypatch.setattr(metrics, "GROUND_WAIT_S", 0.2)
    said: list[str] = []
    with socket.socket() as listening:
        settings = Settings(home=tmp_path, security_protocol="PLAINTEXT", bootstrap=f"127.0.0.1:{where(listening)}")
        ask = partial(topic_report.topic_report, settings, SITE)
        collector = SiteCollector(SITE, ask, lambda: None, lambda: GROUND, said.append)
        began = time.monotonic()
        assert is_up(collector) == 0
        assert time.monotonic() - began < 1
        until(lambda: said, "the broker was given up", 10)
    assert "does not answer" in said[0]


def test_who_scrapes_as_is_shipped_waits_longer_than_an_answer_takes() -> None:
    shipped = (SHIPPED / "prometheus.yml").read_text(encoding="utf-8")
    (patience,) = re.findall(r"scrape_timeout: (\d+)s", shipped)
    assert int(patience) >= REPORT_WAIT_S + GROUND_WAIT_S + 3


def test_what_a_slow_broker_said_is_told_until_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "REPORT_WAIT_S", 0.05)
    clock, slow = Clock(), threading.Event()
    slow.set()

    def ask() -> TopicReport:
        assert slow.wait(10)
        return REPORT

    collector = SiteCollector(SITE, ask, lambda: STANDING, lambda: GROUND, pytest.fail, clock)
    assert sampled(collector)[AGE] == 3
    slow.clear()
    clock.now += OLD_S
    # What a stage has said since then is not known, so it is not said to be silent.
    assert sampled(collector)[AGE] == 3
    clock.now += 1
    assert is_up(collector) == 0
    slow.set()
    until(lambda: is_up(collector) == 1, "the answer came", 5)


def test_certificates_that_can_not_be_had_keep_no_scrape_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "GROUND_WAIT_S", 0.05)
    slow = threading.Event()

    def look() -> Ground:
        assert slow.wait(10)
        return GROUND

    collector = SiteCollector(SITE, lambda: REPORT, lambda: STANDING, look, pytest.fail, Clock())
    assert not [name for name in sampled(collector) if "disk" in name]
    slow.set()
    until(lambda: [name for name in sampled(collector) if "disk" in name], "it was looked at", 5)


def test_a_defect_fails_the_scrape_and_the_next_one_asks_again() -> None:
    answers: list[TopicReport | Exception] = [REPORT, ZeroDivisionError()]

    def ask() -> TopicReport:
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    collector = SiteCollector(SITE, ask, lambda: None, lambda: GROUND, pytest.fail, Clock())
    with pytest.raises(ZeroDivisionError):
        is_up(collector)
    assert is_up(collector) == 1


# -- the dashboard ---------------------------------------------------------------------------------------------------


def asked_for(shape: str) -> set[str]:
    return set(re.findall(r"\bsallyport_[a-z_]+", shape))


def names() -> set[str]:
    """Of all samples; of histograms and counters as PromQL has them."""
    return {sample.name for family in scraped() for sample in family.samples}


def test_the_dashboard_shows_only_what_there_is_and_nearly_all_of_it() -> None:
    shown = asked_for(json.dumps(DASHBOARD))
    assert shown <= names()
    assert {family.name for family in scraped()} == {
        family.name for family in scraped() if any(name.startswith(family.name) for name in shown)
    }


def test_who_is_to_be_called_is_called_by_what_there_is() -> None:
    assert asked_for(RULES) <= names()
    assert not re.findall(r"\bsallyport_[a-z_]+\{(?!stage|agency)", RULES)


def test_every_metric_is_documented_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    written = set(re.findall(r"^\| `(sallyport_[a-z_]+)`", page, re.MULTILINE))
    totals = {"sallyport_alert_changes": "_total", "sallyport_disclosure_decisions": "_total"}
    assert written == {family.name + totals.get(family.name, "") for family in scraped()}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "check",
    [("check", "config", "prometheus.yml"), ("test", "rules", str(DATA / "rules.test.yml"))],
    ids=lambda check: " ".join(check[:2]),
)
def test_prometheus_itself_takes_what_is_shipped(check: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *check], cwd=SHIPPED, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_finds_no_fault_with_the_metrics() -> None:
    registry = CollectorRegistry()
    Tallies(SITE, registry)
    registry.register(SiteCollector(SITE, lambda: REPORT, lambda: STANDING, lambda: GROUND, pytest.fail))
    told = generate_latest(registry)
    done = subprocess.run(["promtool", "check", "metrics"], input=told, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_a_panel_is_of_one_site_and_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"]
    for target in panel["targets"]:
        assert target["expr"].count('site="$site"') == target["expr"].count("sallyport_")


def kept(shipped: Any, read: Any) -> Any:
    """Of what was read what is shipped: the model may add what it takes for granted."""
    if isinstance(shipped, dict):
        return {name: kept(value, read.get(name)) for name, value in shipped.items()}
    if isinstance(shipped, list):
        return [kept(*pair) for pair in zip(shipped, read, strict=True)]
    return read


def test_grafanas_own_model_of_a_dashboard_reads_all_of_it() -> None:
    plugins.register_default_plugins()
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert kept(DASHBOARD, read) == DASHBOARD
    misspelt = {**DASHBOARD, "refesh": "30s"}
    assert kept(misspelt, json.loads(JSONEncoder().encode(Dashboard.from_json(misspelt)))) != misspelt


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
