"""People of the simulated county: invented names and numbers, and how names are spelled by those who write them down.

The names are chosen so that no two of a kind are alike: whoever shares a name here was given it on purpose.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

GIVEN: Final = """
    Abel Agnes Alma Amos Aurora Bartholomew Beatrix Benedict Boris Bridget Calvin Cecily Chester Clement
    Cordelia Cyrus Dagmar Delphine Desmond Dorothea Edgar Eleanor Elias Ephraim Fabian Felix Florence Frederick
    Gideon Gertrude Gwendolyn Harold Henrietta Hugo Humphrey Ignatius Imogen Ingrid Isadora Ivo Jasper Jerome
    Joachim Judith Kasimir Katrina Kilian Lambert Leopold Lucinda Maurice Meredith Milo Nadine Nikolai Norbert
    Octavia Odette Orson Oswald Percival Philippa Phoebe Quentin Quincy Rafael Reginald Rufus Salome Sebastian
    Sigmund Solomon Sylvester Tabitha Thaddeus Theodora Ulrich Ursula Veronica Vincent Wendell Wilfred Xavier
    Yolanda Zachary Zelda Zebulon
""".split()  # noqa: SIM905  # as a list it would be two hundred lines
"""Given names."""
FAMILY: Final = """
    Abernathy Ackerley Albright Appleyard Ashdown Atwater Babcock Bainbridge Balfour Barrington Beckwith Bellamy
    Birdsong Blackwood Blenkinsop Bodkin Bonaventure Bosworth Boudreaux Bracegirdle Brockhurst Buckminster
    Bullfinch Burgoyne Caddick Calloway Cartwheel Chadbourne Cloverdale Coldbrook Crickmore Culpepper Cutlass
    Dalrymple Danforth Delacroix Devonport Dinsmore Doolittle Drinkwater Dunwoody Eaglesham Eddowes Entwistle
    Everhart Fairweather Fennimore Fitzwarren Flintlock Follett Foxglove Frobisher Gainsborough Garrow
    Gathercole Gillespie Gladwin Goodfellow Grantham Greenhalgh Grimshaw Gunderson Hackthorne Hambleton
    Hepplewhite Higginbotham Hollowell Honeycutt Huckaby Hummingford Iddesleigh Ingoldsby Inskip Ironmonger
    Isherwood Jellicoe Jessamine Juddleston Kettlewell Kirkbride Kingfisher Knatchbull Kynaston Lachlan Larkspur
    Lavender Leadbetter Lightfoot Locklear Longbottom Lumley Mainwaring Makepeace Mandeville Marchbanks Matlock
    Middlemarch Molyneux Montague Mulligan Nightingale Oakapple Oglethorpe Ormerod Osgood Ottoway Oxenham
    Palfrey Partridge Peabody Pettigrew Pickersgill Plumtree Postlethwaite Prendergast Proudfoot Quackenbush
    Quarterman Radcliffe Ramsbottom Ravenscroft Redfern Rickenbacker Ringwood Rockingham Rosenquist Rutherford
    Saltonstall Sandringham Satterthwaite Shufflebottom Silverlock Skeffington Snodgrass Southerland Spurlock
    Stallybrass Summerfield Swithin Tattersall Tewkesbury Thornbury Tiddlywell Tolliver Trelawney Turnbuckle
    Twelvetrees Underhill Uppingham Vanderbeck Vavasour Venables Voysey Wadsworth Warburton Weatherby
    Whippletree Widdowson Windlass Wolstenholme Woodforde Yellowlees Zellweger Zimbrelman
""".split()  # noqa: SIM905  # as a list it would be two hundred lines
"""Family names."""
SHORTEST_MISSPELT: Final = 5
"""Letters that a part of a name has which somebody gets wrong: who mishears a short one writes another name."""


@dataclass(slots=True, eq=False)
class Person:
    """Somebody. Two of the same name and birth are still two."""

    number: int
    given: str
    family: str
    born: str
    """As YYYY-MM-DD."""
    sid: str
    """The state's number, which a fingerprint finds."""

    @property
    def name(self) -> str:
        """As a clerk writes it."""
        return f"{self.family}, {self.given}"

    def has_name_of(self, other: Person) -> bool:
        """Whether the two are called the same."""
        return (self.given, self.family) == (other.given, other.family)


class People:
    """Everybody, one after the other. `run` is what their state's numbers begin with."""

    def __init__(self, choose: random.Random, run: str) -> None:
        self._choose = choose
        self._run = run
        self._names = [(given, family) for given in GIVEN for family in FAMILY]
        choose.shuffle(self._names)
        self._met = 0

    def somebody(self) -> Person:
        """A new person. Only when all names have been given they are given again."""
        return self._called(*self._names[self._met % len(self._names)])

    def namesake(self, of: Person) -> Person:
        """Another person of the same name, born on another day."""
        other = self._called(of.given, of.family)
        while other.born == of.born:
            other.born = self._birth()
        return other

    def _called(self, given: str, family: str) -> Person:
        self._met += 1
        return Person(self._met, given, family, self._birth(), f"Y{self._run}{self._met:05}")

    def _birth(self) -> str:
        choose = self._choose
        return f"{choose.randint(1955, 2004)}-{choose.randint(1, 12):02}-{choose.randint(1, 28):02}"


def misspelt(name: str, choose: random.Random) -> str:
    """The name with a letter dropped, doubled, swapped with its neighbour, or taken for another, anywhere in it."""
    parts = name.split(" ")
    long = [n for n, part in enumerate(parts) if len(part.strip(",")) >= SHORTEST_MISSPELT]
    if not long:
        return name
    which = choose.choice(long)
    part = parts[which]
    at = choose.randrange(len(part.strip(",")) - 1)
    wrong = choose.choice(
        (
            part[:at] + part[at + 1 :],
            part[: at + 1] + part[at:],
            part[:at] + part[at + 1] + part[at] + part[at + 2 :],
            part[:at] + choose.choice("aeiourstln") + part[at + 1 :],
        )
    )
    parts[which] = wrong
    return " ".join(parts)


def written(person: Person, choose: random.Random) -> str:
    """A name in one of the ways in which offices write it."""
    return choose.choice(
        (
            person.name,
            f"{person.given} {person.family}",
            f"{person.family.upper()}, {person.given.upper()}",
            f"{person.given} {choose.choice('ABCDEFGHJKLMNPRSTW')}. {person.family}",
        )
    )
