"""Configuration of the embedded schema registry (Apicurio, a Quarkus program).

Anyone who reaches it may read and look up schemas, which are no secret; only `admin` (HTTP basic, with the password of
the Kafka user of that name) may register, change or delete. Everything but the Confluent API is shut.
"""

from __future__ import annotations

from pathlib import Path

from deploy import java
from deploy.kafka_config import ADMIN
from deploy.tls import SERVER_CERTIFICATE, SERVER_KEY
from schemas.settings import Settings


def application_properties(settings: Settings, directory: Path, log: Path, admin_password: str) -> str:
    """The registry's application.properties. It holds a password.

    Schemas and their ids are in an H2 file in `directory`: an id must mean the same schema as long as the log lives.
    """
    tls = settings.home / "tls"
    properties: dict[str, str | int] = {
        "quarkus.http.host": settings.bind,
        "quarkus.http.ssl-port": settings.registry_port,
        "quarkus.http.insecure-requests": "disabled",
        "quarkus.http.ssl.certificate.files": _escaped(tls / SERVER_CERTIFICATE),
        "quarkus.http.ssl.certificate.key-files": _escaped(tls / SERVER_KEY),
        # Health and metrics; it can't be switched off once built, so it is put where nobody else reaches it.
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": 0,
        # WRITE_DELAY: an id that was given out is on disk.
        "apicurio.datasource.url": f"jdbc:h2:file:{_escaped(directory / 'schemas')};WRITE_DELAY=0",
        "apicurio.datasource.jdbc.initial-size": 1,
        "apicurio.datasource.jdbc.min-size": 1,
        "apicurio.datasource.jdbc.max-size": 8,
        "apicurio.storage.snapshot.location": _escaped(settings.home / java.SCRATCH),
        "apicurio.import.work-dir": _escaped(settings.home / java.SCRATCH),
        "quarkus.http.auth.basic": "true",
        "quarkus.security.users.embedded.plain-text": "true",
        f"quarkus.security.users.embedded.users.{ADMIN}": admin_password,
        f"quarkus.security.users.embedded.roles.{ADMIN}": "sr-admin",
        "apicurio.auth.role-based-authorization": "true",
        "apicurio.auth.anonymous-read-access.enabled": "true",
        "apicurio.rest.deletion.artifact.enabled": "true",
        "apicurio.rest.deletion.artifact-version.enabled": "true",
        "quarkus.http.auth.permission.api.paths": "/apis/ccompat/v7/*",
        "quarkus.http.auth.permission.api.policy": "permit",
        "quarkus.http.auth.permission.rest.paths": "/*",
        "quarkus.http.auth.permission.rest.policy": "deny",
        "quarkus.http.access-log.enabled": "false",
        "quarkus.log.level": "WARN",
        'quarkus.log.category."io.apicurio".level': "WARN",
        "quarkus.log.console.enabled": "false",
        "quarkus.log.file.enabled": "true",
        "quarkus.log.file.path": _escaped(log),
        "quarkus.log.file.json.enabled": "false",
        "quarkus.log.file.format": "%d{yyyy-MM-dd HH:mm:ss,SSS} %p %c{1} %s%e%n",
        "quarkus.log.file.rotation.rotate-on-boot": "false",
        "quarkus.log.file.rotation.max-file-size": "10M",
        "quarkus.log.file.rotation.max-backup-index": 4,
    }
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\")
