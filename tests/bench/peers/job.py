"""What every engine of the bench is given, and how it says what it took: the same for ours and its peers.

An engine is a process that reads a `Job` as JSON on stdin (it holds a password, which no command line should), works
through the facts once, and prints one line of JSON: when its warm-up had passed, and when everything was committed.
"""

from __future__ import annotations

import cProfile
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from schemas.avro_files import whole_schema
from schemas.codec import WriterSchema, encode, writer_schema
from schemas.site import Site, read_site
from streams.garbage import collect_seldom
from streams.partition import Partition
from streams.records import Out
from streams.stage import PERSON

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one engine. All of them come in by TLS and SCRAM, as the same kind of user."""

    bootstrap: str
    user: str
    password: str
    ca: str
    site: str
    """Name of the site whose facts these are."""
    partitions: int
    input: str
    """Topic of the facts."""
    output: str
    """Topic for what follows from them, where the engine does not choose by the record."""
    group: str
    """Consumer group and the like: new in every run."""
    ends: list[int]
    """Of each partition of the input: the offset after its last record."""
    warm: int
    """Records after which the clock starts."""
    scratch: str
    """A directory of this run's own."""
    schema_ids: dict[str, int]
    """By record of the contract: its id in the registry."""
    settings: str = ""
    """Our own settings, as JSON; for our own engine only."""
    profile: str = ""
    """File for a profile of the thread that takes the records; empty for none: it slows the run."""

    @property
    def records(self) -> int:
        """Records to work through."""
        return sum(self.ends)

    def site_as_read(self) -> Site:
        """The site: the shipped demo under another name, with the clock of a history."""
        site = read_site(ROOT / "deploy" / "sites" / "demo")
        return site.model_copy(update={"name": self.site, "partitions": self.partitions, "clock": "history"})

    def kafka(self) -> dict[str, Any]:
        """How a client of librdkafka comes in."""
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": self.user,
            "sasl.password": self.password,
            "ssl.ca.location": self.ca,
        }

    def schemas(self) -> dict[int, WriterSchema]:
        """Writers' schemas by their ids."""
        return {number: writer_schema(whole_schema(name)) for name, number in self.schema_ids.items()}

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def given(cls) -> Job:
        """The job on stdin. From here on the process looks for garbage as seldom as a worker: all have pictures."""
        collect_seldom()
        return cls(**json.loads(sys.stdin.read()))


class Stopwatch:
    """Counts records as they come in. The clock starts with the first one after the warm-up."""

    def __init__(self, job: Job) -> None:
        self.seen = 0
        self._records = job.records
        self._warm = job.warm
        self._started = self._cpu = 0.0
        self._profile_to = job.profile
        self._profile = cProfile.Profile()

    def record(self) -> None:
        """One more record comes in."""
        if self.seen == self._warm:
            self._start()
        self.seen += 1

    def count(self, more: int) -> None:
        """So many more records came in at once."""
        if self.seen <= self._warm < self.seen + more:
            self._start()
        self.seen += more

    def _start(self) -> None:
        if self._profile_to:
            self._profile.enable()
        self._started, self._cpu = time.monotonic(), time.process_time()

    @property
    def all_came(self) -> bool:
        """Every record has come in, if not all is committed yet."""
        return self.seen >= self._records

    def committed(self) -> None:
        """All is committed: say what it took."""
        seconds, cpu = time.monotonic() - self._started, time.process_time() - self._cpu
        if self._profile_to:
            self._profile.dump_stats(self._profile_to)
        counted = {"records": self._records - self._warm, "seen": self.seen}
        said = json.dumps({"seconds": seconds, "cpu_seconds": cpu, **counted})
        os.write(1, f"\n{said}\n".encode())  # past whatever an engine has put in the place of stdout


class Fed(NamedTuple):
    """A record as the stages want it, made of whatever an engine's client has."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any
    timestamp: int


class Written(NamedTuple):
    """A record to be written, encoded as ours is."""

    key: bytes
    value: bytes | None


class Mind:
    """What all engines decide with: the same pure pictures and correlations, one a partition, in memory."""

    def __init__(self, job: Job) -> None:
        site, schemas = job.site_as_read(), job.schemas()
        self._ids = job.schema_ids
        self._partitions = [Partition.of(site, number, schemas) for number in range(job.partitions)]

    def decide(self, partition: int, record: Any) -> list[Written]:
        """What follows from one fact, encoded."""
        return [self._written(out) for out in self._partitions[partition].process(PERSON, record)]

    def _written(self, out: Out) -> Written:
        if out.name is None or not isinstance(out.value, Mapping):
            return Written(out.key, out.value if isinstance(out.value, bytes) else None)
        return Written(out.key, encode(out.name, out.value, self._ids[out.name]))
