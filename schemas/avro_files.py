"""The `.avsc` files of the contract: found, completed with the common head, parsed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import fastavro

AVRO_DIR: Final = Path(__file__).with_name("avro")
HEAD: Final = "sallyport.Head"


@cache
def avsc_path(name: str) -> Path:
    """The file of a record of the contract, by its short name. Raises KeyError for a name that is none."""
    found = list(AVRO_DIR.glob(f"*/{name}.avsc"))
    if len(found) != 1:
        raise KeyError(f"no record {name!r} in the contract")
    return found[0]


def record_names() -> list[str]:
    """Short names of all records of the contract, the head aside."""
    return sorted(path.stem for path in AVRO_DIR.glob("*/*.avsc") if path.stem != "Head")


@cache
def whole_schema(name: str) -> str:
    """The record's schema as JSON that stands alone: the head written out where it is first used."""
    schema = json.loads(avsc_path(name).read_text(encoding="utf-8"))
    for field in schema["fields"]:
        if field["type"] == HEAD:
            field["type"] = json.loads(avsc_path("Head").read_text(encoding="utf-8"))
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


@cache
def parsed_schema(name: str) -> Any:
    """The record's schema as fastavro wants it."""
    return fastavro.parse_schema(json.loads(whole_schema(name)))


@cache
def parsed_parts(name: str) -> tuple[Any, Any]:
    """An event's head and body as schemas of their own: Avro writes a record as its fields one after the other, and the
    head is the first. Raises KeyError for a record that is no event."""
    schema = json.loads(whole_schema(name))
    head, *rest = schema["fields"]
    if head["name"] != "head":
        raise KeyError(f"{name} begins with no head")
    return fastavro.parse_schema(head["type"]), fastavro.parse_schema({**schema, "fields": rest})
