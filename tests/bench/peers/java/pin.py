"""Pin the Java programs of the bench: `python tests/bench/peers/java/pin.py` writes artifacts.json beside it.

Kafka Streams at the embedded broker's version, and a compiler: the JRE that runs both has none.
"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.pin import KAFKA, LOGGING, pin_jars

COMPILER = "3.43.0"

if __name__ == "__main__":
    artifacts = {
        "kafka-streams": pin_jars(KAFKA, f"org.apache.kafka:kafka-streams:{KAFKA}", LOGGING),
        "ecj": pin_jars(COMPILER, f"org.eclipse.jdt:ecj:{COMPILER}"),
    }
    manifest = Path(__file__).with_name("artifacts.json")
    manifest.write_text(json.dumps(artifacts, indent=1) + "\n", encoding="utf-8")
    print(f"{manifest.name} written")
