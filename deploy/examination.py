"""Examining a bus: each part is looked at by itself, so that what ails one hides nothing of the others.

It asks and reads, and changes nothing. What it finds is judged by `deploy/health.py`.
"""

from __future__ import annotations

import logging
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

# The HTTP client that the registry's client uses, of the two it can.
from confluent_kafka.schema_registry.common._httpx_compat import httpx

from deploy import health, registry
from deploy.broker import Broker
from deploy.broker_says import in_a_line
from deploy.certificate_chain import certificates_of, vouched_until
from deploy.changes import ProvisionError, What, changes, steps
from deploy.health import Copies, Finding, Grade, Part
from deploy.kafka_config import ADMIN
from deploy.nobody_told import untold
from deploy.provision import schema_steps, with_password
from deploy.topic_report import ReportError, TopicReport, topic_report
from producers.spool import SpoolDamagedError, spool_directory, waiting_in
from schemas.settings import CaUnreadableError, NoPasswordError, SecretUnreadableError, Settings
from schemas.site import Site
from schemas.subjects import subjects
from schemas.topics import all_topics

ANSWER_S: Final = 5.0
"""Seconds for which an answer is waited for."""
LOOK_S: Final = 0.5
HAS_EXPIRED: Final = 10
"""X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""
OPERATOR: Final = "ask where the bus is run: that password is not on this machine, as it should be"
CA: Final = "ask where the bus is run for its ca.pem: it is no secret, and every machine needs it"


class Examination:
    """One look at the bus of a site. `progress` is told what is looked at."""

    def __init__(self, settings: Settings, site: Site, progress: Callable[[str], None] = lambda _: None) -> None:
        self._settings = settings
        self._site = site
        self._progress = progress
        self._broker_answers = True

    def findings(self) -> Iterator[Finding]:
        """What is found, part by part."""
        looks: Sequence[tuple[tuple[Part, ...], Callable[[], Iterator[Finding]]]] = (
            ((Part.BROKER,), self._broker),
            ((Part.TOPICS, Part.USERS, Part.RIGHTS), self._ground),
            ((Part.REGISTRY, Part.SCHEMAS), self._registry),
            ((Part.RECIPIENTS,), self._recipients),
            ((Part.CERTIFICATES,), self._certificates),
            ((Part.SECRETS,), self._secrets),
            ((Part.CLOCK,), self._clock),
            ((Part.WORKERS, Part.LAG, Part.DEAD_LETTERS), self._work),
            ((Part.SPOOLS,), self._spools),
            ((Part.DISK,), self._disk),
        )
        for parts, look in looks:
            self._progress(parts[0].value)
            yield from _all_found(parts, look)

    @property
    def _start_it(self) -> str:
        """What to do where broker or registry do not answer."""
        return "start it: sallyport up" if self._settings.embedded else "start it, or look at the way to it"

    # -- the ground ----------------------------------------------------------------------------------------------

    def _broker(self) -> Iterator[Finding]:
        where = f"Kafka at {self._settings.bootstrap_servers}"
        try:
            admin = AdminClient(self._settings.kafka(ADMIN), logger=logging.getLogger("sallyport.kafka"))
            metadata = admin.list_topics(timeout=ANSWER_S)
        except SecretUnreadableError as error:
            yield Finding(Part.BROKER, Grade.UNKNOWN, str(error), _ask_for(error))
            return
        except KafkaException as error:
            self._broker_answers = False
            yield Finding(Part.BROKER, Grade.CRITICAL, f"{where} does not answer ({in_a_line(error)})", self._start_it)
            return
        partitions: list[Any] = [
            partition
            for name, topic in metadata.topics.items()
            if name.startswith(f"{self._site.name}.")
            for partition in topic.partitions.values()
        ]
        copies = Copies(
            len(metadata.brokers),
            sum(partition.leader < 0 for partition in partitions),
            sum(len(partition.isrs) < len(partition.replicas) for partition in partitions),
        )
        yield health.broker_found(copies, self._site.name)

    def _ground(self) -> Iterator[Finding]:
        site = self._site
        if not self._broker_answers:
            return
        try:
            ground = Broker(self._settings, site.name).look([spec.name for spec in all_topics(site)])
            todo = changes(site, ground, with_password(self._settings.secrets_path, site))
        except SecretUnreadableError:
            return
        except ProvisionError as error:
            yield Finding(Part.TOPICS, Grade.CRITICAL, str(error))
            return
        standing = steps(site, ground, todo)
        yield health.provisioned_found(What.TOPIC, standing, site.name)
        if ground.users is None:
            yield Finding(Part.USERS, Grade.OK, "kept elsewhere: the broker does not use SCRAM")
        else:
            yield health.provisioned_found(What.USER, standing, site.name)
        if ground.acls is None:
            do = "give the broker an authorizer, and SALLYPORT_SECURITY_PROTOCOL=SASL_SSL"
            yield Finding(Part.RIGHTS, Grade.CRITICAL, "nobody is kept from anything: the broker knows no users", do)
        else:
            yield health.provisioned_found(What.ACL, standing, site.name)
            yield from health.strangers_found(ground.strangers)

    def _registry(self) -> Iterator[Finding]:
        where = self._settings.registry_url
        try:
            with registry.writing_client(self._settings) as client:
                found = registry.standing(client, subjects(self._site))
        except SecretUnreadableError as error:
            yield Finding(Part.REGISTRY, Grade.UNKNOWN, str(error), _ask_for(error))
            return
        except registry.RegistryError as error:
            yield Finding(Part.REGISTRY, Grade.CRITICAL, f"{where}: {error}", self._start_it)
            return
        yield Finding(Part.REGISTRY, Grade.OK, f"{where} answers")
        yield health.provisioned_found(What.SCHEMA, schema_steps(found), self._site.name)

    def _recipients(self) -> Iterator[Finding]:
        yield from health.recipients_found(untold(self._site, time.time_ns() // 1000))

    # -- certificates, secrets, clock ----------------------------------------------------------------------------

    def _certificates(self) -> Iterator[Finding]:
        if not self._settings.security_protocol.endswith("SSL"):
            says = f"SALLYPORT_SECURITY_PROTOCOL is {self._settings.security_protocol}: nothing is encrypted"
            yield Finding(Part.CERTIFICATES, Grade.CRITICAL, says, "set it to SASL_SSL")
            return
        for whose, where in certificates(self._settings):
            yield certificate(self._settings, whose, where)

    def _secrets(self) -> Iterator[Finding]:
        directory = self._settings.secrets_path
        try:
            # Not by a glob: of a directory that is closed to us it makes an empty one.
            there = directory.iterdir() if directory.is_dir() else ()
            files = sorted(path for path in there if path.is_file() and not path.name.startswith("."))
            public = [path.name for path in files if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
        except OSError as error:
            yield health.secrets_unseen(_closed(error))
            return
        yield health.secrets_found(str(directory), public, len(files))

    def _clock(self) -> Iterator[Finding]:
        url = self._settings.registry_url
        try:
            trusted: Any = self._settings.ssl_context() if url.startswith("https") else True
            asked = datetime.now(UTC)
            # Whatever it answers, a refusal too, it says when.
            said = httpx.get(f"{url}/subjects", verify=trusted, timeout=ANSWER_S).headers.get("date")
            answered = datetime.now(UTC)
        except (httpx.HTTPError, OSError, SecretUnreadableError):
            return
        if said is None:
            yield Finding(Part.CLOCK, Grade.UNKNOWN, "the registry does not say what time it is")
            return
        # It tells whole seconds, cut off.
        there = parsedate_to_datetime(said) + timedelta(seconds=0.5)
        yield health.clock_found(asked + (answered - asked) / 2 - there)

    # -- work ----------------------------------------------------------------------------------------------------

    def _work(self) -> Iterator[Finding]:
        if not self._broker_answers:
            return
        try:
            report = self._report()
        except SecretUnreadableError as error:
            yield Finding(Part.WORKERS, Grade.UNKNOWN, str(error), _ask_for(error))
            return
        except ReportError as error:
            yield Finding(Part.WORKERS, Grade.CRITICAL, str(error))
            return
        waiting = sum(topic.lag or 0 for topic in report.topics)
        now = time.time_ns() // 1000
        if (clock := health.broker_clock_found(report.newest, now)) is not None:
            yield clock
        yield health.workers_found(self._site, report.stages, now, waiting)
        yield health.lag_found(report.topics)
        yield health.dead_letters_found(report.dead_letters, now)

    def _report(self) -> TopicReport:
        """A broker that has just started knows its groups a moment later: one refusal is no finding."""
        patience = time.monotonic() + ANSWER_S
        while True:
            try:
                return topic_report(self._settings, self._site)
            except ReportError:
                if time.monotonic() > patience:
                    raise
                time.sleep(LOOK_S)

    # -- this machine --------------------------------------------------------------------------------------------

    def _spools(self) -> Iterator[Finding]:
        waiting, damaged, unseen = dict[str, int](), list[str](), dict[str, str]()
        for agency in self._site.agencies:
            directory = spool_directory(self._settings.home, self._site.name, agency.id)
            try:
                waiting[agency.id] = waiting_in(directory)
            except SpoolDamagedError as error:
                damaged.append(str(error))
            except OSError as error:
                unseen[agency.id] = _closed(error)
        yield from health.spools_found(waiting, damaged, unseen)

    def _disk(self) -> Iterator[Finding]:
        # Spools are here in any case.
        yield health.disk_found(*disk(self._settings))
        if not self._settings.embedded or self._settings.bootstrap is not None:
            yield health.disk_elsewhere(self._settings.bootstrap_servers)


def _all_found(parts: Sequence[Part], look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What one look finds of its parts, and which of them it did not come to; whatever it runs into is a finding."""
    missing = list(parts)
    try:
        for finding in look():
            missing = [part for part in missing if part is not finding.part]
            yield finding
    except Exception as error:  # what nobody thought of must not hide what the other looks find
        # Of an error that came when all was found the last part is told.
        broken = missing.pop(0) if missing else parts[-1]
        yield health.look_failed(broken, error)
    for part in missing:
        yield Finding(part, Grade.UNKNOWN, "not examined, because of what is found above")


