"""Settings: where the bus is and who we are on it. The only place that reads the environment.

Every field is an environment variable `SALLYPORT_<NAME>`; `docs/operations.md` holds the table, and a test keeps it
current.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import stat
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import platformdirs
import psutil  # type: ignore[import-untyped]
from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SecretUnreadableError(Exception):
    """A file that a user needs to get in, password or CA certificate, is missing, damaged, or open to others.

    The message says which and what to do.
    """


class CaUnreadableError(SecretUnreadableError):
    """The CA certificate is missing or damaged. It is no secret: whoever runs the bus gives it to everybody."""


class NoPasswordError(SecretUnreadableError):
    """This machine has no password of that user, or does not let us read it."""


def is_web_address(url: str) -> bool:
    """Whether something is an address with https or http, a host, and a port that there can be, if any."""
    try:
        address = urlsplit(url)
        is_one = address.scheme in ("https", "http") and bool(address.hostname) and address.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        return False
    return is_one and re.search(r"[\s\x00-\x1f]", url) is None


def names_a_user(address: str) -> bool:
    """Whether a web address has a user in it, with a password maybe: they would be shown wherever the address is."""
    return urlsplit(address).username is not None


def _is_overheard(url: str) -> bool:
    """Whether what is sent to a web address goes over a network as it is."""
    address = urlsplit(url)
    if address.scheme == "https" or address.hostname == "localhost":
        return False
    try:
        return not ipaddress.ip_address(address.hostname or "").is_loopback
    except ValueError:  # a name
        return True


def _web_address(url: str) -> str:
    if not is_web_address(url):
        raise PydanticCustomError("web_address", "no address such as https://registry.example:8081")
    if names_a_user(url):
        raise PydanticCustomError(
            "names_a_user",
            "has a user or password in it, which would be shown: give SALLYPORT_REGISTRY_USER, and the password in the "
            "file of that name in SALLYPORT_SECRETS",
        )
    return url


Port = Annotated[int, Field(ge=1, le=65535)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
"""https, or http on a network that nobody else is on; with a host."""


class Settings(BaseSettings):
    """Where the bus is. The defaults are the embedded bus on this machine, bound to loopback."""

    model_config = SettingsConfigDict(env_prefix="SALLYPORT_", env_ignore_empty=True, frozen=True, extra="ignore")

    home: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("sallyport"),
        description="State of the embedded bus: logs, registry, TLS, secrets, spools.",
    )
    cache: Path = Field(
        default_factory=lambda: platformdirs.user_cache_path("sallyport"),
        description="Fetched Kafka and registry, shared by all buses of this user.",
    )
    maven: str | None = Field(
        default=None,
        description="URL of a Maven repository to fetch Kafka and registry from. Empty: Maven Central.",
    )
    site_file: Path | None = Field(
        default=None,
        description="A site's directory (site.toml and agreements). Empty: the sites shipped in deploy/sites.",
    )
    site: str = Field(default="demo", description="The site a command works on: the prefix of its topics.")
    embedded: bool = Field(default=True, description="Run our own Kafka and registry; false: use an existing bus.")
    bind: str = Field(default="127.0.0.1", description="Address that the embedded bus listens on.")
    kafka_port: Port = Field(default=19092, description="Port of the embedded broker (SASL_SSL).")
    controller_port: Port = Field(default=19093, description="Port of the embedded broker's controller.")
    registry_port: Port = Field(default=18081, description="Port of the embedded registry (HTTPS).")
    kafka_heap: str = Field(default="512m", description="Heap of the embedded broker (Java -Xmx).")
    kafka_java: str = Field(
        default="",
        description="Further options of the embedded broker's Java, separated by blanks. "
        "`-XX:TieredStopAtLevel=1` starts in two thirds of the time, and encrypts ten times slower.",
    )
    bootstrap: str | None = Field(default=None, description="host:port of an existing Kafka. Empty: the embedded one.")
    registry: WebAddress | None = Field(
        default=None, description="URL of a Confluent-compatible registry. Empty: the embedded one."
    )
    registry_user: str | None = Field(
        default=None,
        description="User of an existing registry (HTTP basic), over https or on this machine; password in its secrets "
        "file.",
    )
    security_protocol: str = Field(
        default="SASL_SSL", description="Kafka security protocol. PLAINTEXT is for tests on containers only."
    )
    sasl_mechanism: str = Field(default="SCRAM-SHA-512", description="SASL mechanism of the Kafka users.")
    ca_file: Path | None = Field(
        default=None, description="CA certificate of broker and registry. Empty: home/tls/ca.pem."
    )
    standbys: int = Field(
        default=1,
        ge=0,
        description="Workers that stand by for each partition, where a site has more than one: they follow its facts, "
        "and take over in moments. 0: none. The same for all workers of a site.",
    )
    standby_memory: int = Field(
        default=0,
        ge=0,
        description="Megabytes, about, that facts may take in a worker which only stands by for them; a partition that "
        "would need more is given up. 0: half of this machine's memory.",
    )
    secrets: Path | None = Field(
        default=None,
        description="Directory of password files, one a Kafka user, mode 0600. Empty: home/secrets.",
    )

    @field_validator("registry_user")
    @classmethod
    def _no_password_in_clear(cls, user: str | None, others: ValidationInfo) -> str | None:
        registry = others.data.get("registry")  # absent where it was refused itself
        if user is not None and registry is not None and _is_overheard(registry):
            raise PydanticCustomError(
                "overheard",
                "its password would cross the network in clear: give SALLYPORT_REGISTRY an address with https",
            )
        return user

    @property
    def bootstrap_servers(self) -> str:
        """host:port that clients connect to first."""
        return self.bootstrap or f"{self.bind}:{self.kafka_port}"

    @property
    def registry_url(self) -> str:
        """Base URL of the registry's Confluent API."""
        return self.registry or f"https://{self.bind}:{self.registry_port}/apis/ccompat/v7"

    @property
    def standby_bytes(self) -> int:
        """What facts may take in a worker which only stands by for them."""
        return self.standby_memory * 1024 * 1024 or psutil.virtual_memory().total // 2

    @property
    def ca_path(self) -> Path:
        """The CA that signed broker and registry."""
        return self.ca_file or self.home / "tls" / "ca.pem"

    @property
    def secrets_path(self) -> Path:
        """Directory of password files."""
        return self.secrets or self.home / "secrets"

    def password(self, user: str) -> str:
        """The password of a Kafka user.

        Raises SecretUnreadableError when the file is missing, empty, or readable by others than its owner.
        """
        path = self.secrets_path / user
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise NoPasswordError(
                f"no password for user {user!r}: {path} ({error.strerror}). "
                "Run `sallyport provision`, or copy the file the bus's operator gave you there."
            ) from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SecretUnreadableError(f"{path} is open to other users of this machine: chmod 600 {path}")
        if not text:
            raise SecretUnreadableError(f"{path} is empty: remove it and run `sallyport provision` for a new password")
        return text

    def kafka(self, user: str) -> dict[str, str | int | float | bool]:
        """Configuration of a confluent-kafka client that is `user` on this bus."""
        config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
            "client.id": f"sallyport-{user}",
        }
        if self.security_protocol.startswith("SASL"):
            config |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": user,
                "sasl.password": self.password(user),
            }
        if self.security_protocol.endswith("SSL"):
            self.ssl_context()  # Kafka's client would say of a wrong file that there is no broker
            config["ssl.ca.location"] = str(self.ca_path)
        return config

    def ssl_context(self) -> ssl.SSLContext:
        """TLS context that trusts this bus's CA and nobody else. Raises SecretUnreadableError."""
        try:
            return ssl.create_default_context(cafile=str(self.ca_path))
        except OSError as error:  # of which an SSLError is one
            raise CaUnreadableError(
                f"no CA certificate of the bus in {self.ca_path} ({error.strerror or error}): "
                "copy the ca.pem that the bus's operator gave you there, or set SALLYPORT_CA_FILE"
            ) from error
