"""A jail, and what it does: each act changes the county, is told, and is looked at for what is true by it."""

from __future__ import annotations

import random
from typing import Any, Final

from producers.simulator.county import Delivery, Stay, Validation
from producers.simulator.court import Court
from producers.simulator.noise import HOUR
from producers.simulator.people import Person
from producers.simulator.world import Process, World, state_number
from schemas.site import Facility, Site

INTAKE: Final = "INTAKE"
VISIT_LINGERS: Final = 2 * HOUR
"""How long after its end a visit may still take place, where nobody says that it is over, microseconds. This and the
next two: docs/contraband.md."""
KEPT: Final = 72 * HOUR
"""How long mail is in the mail room, and money that was paid in says something."""
RETURN_LINGERS: Final = 12 * HOUR
"""How long after the hour somebody may come back."""
CORRECTED_H: Final = 6.0
"""Hours after which somebody sees that an entry is the wrong person's."""
CHARGES: Final = ("120.05", "140.20", "155.30", "160.10", "220.03", "265.03")

JAIL_EVENTS: Final = frozenset(
    {
        "BookingReported",
        "HousingAssigned",
        "CustodyClassified",
        "DisciplinaryRecorded",
        "AffiliationValidated",
        "CustodyEnded",
        "VisitScheduled",
        "VisitCancelled",
        "VisitCompleted",
        "MailReceived",
        "DepositReceived",
        "MovementScheduled",
        "ContrabandSeized",
        "CallCompleted",
    }
)


def is_jail(facility: Facility, site: Site) -> bool:
    """Whether a facility has an intake and another unit, and those who run it may tell all that a jail tells."""
    return _has_room(facility) and not untellable(facility, site)


def untellable(facility: Facility, site: Site) -> frozenset[str]:
    """What those who run a facility that is built like a jail may not tell of what a jail tells, as types of events."""
    return JAIL_EVENTS.difference(
        site.agency_by_id[facility.agency].event_types if _has_room(facility) else JAIL_EVENTS
    )


def _has_room(facility: Facility) -> bool:
    return INTAKE in facility.unit_ids and len(facility.unit_ids) > 1


