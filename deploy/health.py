"""Health: what is found of a bus, part by part, and what to do about it. Pure: what was observed in, findings out.

Grades and exit codes are those of the Monitoring Plugins' guidelines (OK 0, WARNING 1, CRITICAL 2, UNKNOWN 3), so that
any monitoring understands them. No finding says anything of a person, or quotes a record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from consumers.board import FOLDING, MUCH_LAG, PATIENCE, REPORTING
from deploy.acls import Acl, strangers_told
from deploy.changes import Did, Step, What
from deploy.nobody_told import Untold
from deploy.tls import RENEW_BEFORE
from deploy.topic_report import DeadLetters, StageStands, TopicStands
from schemas.site import Site
from schemas.topics import BUS
from streams.identify import FUTURE_TOLERANCE
from streams.standby import STANDBY


class Part(StrEnum):
    """What is examined, the ground first."""

    BROKER = "broker"
    TOPICS = "topics"
    USERS = "users"
    RIGHTS = "rights"
    REGISTRY = "registry"
    SCHEMAS = "schemas"
    RECIPIENTS = "recipients"
    CERTIFICATES = "certificates"
    SECRETS = "secrets"
    CLOCK = "clock"
    WORKERS = "workers"
    LAG = "lag"
    DEAD_LETTERS = "dead letters"
    SPOOLS = "spools"
    DISK = "disk"


class Grade(StrEnum):
    """How a part is. In order, the worst last."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    """It can't be examined from here."""
    WARNING = "WARNING"
    """It works, and somebody should look at it soon."""
    CRITICAL = "CRITICAL"
    """Something does not work, or will not for long."""


EXIT_CODES: Final = {Grade.OK: 0, Grade.WARNING: 1, Grade.CRITICAL: 2, Grade.UNKNOWN: 3}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is found of one part."""

    part: Part
    grade: Grade
    says: str
    do: str = ""
    """What helps; empty where nothing is to be done."""


def worst(findings: Iterable[Finding]) -> Grade:
    """The worst grade among them; UNKNOWN for none."""
    order = list(Grade)
    return max((finding.grade for finding in findings), key=order.index, default=Grade.UNKNOWN)


def look_failed(part: Part, error: Exception) -> Finding:
    """Looking at a part ran into something that nobody thought of. Its words are not told: they may hold anything."""
    return Finding(
        part,
        Grade.UNKNOWN,
        f"looking at it failed ({type(error).__name__})",
        "look at the addresses and paths in the SALLYPORT_ settings; where they are right, report it with that kind",
    )


# -- the ground ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Copies:
    """How the copies of a site's partitions stand on the brokers."""

    brokers: int
    leaderless: int
    """Partitions that nobody can read or write."""
    short: int
    """Partitions of which a copy is missing or behind."""


def broker_found(copies: Copies, site: str) -> Finding:
    """The broker answers: are all partitions there?"""
    if copies.leaderless:
        return Finding(
            Part.BROKER,
            Grade.CRITICAL,
            f"{copies.leaderless} partitions of {site} have no leader: nobody can read or write them",
            "start the brokers that are down",
        )
    if copies.short:
        return Finding(
            Part.BROKER,
            Grade.WARNING,
            f"{copies.short} partitions of {site} have fewer copies than they should",
            "start the brokers that are down, or look at their disks",
        )
    return Finding(Part.BROKER, Grade.OK, f"{copies.brokers} answering, every partition of {site} is there")


_PARTS: Final = {What.TOPIC: Part.TOPICS, What.USER: Part.USERS, What.ACL: Part.RIGHTS, What.SCHEMA: Part.SCHEMAS}
_DIFFERS: Final = {Did.MADE: "missing", Did.CHANGED: "different", Did.REMOVED: "too many"}


def provisioned_found(what: What, steps: Iterable[Step], site: str) -> Finding:
    """Whether all of one sort is as the site's files say. `steps` are what provisioning would do."""
    did = Counter(step.did for step in steps if step.what is what)
    differing = [f"{did[one]} {word}" for one, word in _DIFFERS.items() if did[one]]
    if not differing:
        return Finding(_PARTS[what], Grade.OK, f"{did[Did.KEPT]} as the site's files say")
    # A right too many lets somebody read what no agreement grants.
    return Finding(
        _PARTS[what],
        Grade.CRITICAL,
        f"not as the site's files say: {', '.join(differing)}",
        f"look: sallyport provision --site {site} --check; mend: sallyport provision --site {site}",
    )


