"""A site's metrics, as Prometheus reads them: what `sallyport topics` tells, and how old it is; what is open; what it
all stands on. What is counted, and how long things take, is in `deploy/tallies.py`.

Prometheus takes an answer that comes too late for none at all, and then nobody is told that the bus is away. So what
asks the broker is done in the background, and a scrape is answered in time by what is known.

No label holds anything of a person. A dashboard hangs where many pass by, so nothing is counted from which one could
tell that there is a tip on staff: not tips, nor what may follow from them, which is all but what else agencies publish.
"""

from __future__ import annotations

import ssl
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consumers.board import REPORTING
from deploy.examination import certificate_end, certificates, disk
from deploy.question import Question
from deploy.tallies import Standing
from deploy.topic_report import DeadLetters, ReportError, StageStands, TopicReport, TopicStands
from schemas import topics
from schemas.events import CARE_EVENTS, EVENT_TYPES, TIP_EVENTS, CustodyEvent, ListTaken
from schemas.settings import SecretUnreadableError, Settings
from schemas.site import Site
from streams.identify import Refusal

KEPT_S: Final = 5.0
"""Seconds for which what was asked is told again: who scrapes often must not load the broker."""
GROUND_KEPT_S: Final = 60.0
"""Seconds for which certificates and disk are told again."""
REPORT_WAIT_S: Final = 6.0
"""Seconds that a scrape waits for the broker; then it tells what was known before."""
GROUND_WAIT_S: Final = 1.0
"""Seconds that a scrape waits for certificates and disk. Both together must be well within `scrape_timeout`."""
OLD_S: Final = 60.0
"""Seconds after which what was known is told no more: the bus is away."""
OF_TIPS: Final = frozenset({Refusal.NAMES_NOBODY.value, Refusal.NOBODY_TO_CALL.value, Refusal.TOO_MANY_WORDS.value})
"""Why only tips are set aside, whoever gives them."""
LIVE: Final = "LIVE"
MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Ground:
    """What the bus stands on, as this machine sees it."""

    certificates: Mapping[str, float]
    """By who shows it: when a certificate ends, seconds since 1970; 0 for one that is good no more."""
    free: int
    disk: int
    """Bytes that are free where the bus keeps its state, and bytes there are."""


def ground(settings: Settings) -> Ground:
    """Look at certificates and disk."""
    ends = dict[str, float]()
    for whose, where in certificates(settings) if settings.security_protocol.endswith("SSL") else ():
        try:
            ends[f"{whose.removeprefix('the ')} {where}"] = certificate_end(settings, where).timestamp()
        except ssl.SSLCertVerificationError:
            ends[f"{whose.removeprefix('the ')} {where}"] = 0.0
        except (OSError, SecretUnreadableError):
            continue  # it can't be asked: that it is away is told by others
    return Ground(ends, *disk(settings)[1:])


def families(
    report: TopicReport | None, described: Site, at: float, standing: Standing | None, ground: Ground | None
) -> Iterator[Metric]:
    """The metrics of a site; `report` is None where it could not be had, `standing` and `ground` where not known.

    `at`: when the report came, seconds since 1970.
    """
    site = described.name
    yield _gauge(
        "up",
        "Whether the site's topics could be asked: 1, or 0; then only of certificates and disk is anything said.",
        [],
        [((), report is not None)],
        site,
    )
    if ground is not None:
        yield from _ground(ground, site)
    if report is None:
        return
    yield from _topics(report.topics, site)
    yield from _dead_letters(report.dead_letters, described)
    yield _gauge(
        "live_clock",
        "Whether the site's time is that of the clock on the wall: 1; 0 on a history site, whose importer tells it.",
        [],
        [((), described.clock == "live")],
        site,
    )
    yield from _stages(report.stages, at, described)
    yield from _standing(standing, site)


def _ground(ground: Ground, site: str) -> Iterator[Metric]:
    yield _gauge(
        "certificate_expiry_timestamp_seconds",
        "When the certificate ends that a server shows, or, if that is sooner, a CA by which it is trusted, seconds "
        "since 1970; 0: it is good no more.",
        ["server"],
        [((server,), ends) for server, ends in ground.certificates.items()],
        site,
    )
    yield _gauge("disk_free_bytes", "Room that is left where the bus keeps its state.", [], [((), ground.free)], site)
    yield _gauge("disk_bytes", "Room that there is where the bus keeps its state.", [], [((), ground.disk)], site)


def _topics(all_of_them: Sequence[TopicStands], site: str) -> Iterator[Metric]:
    shown = _telling_of_no_tip(all_of_them)
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


