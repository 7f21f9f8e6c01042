"""Scenes: what is put on so that there is something to find, and the decoys that look like it and are nothing.

Each is a process: people are cast, something is done, time goes by. What is true by it the county's truth sees for
itself; a decoy is noted with why it is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Final

from producers.simulator.county import DAY, FEUD_DAYS, Delivery, Stay, Tip
from producers.simulator.jail import Jail
from producers.simulator.life import AT_ONCE_H, GROUPS, Life
from producers.simulator.noise import HOUR
from producers.simulator.police import Police
from producers.simulator.truth import Decoy
from producers.simulator.world import Process

SUBSTANCES: Final = ("fentanyl", "suboxone strips", "oxycodone pills", "tobacco", "a phone", "")
WINDOW_H: Final = 8.0
"""Hours before and after its time that a tip speaks of."""
SETTLED_H: Final = 8.0
"""Hours between what a decoy rests on and what makes it look like something: what is told late has come by then."""


class Stage:
    """Where scenes play: daily life, and what it takes to step into it."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.world = life.world
        self.choose = life.choose

    def jail(self) -> Jail:
        """One of the jails."""
        return self.choose.choice(self.life.jails)

    def police(self) -> Police:
        """One of the units."""
        return self.choose.choice(self.life.police)

    def quarrel(self) -> tuple[str, str]:
        """Two groups, in the order in which somebody says them."""
        first, second = self.choose.sample(GROUPS, 2)
        return first, second

    def are_at_feud(self, groups: tuple[str, str]) -> bool:
        """Whether the two are already."""
        return tuple(sorted(map(str.casefold, groups))) in self.world.county.feuds(self.world.now)

    def decoy(self, why: str, *stays: Stay) -> None:
        """Note that what the scene did is nothing."""
        bookings = tuple(sorted(stay.number for stay in stays))
        truth = self.world.truth
        truth.decoys.append(Decoy(truth.scene, why, self.world.now, bookings))

    def tip_on(
        self,
        police: Police,
        delivery: Delivery,
        *,
        by_number: bool = True,
        staff: bool = False,
        window: tuple[int, int] | None = None,
    ) -> Tip:
        """A tip that means a delivery, and says most of it; by its `window`, or some hours around it."""
        around = self.world.hours(WINDOW_H)
        return police.tip(
            recipient=delivery.stay.person,
            by_number=by_number,
            courier=delivery.party,
            facility=delivery.stay.facility.id,
            method=delivery.method,
            window=window or (delivery.at - around, delivery.at + around),
            substance=self.choose.choice(SUBSTANCES),
            handling=self.choose.choice(("ACT", "ACT", "CALL_FIRST", "WATCH_ONLY")),
            touches_staff=staff,
        )


Scene = Callable[[Stage], Process]
Groups = tuple[str, str]
OfTwo = Callable[[Stage, Jail, Groups, Stay, Stay], Process]
OfOne = Callable[[Stage, Jail, Stay], Process]
OfATip = Callable[[Stage, Jail, Police, Stay], Process]


def of_two(*, at_peace: bool) -> Callable[[OfTwo], Scene]:
    """A scene of two people in one jail and of two groups; `at_peace`: it is not played where they are at feud."""

    def make(scene: OfTwo) -> Scene:
        @wraps(scene)
        def played(stage: Stage) -> Process:
            jail, groups = stage.jail(), stage.quarrel()
            pair = stage.life.cast(jail, 2, known=True)
            if pair and not (at_peace and stage.are_at_feud(groups)):
                yield from scene(stage, jail, groups, *pair)
            _dismiss(pair)

        return played

    return make


def of_one(scene: OfOne) -> Scene:
    """A scene of one person."""

    @wraps(scene)
    def played(stage: Stage) -> Process:
        jail = stage.jail()
        for stay in stage.life.cast(jail):
            yield from scene(stage, jail, stay)
            _dismiss([stay])

    return played


