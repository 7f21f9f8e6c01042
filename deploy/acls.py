"""Who may do what on the broker: every user of a site, and the least it needs. Pure.

Nobody may do what is not listed here; `docs/decisions/0020-least-privilege.md` says why each line is there,
and `tests/integration/test_least_privilege.py` proves it on a real broker. The right to read or write a topic
or group includes the right to describe it (Kafka, "Authorization and ACLs"), so DESCRIBE stands only where it
is all there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final

from deploy.kafka_config import ADMIN
from schemas import topics
from schemas.site import Agency, Recipient, Site

BUS: Final = topics.BUS
"""The workers of a site."""
CLOCK: Final = "clock"
"""The importer of a history site, as the one who puts time on its log."""
CLUSTER: Final = "BROKER"
"""The cluster as a whole, as Kafka's client names it in an ACL."""
ADMINISTERS: Final = frozenset({"ALL", "ALTER", "ALTER_CONFIGS", "CLUSTER_ACTION"})
"""Operations on the cluster that lead to all that is on it: whoever has one changes rights and users, or the broker's
settings, or is taken for a broker, which reads everything. To see or to make topics leads to no record."""
TOLD: Final = 3
"""Rights of one stranger that are told; the rest is counted."""


class Resource(StrEnum):
    """What our ACLs are about, as Kafka names it."""

    TOPIC = "TOPIC"
    GROUP = "GROUP"
    TRANSACTIONAL_ID = "TRANSACTIONAL_ID"


class Pattern(StrEnum):
    """How an ACL's name is matched, as Kafka names it."""

    LITERAL = "LITERAL"
    PREFIXED = "PREFIXED"


class Operation(StrEnum):
    """What our ACLs allow, as Kafka names it."""

    READ = "READ"
    WRITE = "WRITE"
    DESCRIBE = "DESCRIBE"


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One thing that one user may do (or may not, where somebody else set it so). Names as Kafka has them."""

    user: str
    operation: str
    resource: str
    pattern: str
    name: str
    host: str = "*"
    permission: str = "ALLOW"

    def __str__(self) -> str:
        return f"{self.who} {'may' if self.permission == 'ALLOW' else 'may not'} {self.what}"

    @property
    def who(self) -> str:
        """Whose it is, for people."""
        return "everybody" if self.user == "*" else self.user

    @property
    def what(self) -> str:
        """What it is about, for people."""
        kind = "cluster" if self.resource == CLUSTER else self.resource.lower().replace("_", " ")
        does = "do all with" if self.operation == "ALL" else self.operation.lower().replace("_", " ")
        return (
            f"{does} {kind} {self.name}{'*' if self.pattern == Pattern.PREFIXED else ''}"
            f"{'' if self.host == '*' else f' from {self.host}'}"
        )


def _topic(user: str, operation: Operation, name: str, pattern: Pattern = Pattern.LITERAL) -> Acl:
    return Acl(user, operation, Resource.TOPIC, pattern, name)


def _own_group(user: str) -> Acl:
    """The consumer group that has the user's own name: most clients can't read without naming a group."""
    return Acl(user, Operation.READ, Resource.GROUP, Pattern.LITERAL, user)


def acls_of_agency(site: Site, agency: Agency) -> frozenset[Acl]:
    """An agency writes its own topics, and reads back what of it was refused and what it did about that; nothing else.

    It may not read its own inbound topics: its systems have the originals, and whoever steals the account
    should not get a month of them.
    """
    user = site.user(agency.id)
    return frozenset(
        {
            _topic(user, Operation.WRITE, topics.agency_prefix(site.name, agency.id), Pattern.PREFIXED),
            *(_topic(user, Operation.READ, box.topic.name) for box in topics.dead_letter_boxes(site, agency.id)),
            _topic(user, Operation.READ, topics.settled_letters(site.name, agency.id)),
            _own_group(user),
        }
    )


def acls_of_recipient(site: Site, recipient: Recipient) -> frozenset[Acl]:
    """A recipient reads its own alerts and how the stages are doing; its desk's actions it reads and writes."""
    user = site.user(recipient.id)
    desk = topics.desk_actions(site.name, recipient.id)
    return frozenset(
        {
            *(
                _topic(user, Operation.READ, topics.alerts_for(site.name, recipient.id, kind))
                for kind in recipient.kinds
            ),
            _topic(user, Operation.READ, topics.stage_reports(site.name)),
            _topic(user, Operation.READ, desk),
            _topic(user, Operation.WRITE, desk),
            _own_group(user),
        }
    )