def strangers_found(rights: Iterable[Acl]) -> list[Finding]:
    """What others than the site's users may do with what is the site's. Provisioning leaves it: it may be meant so."""
    do = "take away what it does not need (kafka-acls.sh --remove): provisioning leaves it alone"
    return [Finding(Part.RIGHTS, Grade.WARNING, line, do) for line in strangers_told(rights)]


def recipients_found(nobody_told: Sequence[Untold]) -> list[Finding]:
    """Whether each alert that can come has somebody to be told of it, and each of those learns when it is blind."""
    if not nobody_told:
        return [Finding(Part.RECIPIENTS, Grade.OK, "each alert that can come has one")]
    then = "in the site's files; then sallyport provision, and start the workers anew"
    return [Finding(Part.RECIPIENTS, Grade.WARNING, one.says, f"{one.do}; {then}") for one in nobody_told]


# -- certificates, secrets, clock ------------------------------------------------------------------------------------

SOON: Final = timedelta(days=30)
"""A certificate that ends within this time is to be renewed."""
NOW: Final = timedelta(days=7)
"""One that ends within this time is urgent."""


def certificate_found(whose: str, ends: datetime, now: datetime, *, embedded: bool) -> Finding:
    """How long a certificate is good for. The embedded bus renews its own at a start, when 60 days are left."""
    soon = RENEW_BEFORE if embedded else SOON
    return _ends_found(f"that of {whose}", ends, now, soon, _renew(embedded=embedded))


def ca_found(whose: str, ends: datetime, now: datetime, *, embedded: bool) -> Finding:
    """How long a CA is good for that ends before the certificate which it vouches for. No start renews it, and every
    machine needs the new one: that takes its time."""
    do = "renew the CA where broker and registry run, and put the new one beside the old into ca.pem on every machine"
    if embedded:
        do = "stop `sallyport up`, remove ca.pem and ca.key of SALLYPORT_HOME/tls, start it; others need the new ca.pem"
    return _ends_found(f"the CA of {whose}", ends, now, RENEW_BEFORE, do)


def _ends_found(what: str, ends: datetime, now: datetime, soon: timedelta, do: str) -> Finding:
    left = ends - now
    says = f"{what} ends in {max(0, left // timedelta(days=1))} days, on {ends:%Y-%m-%d}"
    if left > soon:
        return Finding(Part.CERTIFICATES, Grade.OK, says)
    return Finding(Part.CERTIFICATES, Grade.CRITICAL if left <= NOW else Grade.WARNING, says, do)


def certificate_ended(whose: str, *, embedded: bool) -> Finding:
    """A certificate, or that of its CA, is good no more: nobody gets a connection."""
    says = f"that of {whose} has ended, or that of its CA: nobody gets a connection"
    return Finding(Part.CERTIFICATES, Grade.CRITICAL, says, _renew(embedded=embedded))


def _renew(*, embedded: bool) -> str:
    if embedded:
        return "stop `sallyport up` and start it again: it renews it"
    return "renew it where broker and registry run"


AS_ITS_OWNER: Final = "look as the user whose it is: sudo -u that user sallyport doctor"
"""What to do where something on this machine is closed to whoever looks, as it should be."""


def secrets_unseen(why: str) -> Finding:
    """The password files can't be looked at, so nothing is said of them."""
    return Finding(Part.SECRETS, Grade.UNKNOWN, f"whether others can read them can't be seen: {why}", AS_ITS_OWNER)


def secrets_found(directory: str, readable_by_others: Sequence[str], count: int) -> Finding:
    """Whether password files are their owner's alone."""
    if not readable_by_others:
        return Finding(Part.SECRETS, Grade.OK, f"{count} password files, each its owner's alone")
    names = ", ".join(readable_by_others)
    return Finding(
        Part.SECRETS,
        Grade.CRITICAL,
        f"open to other users of this machine: {names}",
        f"chmod 600 those files in {directory}, and let provisioning make new passwords: remove them first",
    )


SKEW: Final = timedelta(seconds=5)
"""Clocks that differ by more are to be set: order of events, and what counts as overdue, depend on them."""