class Jail:
    """One facility."""

    def __init__(self, world: World, facility: Facility, court: Court | None) -> None:
        self.world = world
        self.facility = facility
        self._court = court
        """To which people are taken, if there is one."""
        self.units = [unit.id for unit in facility.units if unit.id != INTAKE]
        self._state = world.site.agency_by_id[facility.agency].ori[:2]
        self._capacity = {unit.id: unit.capacity for unit in facility.units}

    @property
    def stays(self) -> dict[str, Stay]:
        """Who is in custody, by booking number."""
        return self.world.county.stays[self.facility.id]

    # -- custody ---------------------------------------------------------------------------------------------------

    def book(self, person: Person) -> Stay:
        """Somebody is brought in."""
        world = self.world
        stay = Stay(person, self.facility, world.number(), INTAKE)
        self.stays[stay.number] = stay
        self._tell(
            "BookingReported",
            stay,
            self._ids_at_booking(person),
            admitted=world.now,
            legal_status="pretrial",
            charges=[world.choose.choice(CHARGES)],
            name=world.spelled(person),
        )
        self.house(stay, INTAKE)
        return stay

    def _ids_at_booking(self, person: Person) -> list[dict[str, str]]:
        world, own = self.world, self._own_number(person)
        if (person, self.facility.agency) in world.county.printed:
            return [own, state_number(person, self._state)]
        if world.errors.random() < world.noise.unsure:
            # Said by the person, and another's: prints come with the classification.
            other = next((stay.person for stay in self.stays.values() if stay.person is not person), person)
            return [own, state_number(other, self._state, "STATED")]
        self._print(person)
        return [own, state_number(person, self._state)]

    def _print(self, person: Person) -> None:
        """Compare fingerprints: from then on it is known who it is."""
        world = self.world
        world.county.printed.add((person, self.facility.agency))
        world.truth.look_at_units_of(person, world.now)
        for stay in world.county.stays_of(person):
            coming = [*world.county.expected_by(person, stay.facility.id)]
            world.truth.look_at_deliveries(stay.facility.id, coming, world.now)

    def house(self, stay: Stay, unit: str) -> None:
        """Assign a housing unit."""
        world, before = self.world, stay.unit
        world.truth.leaves(stay, world.now)
        stay.unit = unit
        self._tell("HousingAssigned", stay, unit=unit, cell=world.if_known(f"{world.choose.randint(1, 24):02}"))
        for seen in dict.fromkeys((before, unit)):
            world.truth.look_at_unit(self.facility.id, seen, world.now)

    def room_for(self, stay: Stay) -> str:
        """A unit with a free bed in which nobody is of a group at feud with theirs, as far as the jail knows."""
        county = self.world.county
        units = self.world.choose.sample(self.units, len(self.units))
        free = [unit for unit in units if len(county.in_unit(self.facility.id, unit)) < (self._capacity[unit] or 999)]
        rivals = county.rivals_of(stay, self.world.now)
        if rivals:
            free.sort(
                key=lambda unit: sum(bool(county.sides(one) & rivals) for one in county.in_unit(stay.facility.id, unit))
            )
        return free[0] if free else units[0]

    def classify(self, stay: Stay, level: str) -> None:
        """Give a custody level; the first time fingerprints are back."""
        world = self.world
        ids = None
        if (stay.person, self.facility.agency) not in world.county.printed:
            self._print(stay.person)
            ids = [self._own_number(stay.person), state_number(stay.person, self._state)]
        initial = not stay.level
        stay.level, stay.classified = level, world.now
        instrument = world.if_known("point scale")
        self._tell("CustodyClassified", stay, ids, level=level, initial=initial, instrument=instrument)
        world.truth.look_at_stay(stay, world.now)

    def infraction(self, stay: Stay, severity: str, *, violent: bool, time: int | None = None) -> None:
        """Record an infraction, of now or of an earlier time; now and then of the wrong person first."""
        world = self.world
        bystanders = [one for one in self.stays.values() if one is not stay and not one.cast and one.level]
        if time is None and bystanders and world.errors.random() < world.noise.unsure:
            wrong = world.errors.choice(bystanders)
            entered = self._record(wrong, severity, violent, world.now)
            world.begin(self._corrected(entered, wrong, stay, severity, violent))
        else:
            self._record(stay, severity, violent, world.now if time is None else time)

    def _record(self, stay: Stay, severity: str, violent: bool, time: int) -> str:
        fields: dict[str, Any] = {"infraction": "101.11" if violent else "102.10", "severity": severity}
        event_id = self._tell("DisciplinaryRecorded", stay, time=time, violent=violent, **fields)
        stay.infractions[event_id] = time
        self.world.truth.look_at_stay(stay, self.world.now)
        return event_id

    def _corrected(self, entered: str, wrong: Stay, right: Stay, severity: str, violent: bool) -> Process:
        world, time = self.world, self.world.now
        yield world.wait(CORRECTED_H)
        world.tell(self.facility.agency, "EventWithdrawn", target_event_id=entered, reason="ENTERED_IN_ERROR")
        del wrong.infractions[entered]
        world.truth.look_at_stay(wrong, world.now)
        if not right.ended:
            self._record(right, severity, violent, time)

    def validate(self, stay: Stay, group: str, status: str) -> None:
        """The jail's own staff say how somebody stands with a group."""
        world, person = self.world, stay.person
        criteria = ["self-admission"] if world.if_known("self-admission") else []
        self._tell("AffiliationValidated", stay, group=group, status=status, criteria=criteria)
        world.county.validations[person, self.facility.id][group.casefold()] = Validation(status, world.now)
        world.county.standings[person][group.casefold(), self.facility.agency] = status
        world.truth.look_at_units_of(person, world.now)
        world.truth.look_at_stay(stay, world.now)

    def release(self, stay: Stay, reason: str) -> None:
        """Somebody leaves custody."""
        world, facility = self.world, self.facility.id
        self._tell("CustodyEnded", stay, reason=reason)
        world.truth.leaves(stay, world.now)
        stay.ended = True
        del self.stays[stay.number]
        world.truth.look_at_stay(stay, world.now)
        world.truth.look_at_unit(facility, stay.unit, world.now)
        coming = world.county.deliveries[facility]
        gone = [one for one in coming.values() if one.stay is stay]
        world.truth.look_at_deliveries(facility, gone, world.now)
        for one in gone:
            del coming[one.method, one.number]

    def called(self, stay: Stay, number: str, contact: str, seconds: int, chance: random.Random) -> None:
        """Somebody in custody has telephoned. `chance`: of the telephones' own chances."""
        called_number = None if chance.random() < self.world.noise.missing else number
        said: dict[str, Any] = {"called_number": called_number, "contact": contact, "seconds": seconds}
        self._tell(
            "CallCompleted", stay, chance=chance, call_number=f"{self.world.run}-{chance.getrandbits(40):010x}", **said
        )

    # -- what comes in ---------------------------------------------------------------------------------------------

    def visit(
        self, stay: Stay, visitor: Person, starts: int, *, contact: str = "ORDINARY", setting: str = "CONTACT"
    ) -> Delivery:
        """Schedule a visit of an hour."""
        world = self.world
        born = world.if_known(visitor.born)
        number, ends = world.number(), starts + world.hours(1)
        visit = Delivery(stay, "VISIT", number, visitor, born is not None, starts, ends + VISIT_LINGERS, ends)
        self._tell_visit(visit, world.spelled(visitor), born, contact, setting)
        if contact == "ORDINARY" and setting != "VIDEO":
            self._comes(visit)
        return visit

    def put_off(self, visit: Delivery, starts: int) -> None:
        """Schedule a visit anew, under its number."""
        world = self.world
        visit.at, visit.ends = starts, starts + world.hours(1)
        visit.over = visit.ends + VISIT_LINGERS
        if visit.party is not None:
            born = visit.party.born if visit.birth_known else None
            self._tell_visit(visit, world.spelled(visit.party), born, "ORDINARY", "CONTACT")
        self._comes(visit)

    def _tell_visit(self, visit: Delivery, name: str, born: str | None, contact: str, setting: str) -> None:
        said: dict[str, Any] = {
            "visit_number": visit.number,
            "visitor_name": name,
            "visitor_born": born,
            "contact": contact,
            "setting": setting,
            "starts": visit.at,
            "ends": visit.ends,
        }
        self._tell("VisitScheduled", visit.stay, **said)

    def cancel(self, visit: Delivery) -> None:
        """A visit will not take place."""
        self._tell("VisitCancelled", visit.stay, visit_number=visit.number)
        self._over(visit)

    def complete(self, visit: Delivery) -> None:
        """A visit is over."""
        self._tell("VisitCompleted", visit.stay, visit_number=visit.number)
        self._over(visit)

    def mail(self, stay: Stay, sender: Person, contact: str = "ORDINARY") -> Delivery:
        """Mail comes to the mail room."""
        world = self.world
        name = world.if_known(world.spelled(sender))
        item = self._came(stay, "MAIL", sender if name else None)
        self._tell("MailReceived", stay, item_number=item.number, sender_name=name, contact=contact)
        if contact == "ORDINARY":
            self._comes(item)
        return item

    def deposit(self, stay: Stay, payer: Person) -> Delivery:
        """Money is paid in."""
        world = self.world
        name = world.if_known(world.spelled(payer))
        paid = self._came(stay, "DEPOSIT", payer if name else None)
        self._tell("DepositReceived", stay, transaction_number=paid.number, depositor_name=name, contact="ORDINARY")
        self._comes(paid)
        return paid

    def _came(self, stay: Stay, method: str, party: Person | None) -> Delivery:
        now = self.world.now
        return Delivery(stay, method, self.world.number(), party, False, now, now + KEPT)

    def goes_out(self, stay: Stay, purpose: str, returns: int) -> Delivery:
        """Somebody is taken to court, or goes with a work crew."""
        if purpose == "COURT" and self._court is not None:
            self._court.hears(stay.person, (self.world.now + returns) // 2)
        number, method = self.world.number(), "COURT_RETURN" if purpose == "COURT" else "WORK_CREW"
        movement = Delivery(stay, method, number, None, False, returns, returns + RETURN_LINGERS)
        self._tell("MovementScheduled", stay, movement_number=number, purpose=purpose, returns=returns)
        self._comes(movement)
        return movement

    def seize(self, delivery: Delivery, substance: str) -> None:
        """Contraband was found with a delivery."""
        self._tell(
            "ContrabandSeized",
            delivery.stay,
            method=delivery.method,
            reference=delivery.number,
            substance=substance,
        )
        self._over(delivery)

    def _comes(self, delivery: Delivery) -> None:
        """It was told just now."""
        world, facility = self.world, self.facility.id
        delivery.said, delivery.known = world.now, world.reaches
        world.county.deliveries[facility][delivery.method, delivery.number] = delivery
        world.truth.look_at_deliveries(facility, [delivery], world.now)
        world.later(delivery.over, lambda: self._lapses(delivery))

    def _lapses(self, delivery: Delivery) -> None:
        if self.world.now >= delivery.over and not delivery.ended:
            self._over(delivery)

    def _over(self, delivery: Delivery) -> None:
        world, facility = self.world, self.facility.id
        delivery.ended = True
        world.truth.look_at_deliveries(facility, [delivery], world.now)
        world.county.deliveries[facility].pop((delivery.method, delivery.number), None)

    # -- telling ---------------------------------------------------------------------------------------------------

    def _own_number(self, person: Person) -> dict[str, str]:
        return own_number(person, self.facility, self.world.run)

    def _tell(
        self,
        kind: str,
        stay: Stay,
        ids: list[dict[str, str]] | None = None,
        time: int | None = None,
        chance: random.Random | None = None,
        **fields: Any,
    ) -> str:
        return self.world.tell(
            self.facility.agency,
            kind,
            ids or [self._own_number(stay.person)],
            time,
            chance,
            facility=self.facility.id,
            booking_number=stay.number,
            **fields,
        )


def own_number(person: Person, facility: Facility, run: str) -> dict[str, str]:
    """The number of a person at those who run a facility, as an event has it."""
    issuer = f"{facility.agency}.{run}"
    return {"kind": "LOCAL", "value": f"{person.number:06}", "issuer": issuer, "verified": "SYSTEM"}
