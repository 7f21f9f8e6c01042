"""A site's metrics, as Prometheus reads them: what `sallyport topics` tells, and how old it is.

No label holds anything of a person. A dashboard hangs where many pass by, so nothing is counted from which one could
tell that there is a tip on staff: not tips, nor what may follow from them, which is all but what else agencies publish.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deploy.topic_report import ReportError, TopicReport, TopicStands
from schemas import topics
from schemas.events import TIP_EVENTS
from schemas.settings import SecretUnreadableError
from streams.identify import Refusal

KEPT_S: Final = 5.0
"""Seconds for which what was asked is told again: who scrapes often must not load the broker."""
OF_TIPS: Final = frozenset({Refusal.NAMES_NOBODY.value})
"""Why only tips are set aside."""
LIVE: Final = "LIVE"
MICROS: Final = 1_000_000


def families(report: TopicReport | None, site: str, now: float) -> Iterator[Metric]:
    """The metrics of a site; `report` is None where it could not be had. `now`: seconds since 1970."""
    yield _gauge(
        "up",
        "Whether the site's topics could be asked: 1, or 0; then there is nothing else.",
        [],
        [((), report is not None)],
        site,
    )
    if report is None:
        return
    shown = _telling_of_no_tip(report.topics)
    yield _gauge(
        "topic_records",
        "Records that an agency's topic keeps.",
        ["topic"],
        [((topic.name,), topic.records) for topic in shown],
        site,
    )
    yield _gauge(
        "topic_lag",
        "Records of a topic that the workers have not processed; 0 is exact.",
        ["topic"],
        [((topic.name,), topic.lag) for topic in shown if topic.lag is not None],
        site,
    )
    yield _gauge(
        "dead_letters",
        "Events that were set aside, are still kept, and of which nobody said what became of them.",
        ["agency", "reason"],
        [((one.agency, one.reason), one.count) for one in report.dead_letters if one.reason not in OF_TIPS],
        site,
    )
    place = ["stage", "partition"]
    stages = [((stage.stage, str(stage.partition)), stage) for stage in report.stages]
    yield _gauge(
        "stage_live",
        "Whether a stage of a partition is live.",
        place,
        [(at, one.state == LIVE) for at, one in stages],
        site,
    )
    yield _gauge(
        "stage_report_age_seconds",
        "How long ago a stage last said how it is.",
        place,
        [(at, max(0.0, now - one.at / MICROS)) for at, one in stages],
        site,
    )
    yield _gauge(
        "stage_tick_timestamp_seconds",
        "The time on the log that a stage has come to, seconds since 1970; on a history site, the history's.",
        place,
        [(at, one.tick / MICROS) for at, one in stages if one.tick],
        site,
    )


def _telling_of_no_tip(all_of_them: Sequence[TopicStands]) -> list[TopicStands]:
    """The topics of agencies, but for those of tips, and on which who gives tips takes them back."""
    inbound = {topic.name: parsed for topic in all_of_them if (parsed := _parsed(topic.name)) is not None}
    tippers = {agency for agency, event_type in inbound.values() if event_type in TIP_EVENTS}
    hidden = {(agency, event_type) for agency in tippers for event_type in (*TIP_EVENTS, "EventWithdrawn")}
    return [topic for topic in all_of_them if topic.name in inbound and inbound[topic.name] not in hidden]


def _parsed(topic: str) -> tuple[str, str] | None:
    """(agency, event type) of an inbound topic."""
    try:
        return topics.parse_inbound(topic)[1:]
    except ValueError:
        return None


def _gauge(
    name: str, what: str, labels: list[str], samples: list[tuple[tuple[str, ...], float]], site: str
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"sallyport_{name}", what, labels=["site", *labels])
    for values, value in samples:
        family.add_metric([site, *values], float(value))
    return family


class SiteCollector(Collector):
    """Asks when it is scraped, and not more often than every few seconds."""

    def __init__(
        self,
        site: str,
        ask: Callable[[], TopicReport],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._site = site
        self._ask = ask
        self._say = say
        self._clock = clock
        self._asking = threading.Lock()
        self._asked = float("-inf")
        self._report: TopicReport | None = None

    def collect(self) -> Iterator[Metric]:
        """The metrics, for one scrape."""
        with self._asking:
            if self._clock() - self._asked >= KEPT_S:
                try:
                    self._report = self._ask()
                except (ReportError, SecretUnreadableError) as error:
                    self._report = None
                    self._say(str(error))
                self._asked = self._clock()
            report = self._report
        yield from families(report, self._site, self._clock())