def of_a_tip(*, known: bool) -> Callable[[OfATip], Scene]:
    """A scene of one person and of who gives a tip; `known`: the person's fingerprints are."""

    def make(scene: OfATip) -> Scene:
        @wraps(scene)
        def played(stage: Stage) -> Process:
            jail, police = stage.jail(), stage.police()
            for stay in stage.life.cast(jail, known=known):
                yield from scene(stage, jail, police, stay)
                _dismiss([stay])

        return played

    return make


def _dismiss(stays: Iterable[Stay]) -> None:
    for stay in stays:
        stay.cast = False


# -- rivals ----------------------------------------------------------------------------------------------------------


@of_two(at_peace=False)
def rivals_are_housed_together(stage: Stage, jail: Jail, groups: Groups, one: Stay, other: Stay) -> Process:
    """Members of groups at feud are in units of their own, until one is moved."""
    jail.validate(one, groups[0], "MEMBER")
    stage.police().report(other.person, groups[1], stage.choose.choice(("MEMBER", "SUSPECT")))
    if not stage.are_at_feud(groups):
        yield stage.world.wait(2)
        stage.police().violence(groups, retaliation=stage.choose.random() < 0.4)
    yield stage.world.wait(SETTLED_H)
    if other.unit != one.unit:
        jail.house(other, one.unit)


@of_two(at_peace=True)
def violence_breaks_out(stage: Stage, jail: Jail, groups: Groups, one: Stay, other: Stay) -> Process:
    """Two share a unit, and nobody minds, until there is violence outside."""
    jail.validate(one, groups[0], "MEMBER")
    jail.validate(other, groups[1], "MEMBER")
    yield stage.world.wait(1)
    jail.house(other, one.unit)
    yield stage.world.wait(SETTLED_H)
    stage.police().violence(groups, retaliation=True)


@of_two(at_peace=True)
def moved_away_before(stage: Stage, jail: Jail, groups: Groups, one: Stay, other: Stay) -> Process:
    """They did share a unit; when there is violence they do no more."""
    jail.validate(one, groups[0], "MEMBER")
    stage.police().report(other.person, groups[1], "MEMBER")
    yield stage.world.wait(1)
    jail.house(other, one.unit)
    yield stage.world.wait(3)
    jail.house(other, stage.choose.choice([unit for unit in jail.units if unit != one.unit]))
    yield stage.world.wait(SETTLED_H)
    stage.police().violence(groups, retaliation=False)
    stage.decoy("they are in one unit no more when the feud begins", one, other)


def same_unit_of_another_jail(stage: Stage) -> Process:
    """Both are in a unit of that name, each in another jail."""
    jail, elsewhere = stage.choose.sample(stage.life.jails, 2)
    groups = stage.quarrel()
    pair = [*stage.life.cast(jail, known=True), *stage.life.cast(elsewhere, known=True)]
    if len(pair) < 2:
        _dismiss(pair)
        return
    stage.police().report(pair[0].person, groups[0], "MEMBER")
    stage.police().report(pair[1].person, groups[1], "MEMBER")
    both = sorted(set(jail.units) & set(elsewhere.units))
    if both:
        unit = stage.choose.choice(both)
        yield stage.world.wait(1)
        jail.house(pair[0], unit)
        elsewhere.house(pair[1], unit)
    yield stage.world.wait(SETTLED_H)
    stage.police().violence(groups, retaliation=False)
    stage.decoy("the units are of two jails", *pair)
    _dismiss(pair)


@of_two(at_peace=False)
def dropout_among_them(stage: Stage, jail: Jail, groups: Groups, one: Stay, other: Stay) -> Process:
    """One of them has left the group, or only knows some of it."""
    jail.validate(other, groups[1], stage.choose.choice(("DROPOUT", "ASSOCIATE")))
    yield stage.world.wait(1)
    jail.house(other, one.unit)
    yield stage.world.wait(1)
    stage.police().report(one.person, groups[0], "MEMBER")
    yield stage.world.wait(SETTLED_H)
    stage.police().violence(groups, retaliation=False)
    stage.decoy("one of them counts for no side", one, other)