def clock_found(ahead: timedelta) -> Finding:
    """How far this machine's clock is ahead of the registry's; behind where it is negative."""
    differs = abs(ahead)
    if differs <= SKEW:
        return Finding(Part.CLOCK, Grade.OK, f"this machine's and the registry's agree within {SKEW.seconds} s")
    return _clock_to_set(differs, f"s {'ahead of' if ahead > timedelta() else 'behind'} the registry's")


def broker_clock_found(newest: int, now: int) -> Finding | None:
    """A record that the broker took (`newest`) later than it is here (`now`) shows that this machine's clock is behind.

    Both in microseconds. That it is ahead no record can show: nobody need have written one since.
    """
    behind = timedelta(microseconds=newest - now)
    return _clock_to_set(behind, "s or more behind the broker's") if behind > SKEW else None


def _clock_to_set(differs: timedelta, how: str) -> Finding:
    says = f"this machine's is {differs.total_seconds():.0f} {how}"
    do = "let both machines take their time from the network (chrony, ntpd, systemd-timesyncd)"
    if differs >= timedelta(microseconds=FUTURE_TOLERANCE):
        return Finding(Part.CLOCK, Grade.CRITICAL, f"{says}: events are refused as FUTURE", do)
    return Finding(Part.CLOCK, Grade.WARNING, says, do)


# -- work ------------------------------------------------------------------------------------------------------------


def workers_found(site: Site, stages: Iterable[StageStands], now: int, waiting: int) -> Finding:
    """Whether every partition has a worker that works, and time passes. `now` is in microseconds.

    A history site's workers are needed while something waits for them: `waiting` records.
    """
    stages = list(stages)
    reports = {(one.stage, one.partition): one for one in stages if one.stage in REPORTING}
    wanted = [(stage, number) for stage in REPORTING for number in range(site.partitions)]
    silent = sorted({n for s, n in wanted if (s, n) not in reports or now - reports[s, n].at > PATIENCE})
    start = f"start a worker: sallyport worker --site {site.name}; one that ended says why in its log"
    if silent and site.clock == "history" and not waiting:
        return Finding(Part.WORKERS, Grade.OK, "none runs, and nothing waits for one")
    if silent:
        return Finding(Part.WORKERS, Grade.CRITICAL, f"nobody works for {_partitions(silent)}", start)
    refolding = [report for report in reports.values() if report.state == "REFOLDING"]
    if refolding:
        # The stages of a partition are recovered together, and each reports all of it.
        progress = {one.partition: (one.done, one.total) for one in refolding}
        done, total = (sum(counts) for counts in zip(*progress.values(), strict=True))
        numbers = sorted(progress)
        says = f"{_partitions(numbers)}: recovering, {done:,} of {total:,} records; no alerts of them meanwhile"
        return Finding(Part.WORKERS, Grade.WARNING, says, "wait until it is done; it takes a minute a million records")
    stopped = sorted({one.partition for one in reports.values() if one.state != "LIVE"})
    if stopped:
        return Finding(Part.WORKERS, Grade.CRITICAL, f"stopped for {_partitions(stopped)}", start)
    late = sorted({one.partition for one in reports.values() if one.stage in FOLDING and now - one.tick > PATIENCE})
    if late and site.clock == "live":
        says = f"time stands still for {_partitions(late)}: nothing comes to its end, and no absence is noticed"
        return Finding(Part.WORKERS, Grade.CRITICAL, says, "look at the log of the worker that has partition 0")
    given_up = sorted(
        {one.partition for one in stages if (one.stage, one.state) == (STANDBY, "STOPPED") and now - one.at <= PATIENCE}
    )
    if given_up:
        says = (
            f"all live; one who stands by gave up {_partitions(given_up)}: unless another stands by, a crash means "
            "to read all of it back"
        )
        return Finding(Part.WORKERS, Grade.WARNING, says, "look at its log; for more memory: SALLYPORT_STANDBY_MEMORY")
    return Finding(Part.WORKERS, Grade.OK, f"{_partitions(range(site.partitions))}: all live")


def _partitions(numbers: Sequence[int]) -> str:
    listed = ", ".join(map(str, numbers))
    return f"partition {listed}" if len(numbers) == 1 else f"partitions {listed}"


