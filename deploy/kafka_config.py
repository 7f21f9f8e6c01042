"""Configuration of the embedded broker: one KRaft node that a small county can really run."""

from __future__ import annotations

from pathlib import Path

from deploy.tls import BROKER, CA_PEM, SERVER_PEM
from schemas.settings import Settings

ADMIN = "admin"
"""The first user, and the only super user."""


def server_properties(settings: Settings, data: Path, admin_password: str) -> str:
    """The broker's server.properties. It holds a password.

    Clients come by SASL_SSL with SCRAM-SHA-512 on `settings.bind`; the controller listens on loopback only and asks for
    the broker's own certificate. Whoever has no ACL has no access.
    """
    tls = settings.home / "tls"
    client = f"{settings.bind}:{settings.kafka_port}"
    properties: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{settings.controller_port}",
        "listeners": f"CLIENT://{client},CONTROLLER://127.0.0.1:{settings.controller_port}",
        "advertised.listeners": f"CLIENT://{client}",
        "listener.security.protocol.map": "CLIENT:SASL_SSL,CONTROLLER:SSL",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENT",
        "log.dirs": _escaped(data),
        # Who may come in.
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.client.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="{ADMIN}" password="{admin_password}";'
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": _escaped(tls / SERVER_PEM),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": _escaped(tls / CA_PEM),
        "listener.name.controller.ssl.client.auth": "required",
        "listener.name.controller.ssl.principal.mapping.rules": f"RULE:^.*CN={BROKER}.*$/{BROKER}/",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:{ADMIN};User:{BROKER}",
        # Topics come from provisioning only.
        "auto.create.topics.enable": "false",
        # One node: what is replicated elsewhere has one copy here.
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # The broker would ask itself, over the network, whether each partition is in the transaction, before it takes
        # the transaction's first record for it: half of the time that a transaction takes. It guards against a writer
        # that aborts while a record is still on its way; ours never do (streams/fencing.py).
        "transaction.partition.verification.enable": "false",
        # A worker that dies is noticed in seconds, and a group of one need not wait for others.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 3_000,
        # Compaction and retention look often: how eager they are is said for each topic.
        "log.initial.task.delay.ms": 1_000,
        "log.cleaner.backoff.ms": 1_000,
        "log.retention.check.interval.ms": 10_000,
        # Small: the default is 128 MB for the cleaner alone.
        "log.cleaner.dedupe.buffer.size": 16 << 20,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
    }
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def log4j_properties(log: Path) -> str:
    """Logging of the broker: 5 files of 10 MB. Its requests are not logged."""
    return f"""\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {_escaped(log)}
appender.file.filePattern = {_escaped(log)}.%i
appender.file.filePermissions = rw-------
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %c{{1}} %m%n
appender.file.policies.type = SizeBasedTriggeringPolicy
appender.file.policies.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 4
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\")
