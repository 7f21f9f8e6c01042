"""Variants: what came under one event id for one person and role. One content, or by an agency's mistake several. Pure.

All are kept, since where they meet may change with what is known of identities; one of them stands, everywhere and
whichever came first: that with the smaller digest of what it says. The digest is of the decoded event, since one and
the same event may be written with two versions of its schema.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from schemas.codec import digest
from schemas.events import Event, type_name
from streams.facts import Conflict, Fact

Variants: TypeAlias = tuple[Fact, ...]
"""The first stands. Nearly always there is only one."""
Read: TypeAlias = Callable[[Fact], Event]
"""The whole event of a fact."""


def with_variant(variants: Variants, fact: Fact, read: Read) -> tuple[Variants, Conflict | None]:
    """The variants with one more; a conflict where it says something else than the one that stood.

    Of the same content by the same number of the person, it replaces the one that is there: it may have come another
    way. By another number it is kept beside it: either may go again.
    """
    others = tuple(one for one in variants if one.raw != fact.raw or one.forwarded_from != fact.forwarded_from)
    if not others:
        return (fact,), None
    ranked = tuple(sorted((*others, fact), key=lambda one: _rank(one, read)))
    stood = others[0]
    if _rank(stood, read)[:2] == _rank(fact, read)[:2]:
        return ranked, None
    stands, falls = (fact, stood) if ranked[0] is fact else (stood, fact)
    return ranked, Conflict(stands=stands, falls=falls)


def _rank(fact: Fact, read: Read) -> tuple[str, str, str, bytes]:
    event = read(fact)
    said = digest([type_name(event), event.model_dump(mode="json")])
    # What names the person itself comes first: it stays, whatever joined others.
    return said, fact.rarity.same_as or "", fact.forwarded_from, fact.raw