def lag_found(topics: Iterable[TopicStands]) -> Finding:
    """How many records wait for the workers."""
    behind = {topic.name: topic.lag for topic in topics if topic.lag}
    if not behind:
        return Finding(Part.LAG, Grade.OK, "nothing waits for the workers")
    total, most = sum(behind.values()), max(behind, key=lambda name: behind[name])
    says = f"up to {total:,} records wait for the workers, most of them on {most}"
    if total <= MUCH_LAG:
        return Finding(Part.LAG, Grade.OK, says)
    return Finding(Part.LAG, Grade.WARNING, says, "look again in a minute; where it grows, start another worker")


SETTLE_WITHIN: Final = 3 * 24 * 60 * 60 * 1_000_000
"""Microseconds before a dead letter goes from which on it is urgent to settle it."""


def dead_letters_found(letters: Iterable[DeadLetters], now: int) -> Finding:
    """Records that were refused and are still kept, by agency and reason; `now` is in microseconds.

    What nobody settles goes in the end, and then nothing tells of it any more.
    """
    kept = sorted(letters, key=lambda one: (one.agency, one.reason, one.care))
    if not kept:
        return Finding(Part.DEAD_LETTERS, Grade.OK, "none")
    told = "; ".join(f"{one.agency}: {one.count:,} {one.reason}{' of care' if one.care else ''}" for one in kept)
    told += f"; the first goes on {datetime.fromtimestamp(min(one.goes for one in kept) / 1e6, UTC):%Y-%m-%d}"
    # The bus's own are faults of ours, which nobody can mend here.
    is_urgent = any(one.agency != BUS and one.goes - now <= SETTLE_WITHIN for one in kept)
    do = "mend or dismiss them by `sallyport dlq`, report those of the bus itself: docs/operations.md#dead-letters"
    return Finding(Part.DEAD_LETTERS, Grade.CRITICAL if is_urgent else Grade.WARNING, told, do)


# -- this machine ----------------------------------------------------------------------------------------------------


def spools_found(waiting: dict[str, int], damaged: Sequence[str], unseen: dict[str, str]) -> list[Finding]:
    """Events that agencies on this machine have accepted and the broker has not: `waiting`, by agency; `unseen`, by
    agency, why it can't be said of one."""
    found = []
    if damaged:
        do = "keep the files; `sallyport publish` says what is wrong with them"
        found.append(Finding(Part.SPOOLS, Grade.CRITICAL, f"damaged: {', '.join(damaged)}", do))
    some = {agency: count for agency, count in sorted(waiting.items()) if count}
    if some:
        told = ", ".join(f"{count:,} of {agency}" for agency, count in some.items())
        do = "they are sent when their agency publishes again and the bus is up"
        found.append(Finding(Part.SPOOLS, Grade.WARNING, f"events wait on this machine: {told}", do))
    if unseen:
        says = f"whether events of {', '.join(unseen)} wait can't be seen: {next(iter(unseen.values()))}"
        found.append(Finding(Part.SPOOLS, Grade.UNKNOWN, says, AS_ITS_OWNER))
    return found or [Finding(Part.SPOOLS, Grade.OK, "nothing waits on this machine")]


def disk_elsewhere(servers: str) -> Finding:
    """Nobody sees from here how much room the broker has, which runs elsewhere: it is said, and is no fault."""
    return Finding(Part.DISK, Grade.OK, f"the broker's, at {servers}, is not seen from here: watch it where it runs")


LITTLE: Final = 0.1
"""Share of the disk that should be free."""
TOO_LITTLE: Final = 0.03
"""Share below which the broker may stop at any moment: Kafka ends when a disk is full."""
GB: Final = 1024**3


def disk_found(where: str, free: int, total: int) -> Finding:
    """How much room is left, in bytes, where the bus, or a publisher, keeps its state on this machine."""
    share = free / total if total else 0.0
    says = f"{free / GB:,.1f} GB free of {total / GB:,.1f} GB at {where}"
    do = "free some, or move SALLYPORT_HOME to a larger disk"
    if share < TOO_LITTLE:
        return Finding(Part.DISK, Grade.CRITICAL, says, do)
    return Finding(Part.DISK, Grade.WARNING if share < LITTLE else Grade.OK, says, do if share < LITTLE else "")
