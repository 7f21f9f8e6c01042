"""What a broker, or its client, says of an error, as a line for people."""

from __future__ import annotations

from confluent_kafka import KafkaException


def in_a_line(error: KafkaException) -> str:
    """The first line of it: what comes after is the client's own."""
    return str(error.args[0].str()).splitlines()[0]
