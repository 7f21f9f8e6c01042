"""One alert in full: what to consider, who, why, and on what authority it is shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from consumers import words
from consumers.alert_list import badge
from consumers.board import Caution, Entry, Notice, Standing, Why
from schemas.site import Site

CALL_FIRST: Final = "CALL_FIRST"
REFERENCE: Final = "Deconfliction reference"
"""How the piece of evidence begins that has one."""


def detail(line: Entry | Notice, site: Site, now: int, zone: tzinfo, desk_now: int) -> RenderableType:
    """What the desk knows of an alert or a notice.

    `now` is the time that the alert's own times are told from; `desk_now` is the desk's, for what was done at desks.
    """
    return _notice(line) if isinstance(line, Notice) else _alert(line, site, now, zone, desk_now)


def _notice(notice: Notice) -> RenderableType:
    parts: list[RenderableType] = [
        Text(words.notice(notice), "bold"),
        Text("All of these came together. a acknowledges those that are open.", "dim"),
        Text(),
    ]
    for entry in notice.entries[:100]:
        headline = f"{'over: ' if entry.is_over else ''}{entry.alert.headline}"
        parts.append(_item("•", Text(headline, "dim" if entry.is_over else "")))
    if len(notice.entries) > 100:  # noqa: PLR2004
        parts.append(Text(f"  and {len(notice.entries) - 100:,} more", "dim"))
    return Group(*parts)


def _alert(entry: Entry, site: Site, now: int, zone: tzinfo, desk_now: int) -> RenderableType:
    alert = entry.alert
    over = entry.is_over
    headline = Text.assemble(badge(alert.severity), " ", (alert.headline, "bold"))
    parts: list[RenderableType] = [Text(f"over: {alert.headline}", "dim bold") if over else headline]
    where = words.place(alert, site)
    raised = f"raised {words.when(alert.opened, now, zone, named=True)}"
    changed = f"changed {words.when(alert.at, now, zone)}" if alert.at != alert.opened else ""
    parts.append(Text(" · ".join(part for part in (where, raised, changed, words.confidence(alert)) if part)))
    if alert.due is not None and not over:
        parts.append(Text(f"Expected {words.when(alert.due, now, zone)}, {words.expected(alert, now)}", "bold"))
    parts.append(_standing(entry, desk_now, zone))
    if alert.caution is not None and not over:
        parts += _limit(alert.caution, site, alert.why)
    if alert.actions and not over:
        parts.append(_title(f"What could be done{_within(alert.caution)}, the mildest first; you decide"))
        parts += [_item(f"{number}.", Text(action)) for number, action in enumerate(alert.actions, 1)]
    if alert.persons:
        parts.append(_title("Persons"))
        for who in alert.persons:
            known = f" · identified by {who.linked_by}" if who.linked_by else ""
            parts.append(_item("•", Text.assemble(words.person(who), (known, "dim"))))
    parts.append(_title("Why, with whose information it is and when it happened"))
    for why in alert.why:
        parts.append(_item("•", Text.assemble(why.text, (f" · {_from(why, site, now, zone)}", "dim"))))
    if alert.left_out:
        are = "piece of evidence is" if alert.left_out == 1 else "pieces of evidence are"
        parts.append(
            Text(f"{alert.left_out} {are} not shown: no agreement lets this desk see more. Do not guess at it.")
        )
    titles = {agreement.id: agreement.title for agreement in site.agreements}
    if alert.agreements:
        parts.append(_title("Shown to this desk under"))
        by_title: dict[str, list[str]] = {}
        for name in alert.agreements:
            by_title.setdefault(titles.get(name, ""), []).append(name)
        parts += [_item("•", Text(f"{title} ({', '.join(names)})".strip())) for title, names in by_title.items()]
    if alert.until is not None and not over:
        parts.append(Text(f"If nothing new comes, it is weighed anew at {words.when(alert.until, now, zone)}.", "dim"))
    return Group(*parts)


def _limit(caution: Caution, site: Site, why: Sequence[Why]) -> list[RenderableType]:
    """What whoever gave the information asks; and how they are reached, where that is the first thing to do."""
    parts: list[RenderableType] = [
        _title(f"{words.caution(caution)}: whoever gave the information asks this of you"),
        Text(f"{caution.limit}.", "bold yellow"),
    ]
    if site.deconfliction is not None:
        reference = " A reference, if any, is below, under Why." if caution.kind == CALL_FIRST else ""
        parts.append(Text(f"The deconfliction service: {site.deconfliction}.{reference}"))
    elif caution.kind == CALL_FIRST and any(one.text.startswith(REFERENCE) for one in why):
        parts.append(Text("This site names no deconfliction service: go by the reference below, under Why."))
    elif caution.kind == CALL_FIRST:
        parts.append(Text("Nobody to call is named to this desk: do what is done with everybody, and no more."))
    return parts


def _within(caution: Caution | None) -> str:
    if caution is None:
        return ""
    return " once that is done" if caution.kind == CALL_FIRST else " within that"


def _from(why: Why, site: Site, now: int, zone: tzinfo) -> str:
    """Whose information it is, and of when."""
    if not why.agency:
        return "its source is kept from this desk"
    agency = site.agency_by_id.get(why.agency)
    time = words.when(why.event_time, now, zone) if why.event_time is not None else "time not shown"
    return f"{agency.name if agency else why.agency}, {time}"


def _standing(entry: Entry, desk_now: int, zone: tzinfo) -> Text:
    known, caution = entry.acknowledged, entry.alert.caution
    said = f"{words.when(known.at, desk_now, zone)} by {known.by}" if known else ""
    if entry.over_at is not None:
        why = words.over_because(entry)
        several, then = ", one of these" if words.OR in why else "", words.until_known(entry)
        parts = [
            f"Over since {words.when(entry.over_at, desk_now, zone)}{several}: {why}.",
            f"{then}." if then else "",
            f"It was acknowledged {said}; that ends no alert." if known else "",
            f"{words.caution(caution)} still holds, whatever is done because of it." if caution else "",
        ]
        return Text(" ".join(part for part in parts if part), "bold")
    if entry.standing is Standing.ACKNOWLEDGED:
        called = ". Whether the call was made, nobody says here" if caution and caution.kind == CALL_FIRST else ""
        return Text(f"✓ Acknowledged {said}{called}", "green")
    if entry.standing is Standing.CHANGED:
        return Text(f"◐ Changed since acknowledged {said}: press a again", "bold yellow")
    return Text("● Not acknowledged: press a", "bold yellow")


def _title(text: str) -> Text:
    return Text(text, "bold underline")


def _item(mark: str, text: Text) -> RenderableType:
    """A text with its mark; further lines of it stand below its beginning."""
    grid = Table.grid()
    grid.add_column(width=len(mark) + 2)
    grid.add_column(ratio=1)
    grid.add_row(f" {mark}", text)
    return grid
