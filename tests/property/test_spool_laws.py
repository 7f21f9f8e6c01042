"""Laws of the spool: whatever is added, dropped, closed and taken over, what is left is what was accepted less what was
forgotten, in order."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from producers.spool import Spool, Spooled


class SpoolLaws(RuleBasedStateMachine):
    """A publisher's spool beside a list that can't forget."""

    numbers = Bundle("numbers")

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.directory = Path(self._directory.name)
        self.spool = Spool.create(self.directory)
        self.expected: dict[int, Spooled] = {}
        self.handed_out = 0

    @rule(target=numbers, bodies=st.lists(st.binary(max_size=9000), max_size=5))
    def add(self, bodies: list[bytes]) -> object:
        """Accept some events."""
        events = [Spooled("T", "topic", body[:3], body, (("ce_id", body.hex()),), str(len(body))) for body in bodies]
        self.spool.add(events)
        new = self.spool.after(self.handed_out, 100)
        assert [event for _, event in new] == events, "numbers grow, and none is passed over"
        self.expected |= dict(new)
        self.handed_out = new[-1][0] if new else self.handed_out
        return multiple(*(number for number, _ in new))

    @rule(number=consumes(numbers))
    def forget(self, number: int) -> None:
        """The broker has one."""
        assert self.spool.drop([number])
        self.expected.pop(number, None)

    @rule(number=numbers)
    def forget_twice(self, number: int) -> None:
        """The broker has one, and two threads forget it; or it is forgotten already."""
        assert self.spool.drop([number])
        assert self.spool.drop([number, number])
        self.expected.pop(number, None)

    @rule()
    def end_and_take_over(self) -> None:
        """The publisher ends; the next one takes over."""
        self.spool.close()
        left = Spool.left_behind(self.directory)
        assert len(left) == (1 if self.expected else 0)
        self.spool = left[0] if left else Spool.create(self.directory)
        if not left:
            self.handed_out = 0

    @invariant()
    def holds_what_was_accepted_and_not_forgotten(self) -> None:
        """The law."""
        assert dict(self.spool.after(0, 1_000)) == self.expected
        assert len(self.spool) == len(self.expected)

    def teardown(self) -> None:
        """Leave nothing."""
        self.spool.close()
        self._directory.cleanup()


SpoolLaws.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestSpoolLaws = SpoolLaws.TestCase