def _closed(error: OSError) -> str:
    """What could not be opened, and why."""
    return f"{error.filename} ({error.strerror})"


def _ask_for(error: SecretUnreadableError) -> str:
    """What to do for a file that is not here; of one that is here the error says it."""
    match error:
        case NoPasswordError():
            return OPERATOR
        case CaUnreadableError():
            return CA
        case _:
            return ""


def certificates(settings: Settings) -> list[tuple[str, str]]:
    """Who shows a certificate, and at which address, host:port."""
    served = [("the broker", where) for where in settings.bootstrap_servers.split(",")]
    address = urlsplit(settings.registry_url)
    if address.scheme == "https":
        served.append(("the registry", f"{address.hostname}:{address.port or 443}"))
    return served


def certificate_end(settings: Settings, where: str) -> datetime:
    """When the certificate ends that is shown at an address, host:port, or a CA that vouches for it, if that is sooner.

    Raises SecretUnreadableError, OSError.
    """
    own, of_ca = _ends(settings, where)
    return own if of_ca is None else min(own, of_ca)


def _ends(settings: Settings, where: str) -> tuple[datetime, datetime | None]:
    """Of what is shown at an address, host:port: when it ends, and when the first CA does that vouches for it."""
    host, _, port = where.strip().rpartition(":")
    host = host.strip("[]")
    context = settings.ssl_context()
    with (
        socket.create_connection((host, int(port)), timeout=ANSWER_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as encrypted,
    ):
        until, shown = (encrypted.getpeercert() or {}).get("notAfter"), encrypted.getpeercert(binary_form=True)
    own = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(until)), UTC)
    trusted = certificates_of(context.get_ca_certs(binary_form=True))
    # One that OpenSSL alone can read is told of by itself.
    return own, next((vouched_until(one, trusted) for one in certificates_of([shown or b""])), None)