@of_two(at_peace=True)
def feud_is_over(stage: Stage, jail: Jail, groups: Groups, one: Stay, other: Stay) -> Process:
    """What is told of happened longer ago than a feud lasts."""
    stage.police().report(one.person, groups[0], "MEMBER")
    stage.police().report(other.person, groups[1], "MEMBER")
    yield stage.world.wait(1)
    jail.house(other, one.unit)
    stage.police().violence(groups, retaliation=False, time=stage.world.now - FEUD_DAYS * DAY - stage.world.hours(1))
    stage.decoy("the last violence is more than two weeks ago", one, other)


@of_two(at_peace=False)
def namesake_is_a_member(stage: Stage, jail: Jail, groups: Groups, one: Stay, other: Stay) -> Process:
    """The police speak of somebody of the same name."""
    stage.police().report(one.person, groups[0], "MEMBER")
    stage.police().report(stage.world.people.namesake(other.person), groups[1], "MEMBER")
    yield stage.world.wait(1)
    jail.house(other, one.unit)
    yield stage.world.wait(SETTLED_H)
    stage.police().violence(groups, retaliation=False)
    stage.decoy("the member is another of that name", one, other)


# -- reviews ---------------------------------------------------------------------------------------------------------


@of_one
def member_is_found_out(stage: Stage, jail: Jail, stay: Stay) -> Process:
    """The jail's own staff validate somebody who was classified without that."""
    jail.validate(stay, stage.choose.choice(GROUPS), "SUSPECT")
    yield stage.world.wait(0)


@of_one
def classified_with_it(stage: Stage, jail: Jail, stay: Stay) -> Process:
    """What is recorded happened before the classification, which weighed it."""
    yield stage.world.wait(SETTLED_H)
    jail.infraction(stay, "MINOR", violent=False, time=stay.classified - stage.world.hours(1))
    stage.decoy("the classification came after it", stay)
    yield stage.world.wait(SETTLED_H)


@of_one
def at_maximum_already(stage: Stage, jail: Jail, stay: Stay) -> Process:
    """Nothing is left to be raised."""
    jail.classify(stay, "MAXIMUM")
    yield stage.world.wait(SETTLED_H)
    jail.infraction(stay, "MAJOR", violent=True, time=stage.world.now)
    stage.decoy("the custody level is the highest", stay)
    yield stage.world.wait(SETTLED_H)


# -- contraband ------------------------------------------------------------------------------------------------------