def _dead_letters(counted: Sequence[DeadLetters], described: Site) -> Iterator[Metric]:
    site, labels = described.name, ["agency", "reason"]
    together: defaultdict[tuple[str, str], list[DeadLetters]] = defaultdict(list)
    for one in counted:
        if not _can_only_be_tips(one, described):
            together[one.agency, one.reason].append(one)
    yield _gauge(
        "dead_letters",
        "Events that were set aside, are still kept, and of which nobody said what became of them.",
        labels,
        [(of, sum(one.count for one in some)) for of, some in together.items()],
        site,
    )
    yield _gauge(
        "dead_letter_oldest_timestamp_seconds",
        "When the first of them was set aside, seconds since 1970.",
        labels,
        [(of, min(one.oldest for one in some) / MICROS) for of, some in together.items()],
        site,
    )
    yield _gauge(
        "dead_letter_goes_timestamp_seconds",
        "When the first of them is deleted, seconds since 1970: after 30 days, or 7 where it came on a care topic.",
        labels,
        [(of, min(one.goes for one in some) / MICROS) for of, some in together.items()],
        site,
    )


def _can_only_be_tips(letters: DeadLetters, site: Site) -> bool:
    """Whether that agency has nothing but tips that could be set aside so: to count it would be to count tips."""
    agency = site.agency_by_id.get(letters.agency)
    if letters.care:
        return False
    if letters.reason in OF_TIPS or agency is None:
        return letters.reason in OF_TIPS
    others = [EVENT_TYPES[name] for name in agency.publishes if name not in TIP_EVENTS | CARE_EVENTS]
    if letters.reason == Refusal.UNKNOWN_FACILITY:
        return not any(issubclass(one, (CustodyEvent, ListTaken)) for one in others)
    return not others


def _stages(reported: Sequence[StageStands], at: float, described: Site) -> Iterator[Metric]:
    site, place = described.name, ["stage", "partition"]
    stages = {(stage.stage, str(stage.partition)): stage for stage in reported}
    # Of what nobody ever worked on there is no report, and yet it must not look as if it were well.
    wanted = dict.fromkeys(((stage, str(n)) for stage in REPORTING for n in range(described.partitions)), False)
    live = wanted | {where: one.state == LIVE for where, one in stages.items()}
    yield _gauge(
        "stage_live",
        "Whether a stage of a partition is live; 0, too, where none ever said how it is.",
        place,
        live.items(),
        site,
    )
    yield _gauge(
        "stage_report_age_seconds",
        "How long ago a stage last said how it is, when the bus was asked.",
        place,
        [(where, max(0.0, at - one.at / MICROS)) for where, one in stages.items()],
        site,
    )
    yield _gauge(
        "stage_tick_timestamp_seconds",
        "The time on the log that a stage has come to, seconds since 1970; on a history site, the history's.",
        place,
        [(where, one.tick / MICROS) for where, one in stages.items() if one.tick],
        site,
    )


def _standing(standing: Standing | None, site: str) -> Iterator[Metric]:
    yield _gauge(
        "alerts_known",
        "Whether it is known which alerts are open: 1, or 0; then of none anything is said.",
        [],
        [((), standing is not None)],
        site,
    )
    if standing is None:
        return
    yield _gauge("alerts_open", "Alerts that are open.", ["rule", "kind", "severity"], standing.alerts.items(), site)
    yield _gauge(
        "feed_failing",
        "Whether what an agency usually sends has stopped, or stands still, as the alert of that rule says: 1, or 0.",
        ["agency", "rule"],
        standing.feeds.items(),
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
    name: str, what: str, labels: list[str], samples: Iterable[tuple[tuple[str, ...], float]], site: str
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"sallyport_{name}", what, labels=["site", *labels])
    for values, value in samples:
        family.add_metric([site, *values], float(value))
    return family


class SiteCollector(Collector):
    """Asks when it is scraped, and not more often than every few seconds; tells what is known where no answer comes."""

    def __init__(
        self,
        site: Site,
        ask: Callable[[], TopicReport],
        standing: Callable[[], Standing | None],
        look: Callable[[], Ground],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._site = site
        self._ask = ask
        self._standing = standing
        self._say = say
        self._clock = clock
        self._report = Question(self._asked, KEPT_S, clock)
        self._ground = Question(look, GROUND_KEPT_S, clock)

    def describe(self) -> Iterator[Metric]:
        """Nothing: whoever registers it does not wait for the broker."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics, for one scrape, after a few seconds at most."""
        report, ground = self._report.answer(REPORT_WAIT_S), self._ground.answer(GROUND_WAIT_S)
        now = self._clock()
        known, at = (None, now) if report is None or now - report.at > OLD_S else (report.what, report.at)
        yield from families(known, self._site, at, self._standing(), None if ground is None else ground.what)

    def _asked(self) -> TopicReport | None:
        try:
            return self._ask()
        except (ReportError, SecretUnreadableError) as error:
            self._say(str(error))
            return None
