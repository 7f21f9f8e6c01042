"""Topics: the only place where a topic's name is spelled.

Every name begins with the site: `<site>.<agency>.<event-type>.v1` inbound, `<site>.bus.*`, `<site>.alerts.*`,
`<site>.audit.*` and `<site>.desk.*` for what the bus writes. A prefix ACL on `<site>.<agency>.` thus keeps an agency
to its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from typing import Final

from schemas.events import CARE_EVENTS, EVENT_TYPES
from schemas.site import Recipient, Site

VERSION: Final = "v1"
DAY_MS: Final = 86_400_000
CARE_KEPT_MS: Final = 7 * DAY_MS
"""How long a health event is kept on its care topic, and, where it was refused, as a dead letter: the shortest."""


BUS: Final = "bus"
"""The bus itself, where topics name an owner: no agency may be called so."""


class Cleanup(StrEnum):
    """How Kafka keeps a topic small (`cleanup.policy`)."""

    DELETE = "delete"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as provisioning makes it."""

    name: str
    partitions: int
    cleanup: Cleanup
    retention_ms: int
    """How long records are kept (DELETE), or tombstones are (COMPACT); -1: for ever."""
    record: str | None
    """Short name of the Avro record it carries; None for bytes as they came (dead letters) and for mixed facts."""
    config: dict[str, str] = field(default_factory=dict)
    """Further Kafka settings."""


@dataclass(frozen=True, slots=True)
class DeadLetterBox:
    """A dead-letter topic, and whose it is."""

    owner: str
    """An agency's id, or `BUS`."""
    care: bool
    """Whether it is the one for what came on that agency's care topics."""
    topic: TopicSpec


@cache
def kebab(event_type: str) -> str:
    """BookingReported -> booking-reported."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", event_type).lower()


_TYPE_OF_KEBAB: Final = {kebab(name): name for name in EVENT_TYPES}


@lru_cache(4_096)
def inbound(site: str, agency: str, event_type: str) -> str:
    """The topic on which an agency publishes one type of event."""
    return f"{site}.{agency}.{kebab(event_type)}.{VERSION}"


def parse_inbound(topic: str) -> tuple[str, str, str]:
    """(site, agency, event type) of an inbound topic. Raises ValueError for any other topic."""
    match topic.split("."):
        case [site, agency, kind, version] if kind in _TYPE_OF_KEBAB and version == VERSION:
            return site, agency, _TYPE_OF_KEBAB[kind]
    raise ValueError(f"{topic} is no inbound topic")


def agency_prefix(site: str, agency: str) -> str:
    """What all inbound topics of an agency begin with."""
    return f"{site}.{agency}."


def dead_letters(site: str, agency: str) -> str:
    """Where records of an agency go that are no events, or not yet. Read by that agency and the bus only.

    Under the name `BUS`: what a stage could make nothing of on the bus's own topics, such as a history site's clock.
    Which of an agency's records go here, and which to its `care_dead_letters`, `set_aside_on` says.
    """
    return f"{site}.bus.dead-letters.{agency}.{VERSION}"


def care_dead_letters(site: str, agency: str) -> str:
    """The same of what came on an agency's care topics. Read by whom the others are, and kept as long as care is."""
    return f"{site}.bus.dead-letters.{agency}.care.{VERSION}"


def set_aside_on(site: str, agency: str, event_type: str) -> str:
    """The dead-letter topic for a refused record that came on an agency's inbound topic for one type of event.

    The topic decides, not the record: bytes that nobody can read may be about health, too.
    """
    return care_dead_letters(site, agency) if event_type in CARE_EVENTS else dead_letters(site, agency)


def settled_letters(site: str, agency: str) -> str:
    """What an agency did about its dead letters: it writes there, as on its inbound topics, and reads it back.

    Under the name `BUS`: what the operator did about those of the bus itself.
    """
    return f"{site}.{agency}.dead-letters-settled.{VERSION}"


def person_facts(site: str) -> str:
    """Facts, keyed and partitioned by person. Compacted; internal."""
    return f"{site}.bus.person.facts.{VERSION}"


def facility_facts(site: str) -> str:
    """What a facility needs of persons in its custody, and what all of them are told. Compacted; internal."""
    return f"{site}.bus.facility.facts.{VERSION}"


def region_facts(site: str) -> str:
    """What matters to the whole region, in one partition. Compacted; internal."""
    return f"{site}.bus.region.facts.{VERSION}"


def clock(site: str) -> str:
    """Ticks of a history site, as the importer writes them; the worker copies each to every partition of the facts.

    Only partition 0 is written. Its owner also is a live site's one clock.
    """
    return f"{site}.bus.clock.{VERSION}"