@of_a_tip(known=True)
def visitor_brings_something(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """A tip means a visit: by the recipient's number or name, with or without staff in it."""
    visit = jail.visit(stay, stage.life.kin(stay), stage.life.visiting_hour(stage.choose.randint(2, 3)))
    yield stage.world.wait(stage.choose.uniform(1, SETTLED_H))
    by_number, staff = stage.choose.random() < 0.5, stage.choose.random() < 0.15
    tip = stage.tip_on(police, visit, by_number=by_number, staff=staff)
    yield stage.world.wait(SETTLED_H + stage.choose.uniform(1, 8))
    yield from _ends(stage, jail, police, visit, tip)


@of_a_tip(known=False)
def visit_is_scheduled_after_the_tip(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """The tip came first; the courier's name is all that it knows of whom."""
    courier, at = stage.world.people.somebody(), stage.life.visiting_hour(3)
    around = stage.world.hours(WINDOW_H)
    tip = police.tip(courier=courier, facility=jail.facility.id, method="VISIT", window=(at - around, at + around))
    yield stage.world.wait(SETTLED_H)
    visit = jail.visit(stay, courier, at)
    yield stage.world.wait(SETTLED_H)
    yield from _ends(stage, jail, police, visit, tip)


@of_a_tip(known=True)
def something_comes_by_mail(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """A tip means a letter, or money, before it has come."""
    method = stage.choose.choice(("MAIL", "DEPOSIT"))
    sender = stage.world.people.somebody()
    now = stage.world.now
    tip = police.tip(
        recipient=stay.person,
        courier=sender,
        method=method,
        window=(now, now + stage.world.hours(72)),
        substance=stage.choose.choice(SUBSTANCES),
    )
    yield stage.world.wait(SETTLED_H)
    item = jail.mail(stay, sender) if method == "MAIL" else jail.deposit(stay, sender)
    yield stage.world.wait(SETTLED_H + stage.choose.uniform(1, 8))
    yield from _ends(stage, jail, police, item, tip)


@of_a_tip(known=True)
def somebody_returns_with_it(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """A tip means the way back from court or a work crew."""
    returns = stage.world.now + stage.world.hours(stage.choose.uniform(30, 40))
    movement = jail.goes_out(stay, stage.choose.choice(("COURT", "WORK_CREW")), returns)
    yield stage.world.wait(SETTLED_H)
    tip = stage.tip_on(police, movement, by_number=stage.choose.random() < 0.5)
    yield stage.world.wait(SETTLED_H + stage.choose.uniform(1, 8))
    yield from _ends(stage, jail, police, movement, tip)


@of_a_tip(known=True)
def said_roughly(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """A tip's time has only a part of the visit in it, or nearly that of the return."""
    delivery = _to_come(stage, jail, stay)
    yield stage.world.wait(SETTLED_H)
    hours, off = stage.world.hours, stage.choose.uniform(0.1, 0.9)
    is_later = delivery.ends is not None or stage.choose.random() < 0.5
    since = delivery.at + hours(off if is_later else -off - 3)
    tip = stage.tip_on(police, delivery, window=(since, since + hours(3)))
    yield stage.world.wait(SETTLED_H)
    yield from _ends(stage, jail, police, delivery, tip)


@of_a_tip(known=True)
def said_in_the_last_hour(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """A tip comes minutes before what it means, and in time: at the gate it is known."""
    world = stage.world
    delivery = _to_come(stage, jail, stay)
    yield world.clock.timeout(delivery.at - world.hours(stage.choose.uniform(0.1, 1)) - world.now)
    tip = stage.tip_on(police, delivery, by_number=stage.choose.random() < 0.5)
    yield world.clock.timeout(delivery.at + world.hours(0.5) - world.now)
    found = stage.choose.random() < 0.5
    if found:
        jail.seize(delivery, "")
    yield world.wait(0.6)
    if delivery.method == "VISIT" and not delivery.ended:
        jail.complete(delivery)
    yield world.wait(SETTLED_H)
    police.close(tip, "FOUND" if found else "NOT_FOUND")


def _to_come(stage: Stage, jail: Jail, stay: Stay) -> Delivery:
    """A visit, or a return, of tomorrow."""
    if stage.choose.random() < 0.6:
        return jail.visit(stay, stage.life.kin(stay), stage.life.visiting_hour(stage.choose.randint(1, 2)))
    purpose, ahead = stage.choose.choice(("COURT", "WORK_CREW")), stage.choose.uniform(30, 40)
    return jail.goes_out(stay, purpose, stage.world.now + stage.world.hours(ahead))


def _ends(stage: Stage, jail: Jail, police: Police, delivery: Delivery, tip: Tip) -> Process:
    """One of the ways in which it ends; the tip is closed at last."""
    world, way = stage.world, stage.choose.choice(("seized", "over", "withdrawn", "cancelled", "put off"))
    if way == "withdrawn":
        police.withdraw(tip)
    elif delivery.method == "VISIT" and way == "cancelled":
        jail.cancel(delivery)
    elif delivery.method == "VISIT" and way == "put off":
        jail.put_off(delivery, delivery.at + world.hours(24))
    if not delivery.ended and world.now < delivery.at:
        yield world.clock.timeout(delivery.at - world.now)
    if not delivery.ended and way == "seized":
        jail.seize(delivery, "")
    yield world.wait(1)
    if delivery.method == "VISIT" and not delivery.ended:
        jail.complete(delivery)
    yield world.wait(SETTLED_H)
    if not tip.ended:
        police.close(tip, "FOUND" if way == "seized" else "NOT_FOUND")


@of_a_tip(known=True)
def the_day_after(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """The visit is a day later than the tip says."""
    visitor = stage.world.people.somebody()
    visit = jail.visit(stay, visitor, stage.life.visiting_hour(3))
    yield stage.world.wait(SETTLED_H)
    said, around = visit.at - stage.world.hours(24), stage.world.hours(WINDOW_H)
    tip = police.tip(recipient=stay.person, courier=visitor, method="VISIT", window=(said - around, said + around))
    stage.decoy("the visit is on another day than the tip says", stay)
    yield from _passes(stage, jail, police, visit, tip)


@of_a_tip(known=True)
def at_another_hour(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """The visit is over when the tip's time begins; the return is due more than an hour outside it."""
    delivery = _to_come(stage, jail, stay)
    yield stage.world.wait(SETTLED_H)
    hours = stage.world.hours
    # The hour that something without an end may be off is one of ours.
    away = (delivery.ends or delivery.at + HOUR) - delivery.at + hours(stage.choose.uniform(0.2, 1))
    tip = stage.tip_on(police, delivery, window=(delivery.at + away, delivery.at + away + hours(3)))
    stage.decoy("the tip speaks of a later hour", stay)
    yield from _passes(stage, jail, police, delivery, tip)


@of_a_tip(known=True)
def said_too_late(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """The visit is over when somebody speaks of it: nothing is left to be met."""
    world = stage.world
    visit = jail.visit(stay, stage.world.people.somebody(), stage.life.visiting_hour(stage.choose.randint(1, 2)))
    yield world.clock.timeout(visit.at + world.hours(1.1) - world.now)
    # Now and then nobody says that it is over, where that makes no difference for long.
    if stage.choose.random() < 0.5 or visit.over > world.now + world.hours(SETTLED_H):
        jail.complete(visit)
    yield world.wait(SETTLED_H)
    tip = stage.tip_on(police, visit, by_number=stage.choose.random() < 0.5)
    stage.decoy("the visit was over before the tip came", stay)
    yield world.wait(SETTLED_H)
    police.close(tip, "NOT_FOUND")


def another_jail(stage: Stage) -> Process:
    """The tip speaks of another jail."""
    jail, other = stage.choose.sample(stage.life.jails, 2)
    police = stage.police()
    for stay in stage.life.cast(jail, known=True):
        visitor = stage.world.people.somebody()
        visit = jail.visit(stay, visitor, stage.life.visiting_hour(2))
        yield stage.world.wait(SETTLED_H)
        tip = police.tip(
            recipient=stay.person, by_number=False, courier=visitor, facility=other.facility.id, method="VISIT"
        )
        stage.decoy("the tip speaks of another jail", stay)
        yield from _passes(stage, jail, police, visit, tip)
        stay.cast = False


@of_a_tip(known=True)
def visitor_is_a_namesake(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """The visitor is called as the courier, and was born on another day."""
    courier = stage.world.people.somebody()
    visit = jail.visit(stay, stage.world.people.namesake(courier), stage.life.visiting_hour(2))
    yield stage.world.wait(SETTLED_H)
    tip = police.tip(courier=courier, facility=jail.facility.id, method="VISIT")
    if tip.birth_known and visit.birth_known:
        stage.decoy("the visitor was born on another day", stay)
    yield from _passes(stage, jail, police, visit, tip)


@of_a_tip(known=True)
def cancelled_before(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """The visit was called off before anybody said something."""
    visitor = stage.world.people.somebody()
    visit = jail.visit(stay, visitor, stage.life.visiting_hour(2))
    yield stage.world.wait(2)
    jail.cancel(visit)
    yield stage.world.wait(SETTLED_H)
    tip = police.tip(recipient=stay.person, courier=visitor, method="VISIT")
    stage.decoy("the visit was called off before", stay)
    yield from _passes(stage, jail, police, visit, tip)


@of_a_tip(known=True)
def attorney_of_that_name(stage: Stage, jail: Jail, police: Police, stay: Stay) -> Process:
    """A privileged visit is nobody's business, and one by video brings nothing in."""
    visitor = stage.world.people.somebody()
    contact, setting = stage.choose.choice((("ATTORNEY", "CONTACT"), ("ORDINARY", "VIDEO")))
    visit = jail.visit(stay, visitor, stage.life.visiting_hour(2), contact=contact, setting=setting)
    yield stage.world.wait(SETTLED_H)
    tip = police.tip(recipient=stay.person, courier=visitor, method="VISIT")
    stage.decoy("the visit is privileged, or by video", stay)
    yield from _passes(stage, jail, police, visit, tip)


def _passes(stage: Stage, jail: Jail, police: Police, visit: Delivery, tip: Tip) -> Process:
    """Nothing comes of it."""
    if visit.at > stage.world.now:
        yield stage.world.clock.timeout(visit.at - stage.world.now)
    yield stage.world.wait(1.1)
    if visit.method == "VISIT" and not visit.ended:
        jail.complete(visit)
    yield stage.world.wait(SETTLED_H)
    police.close(tip, "NOT_FOUND")


# -- broad tips ------------------------------------------------------------------------------------------------------


def somebody_visits_many(stage: Stage) -> Process:
    """A tip names somebody who visits many: it could mean any of them."""
    yield from _many(stage, stage.choose.randint(6, 8))


def somebody_visits_some(stage: Stage) -> Process:
    """A tip names somebody who visits some: it means each of them."""
    yield from _many(stage, stage.choose.randint(3, 5))


def _many(stage: Stage, count: int) -> Process:
    jail, police, visitor = stage.jail(), stage.police(), stage.world.people.somebody()
    stays = stage.life.cast(jail, count)
    at = stage.life.visiting_hour(2)
    visits = [jail.visit(stay, visitor, at + stage.world.hours(n / 4)) for n, stay in enumerate(stays)]
    yield stage.world.wait(SETTLED_H)
    if stays:
        tip = police.tip(courier=visitor, method="VISIT", facility=jail.facility.id)
        yield stage.world.wait(SETTLED_H)
        if stage.choose.random() < 0.5:
            police.withdraw(tip)
        yield stage.world.clock.timeout(max(0, visits[-1].at + stage.world.hours(1.1) - stage.world.now))
        for visit in visits:
            jail.complete(visit)
            yield stage.world.wait(AT_ONCE_H)
        yield stage.world.wait(SETTLED_H)
        if not tip.ended:
            police.close(tip, "NOT_ACTED_ON")
    _dismiss(stays)


SCENES: Final[dict[Scene, float]] = {
    rivals_are_housed_together: 0.8,
    violence_breaks_out: 0.3,
    moved_away_before: 0.3,
    same_unit_of_another_jail: 0.2,
    dropout_among_them: 0.2,
    feud_is_over: 0.3,
    namesake_is_a_member: 0.2,
    member_is_found_out: 0.7,
    classified_with_it: 0.5,
    at_maximum_already: 0.5,
    visitor_brings_something: 1.5,
    visit_is_scheduled_after_the_tip: 0.7,
    something_comes_by_mail: 0.7,
    somebody_returns_with_it: 0.7,
    said_roughly: 0.5,
    said_in_the_last_hour: 0.7,
    the_day_after: 0.5,
    at_another_hour: 0.4,
    said_too_late: 0.4,
    another_jail: 0.5,
    visitor_is_a_namesake: 0.5,
    cancelled_before: 0.5,
    attorney_of_that_name: 0.5,
    somebody_visits_many: 0.4,
    somebody_visits_some: 0.2,
}
"""The scenes, and how often a day each is put on."""


def put_on(life: Life) -> None:
    """Let all scenes be played, each as often as it should be."""
    stage = Stage(life)
    for scene, a_day in SCENES.items():
        life.world.begin(_again_and_again(stage, scene, a_day))


def _again_and_again(stage: Stage, scene: Scene, a_day: float) -> Process:
    # Not before everybody has been classified and housed.
    yield stage.world.wait(SETTLED_H)
    while True:
        yield stage.life.next("any", a_day)
        stage.world.begin(_told(stage, scene))


def _told(stage: Stage, scene: Scene) -> Process:
    """A scene whose doings bear its name."""
    process = scene(stage)
    while True:
        stage.world.truth.scene = scene.__name__
        try:
            waited = next(process)
        except StopIteration:
            return
        finally:
            stage.world.truth.scene = ""
        yield waited
