"""A police unit, and what it does: each act changes the county, is told, and is looked at for what is true by it."""

from __future__ import annotations

from typing import Final

from producers.simulator.county import DAY, EXPECTED_DAYS, FEUD_DAYS, Tip, Violence
from producers.simulator.people import Person
from producers.simulator.world import World, state_number
from schemas.site import Agency

PLACES: Final = ("Mill Street and 3rd", "Ferry Landing", "Old Quarry Road", "Northgate car park", "5th and Main")

POLICE_EVENTS: Final = frozenset({"AffiliationReported", "StreetViolenceReported", "ContrabandTipped", "TipOutcome"})


def is_police(agency: Agency) -> bool:
    """Whether an agency may tell all that a police unit tells."""
    return set(agency.event_types) >= POLICE_EVENTS


class Police:
    """One agency."""

    def __init__(self, world: World, agency: str) -> None:
        self.world = world
        self.agency = agency
        self._state = world.site.agency_by_id[agency].ori[:2]

    def report(self, person: Person, group: str, status: str) -> None:
        """Say how somebody stands with a group."""
        world = self.world
        criteria = ["field contact"] if world.if_known("field contact") else []
        world.tell(
            self.agency,
            "AffiliationReported",
            [state_number(person, self._state)],
            group=group,
            status=status,
            reliability=world.choose.choice("ABC"),
            credibility=world.choose.randint(1, 3),
            criteria=criteria,
        )
        world.county.standings[person][group.casefold(), self.agency] = status
        world.truth.look_at_units_of(person, world.now)

    def violence(self, groups: tuple[str, str], *, retaliation: bool, time: int | None = None) -> None:
        """Report violence between two groups, of now or of an earlier time."""
        world, when = self.world, self.world.now if time is None else time
        said = world.tell(
            self.agency,
            "StreetViolenceReported",
            time=when,
            incident_number=world.number(),
            groups=list(groups),
            place=world.if_known(world.choose.choice(PLACES)) or "",
            retaliation_expected=retaliation,
        )
        # The bus counts our days: in a county that lives faster whole weeks would pass in feud, if nobody took it back.
        until = when + (EXPECTED_DAYS if retaliation else FEUD_DAYS) * min(DAY, world.hours(24))
        world.county.violence.append(Violence(frozenset(map(str.casefold, groups)), when, until, self.agency, said))
        world.truth.look_everywhere(world.now)
        is_taken_back = world.speed > 1 and until > world.now
        world.later(until, lambda: self._is_over(said, is_taken_back=is_taken_back))

    def _is_over(self, violence: str, *, is_taken_back: bool) -> None:
        if is_taken_back:
            self.world.tell(self.agency, "EventWithdrawn", target_event_id=violence, reason="SUPERSEDED")
        self.world.truth.look_everywhere(self.world.now)

    def tip(
        self,
        *,
        recipient: Person | None = None,
        by_number: bool = True,
        courier: Person | None = None,
        facility: str | None = None,
        method: str | None = None,
        window: tuple[int, int] | None = None,
        substance: str = "",
        handling: str = "ACT",
        touches_staff: bool = False,
    ) -> Tip:
        """Say that contraband is to come. The birth of a courier is said where it is known."""
        world = self.world
        born = world.if_known(courier.born) if courier else None
        numbered = recipient is not None and by_number
        event_id = world.tell(
            self.agency,
            "ContrabandTipped",
            [state_number(recipient, self._state)] if recipient is not None and numbered else [],
            facility=facility,
            recipient_name=world.spelled(recipient) if recipient is not None and not numbered else None,
            courier_name=world.spelled(courier) if courier else None,
            courier_born=born,
            method=method or "UNKNOWN",
            substance=substance,
            expected_from=window[0] if window else None,
            expected_until=window[1] if window else None,
            handling=handling,
            deconfliction_reference=world.number(),
            touches_staff=touches_staff,
            reliability=world.choose.choice("ABC"),
            credibility=world.choose.randint(1, 3),
            narrative=world.if_known("Heard from a source that asks not to be named."),
        )
        said = recipient, numbered, courier, born is not None, facility, method, window, touches_staff, world.reaches
        tip = world.county.tips[event_id] = Tip(self.agency, event_id, world.now, *said)
        world.truth.look_at_tip(tip, world.now)
        return tip

    def close(self, tip: Tip, outcome: str) -> None:
        """Say what became of a tip."""
        self.world.tell(self.agency, "TipOutcome", target_event_id=tip.event_id, outcome=outcome)
        self._over(tip)

    def withdraw(self, tip: Tip) -> None:
        """Take a tip back."""
        self.world.tell(self.agency, "EventWithdrawn", target_event_id=tip.event_id, reason="ENTERED_IN_ERROR")
        self._over(tip)

    def _over(self, tip: Tip) -> None:
        tip.ended = True
        self.world.truth.look_at_tip(tip, self.world.now)
        self.world.county.tips.pop(tip.event_id, None)
