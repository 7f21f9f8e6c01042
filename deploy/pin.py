"""Pin what the embedded bus runs: `python -m deploy.pin` writes artifacts.json, with a SHA-256 for each file.

For maintainers, when Kafka or the registry is upgraded. jgo resolves Kafka's dependencies; what is then fetched on a
user's machine is exactly these files, so jgo itself is not asked again.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import httpx
import jgo
from jgo.constants import MAVEN_CENTRAL_URL

from deploy.artifacts import MANIFEST

KAFKA = "4.4.0"
REGISTRY = "3.3.3"
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5"
"""Kafka's jars come without an SLF4J binding: without one it logs nothing, not even why it does not start."""


def pin() -> dict[str, object]:
    """Resolve both and digest every file; needs the network."""
    registry = f"io/apicurio/apicurio-registry-app/{REGISTRY}/apicurio-registry-app-{REGISTRY}-all.tar.gz"
    return {
        "kafka": pin_jars(KAFKA, f"org.apache.kafka:kafka_2.13:{KAFKA}", LOGGING),
        "registry": _pinned(REGISTRY, [registry]),
    }


def pin_jars(version: str, *endpoints: str) -> dict[str, object]:
    """A program of jars as the manifest has it: these Maven endpoints and all they depend on."""
    artifacts = {
        str(artifact.component.path_prefix).replace("\\", "/") + "/" + artifact.filename
        for endpoint in endpoints
        for artifact in jgo.resolve(endpoint)
        if artifact.filename.endswith(".jar")
    }
    return _pinned(version, sorted(artifacts))


def _pinned(version: str, paths: list[str]) -> dict[str, object]:
    with httpx.Client(base_url=f"{MAVEN_CENTRAL_URL}/", timeout=120, follow_redirects=True) as client:
        return {"version": version, "files": [_digest(client, path) for path in paths]}


def _digest(client: httpx.Client, path: str) -> dict[str, str | int]:
    content = client.get(path).raise_for_status().content
    # Maven's own checksum, so that a damaged transfer is not pinned for ever.
    published = client.get(f"{path}.sha1").raise_for_status().text.split()[0]
    if hashlib.sha1(content, usedforsecurity=False).hexdigest() != published:
        raise SystemExit(f"{path}: not what its publisher says; nothing pinned")
    return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


if __name__ == "__main__":
    Path(MANIFEST).write_text(json.dumps(pin(), indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{MANIFEST} written\n")