def disk(settings: Settings) -> tuple[str, int, int]:
    """Where the bus keeps its state on this machine, and how many bytes are free there, and how many there are."""
    where = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    usage = psutil.disk_usage(str(where))
    return str(where), usage.free, usage.total


def certificate(settings: Settings, whose: str, where: str) -> Finding:
    """How long a certificate is good for that is shown at an address, host:port."""
    try:
        own, of_ca = _ends(settings, where)
    except SecretUnreadableError as error:
        return Finding(Part.CERTIFICATES, Grade.CRITICAL, str(error))
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == HAS_EXPIRED:
            return health.certificate_ended(f"{whose} at {where}", embedded=settings.embedded)
        says = f"that of {whose} at {where} is not trusted: {error.verify_message}"
        return Finding(Part.CERTIFICATES, Grade.CRITICAL, says, f"its CA should be {settings.ca_path}")
    except OSError as error:
        says = f"{whose} at {where} can't be reached ({error.strerror or error})"
        return Finding(Part.CERTIFICATES, Grade.UNKNOWN, says)
    now = datetime.now(UTC)
    if of_ca is not None and of_ca < own:
        return health.ca_found(whose, of_ca, now, embedded=settings.embedded)
    return health.certificate_found(whose, own, now, embedded=settings.embedded)