def acls_of_bus(site: Site) -> frozenset[Acl]:
    """The workers read the whole site and write what is the bus's own, never in an agency's or a desk's name."""
    user = site.user(BUS)
    whole_site = f"{site.name}."
    return frozenset(
        {
            _topic(user, Operation.READ, whole_site, Pattern.PREFIXED),
            *(
                _topic(user, Operation.WRITE, f"{site.name}.{part}.", Pattern.PREFIXED)
                for part in ("bus", "alerts", "audit")
            ),
            Acl(user, Operation.READ, Resource.GROUP, Pattern.PREFIXED, whole_site),
            Acl(user, Operation.WRITE, Resource.TRANSACTIONAL_ID, Pattern.PREFIXED, whole_site),
        }
    )


def acls_of_clock(site: Site) -> frozenset[Acl]:
    """The clock of a history site writes ticks and sees how far the workers are; it reads no event."""
    user = site.user(CLOCK)
    return frozenset(
        {
            _topic(user, Operation.WRITE, topics.clock(site.name)),
            *(
                _topic(
                    user,
                    Operation.DESCRIBE,
                    topics.agency_prefix(site.name, agency.id),
                    Pattern.PREFIXED,
                )
                for agency in site.agencies
            ),
            Acl(user, Operation.DESCRIBE, Resource.GROUP, Pattern.LITERAL, topics.consumer_group(site.name)),
        }
    )


def users(site: Site) -> tuple[str, ...]:
    """Every Kafka user of a site."""
    return (
        site.user(BUS),
        *((site.user(CLOCK),) if site.clock == "history" else ()),
        *(site.user(agency.id) for agency in site.agencies),
        *(site.user(recipient.id) for recipient in site.recipients),
    )


def acls(site: Site) -> frozenset[Acl]:
    """Everything that a site's users are allowed."""
    return frozenset().union(
        acls_of_bus(site),
        acls_of_clock(site) if site.clock == "history" else frozenset(),
        *(acls_of_agency(site, agency) for agency in site.agencies),
        *(acls_of_recipient(site, recipient) for recipient in site.recipients),
    )


def of_strangers(site: str, rights: Iterable[Acl]) -> tuple[Acl, ...]:
    """Which rights, of all there are, let somebody at what is a site's who is no user of it and does not provision."""
    return tuple(
        sorted(
            right
            for right in rights
            if right.permission == "ALLOW"
            and right.user != ADMIN
            and not right.user.startswith(f"{site}.")
            and _reaches(right, site)
        )
    )


def _reaches(right: Acl, site: str) -> bool:
    """Whether a right is about something of a site's, or about all that is on the broker."""
    if right.resource == CLUSTER:
        return right.operation in ADMINISTERS
    if right.resource not in set(Resource):
        return False
    ours = f"{site}."
    if right.pattern == Pattern.PREFIXED:
        return ours.startswith(right.name) or right.name.startswith(ours)
    return right.name == "*" or right.name.startswith(ours)


def strangers_told(rights: Iterable[Acl]) -> list[str]:
    """A line for each stranger: who it is, and what it may."""
    lines = []
    for who, its in groupby(sorted(rights), key=lambda right: right.who):
        may = [right.what for right in its]
        more = f" and {len(may) - TOLD} more" if len(may) > TOLD else ""
        lines.append(f"{who} may {', '.join(may[:TOLD])}{more}, and is no user of the site")
    return lines