def stage_reports(site: str) -> str:
    """How the stages are doing. Compacted; every recipient may read it."""
    return f"{site}.bus.stage-reports.{VERSION}"


def alerts_raised(site: str) -> str:
    """Alerts, whole. Compacted by alert id; internal."""
    return f"{site}.alerts.raised.{VERSION}"


def alerts_for(site: str, recipient: str, kind: str) -> str:
    """Alerts of one kind as one recipient may see them. Compacted by alert id."""
    return f"{site}.alerts.{recipient}.{kind}.{VERSION}"


def disclosures(site: str) -> str:
    """Every decision on disclosure. Never compacted, never deleted by the bus."""
    return f"{site}.audit.disclosures.{VERSION}"


def desk_actions(site: str, recipient: str) -> str:
    """What a recipient's users did at the desk."""
    return f"{site}.desk.actions.{recipient}.{VERSION}"


def consumer_group(site: str) -> str:
    """The consumer group of a site's workers."""
    return f"{site}.bus"


def inbound_topics(site: Site) -> list[TopicSpec]:
    """The inbound topics of a site."""
    return [
        TopicSpec(
            inbound(site.name, agency.id, event_type),
            site.partitions,
            Cleanup.DELETE,
            # Identify has copied each event to the facts; health events are kept here the shortest.
            CARE_KEPT_MS if event_type in CARE_EVENTS else 30 * DAY_MS,
            event_type,
        )
        for agency in site.agencies
        for event_type in agency.event_types
    ]


def dead_letter_boxes(site: Site, owner: str) -> list[DeadLetterBox]:
    """The dead-letter topics of an agency, by its id, or of the bus itself (`BUS`): all that `set_aside_on` names."""
    published = () if owner == BUS else site.agency_by_id[owner].event_types
    return [
        _box(site.name, owner, care=False),
        *([_box(site.name, owner, care=True)] if CARE_EVENTS.intersection(published) else []),
    ]


def _box(site: str, owner: str, *, care: bool) -> DeadLetterBox:
    name = care_dead_letters(site, owner) if care else dead_letters(site, owner)
    return DeadLetterBox(owner, care, TopicSpec(name, 1, Cleanup.DELETE, dead_letters_kept_ms(care=care), None))


def dead_letters_kept_ms(*, care: bool) -> int:
    """How long a dead letter is there to be mended; `care`: of what came on a care topic. It goes then, mended or not:
    it holds personal data."""
    return CARE_KEPT_MS if care else 30 * DAY_MS


def settled_letter_topics(site: Site) -> list[TopicSpec]:
    """What became of the dead letters of each agency, and of the bus itself: kept longer than the letters are."""
    return [
        TopicSpec(settled_letters(site.name, owner), 1, Cleanup.DELETE, 60 * DAY_MS, None)
        for owner in (*site.agency_by_id, BUS)
    ]


def _compacted(name: str, partitions: int, record: str | None) -> TopicSpec:
    return TopicSpec(name, partitions, Cleanup.COMPACT, DAY_MS, record)


def internal_topics(site: Site) -> list[TopicSpec]:
    """The bus's own topics."""
    return [
        _compacted(person_facts(site.name), site.partitions, None),
        _compacted(facility_facts(site.name), site.partitions, None),
        _compacted(region_facts(site.name), 1, None),
        TopicSpec(clock(site.name), site.partitions, Cleanup.DELETE, 7 * DAY_MS, "Tick"),
        _compacted(stage_reports(site.name), 1, "StageReported"),
        _compacted(alerts_raised(site.name), site.partitions, "AlertRaised"),
        TopicSpec(disclosures(site.name), site.partitions, Cleanup.DELETE, -1, "DisclosureDecided"),
    ]


def recipient_topics(site: Site, recipient: Recipient) -> list[TopicSpec]:
    """What one recipient reads and writes."""
    return [
        *(
            _compacted(alerts_for(site.name, recipient.id, kind), site.partitions, "AlertDisclosed")
            for kind in recipient.kinds
        ),
        TopicSpec(desk_actions(site.name, recipient.id), 1, Cleanup.DELETE, -1, "DeskActionTaken"),
    ]


def all_topics(site: Site) -> list[TopicSpec]:
    """Every topic of a site."""
    return [
        *inbound_topics(site),
        *(box.topic for owner in (*site.agency_by_id, BUS) for box in dead_letter_boxes(site, owner)),
        *settled_letter_topics(site),
        *internal_topics(site),
        *(topic for recipient in site.recipients for topic in recipient_topics(site, recipient)),
    ]
