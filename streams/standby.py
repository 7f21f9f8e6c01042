"""Standing by: a worker follows the logs of numbers that others own, so that it can take over at once.

The log is the state, so there is nothing to copy: whoever stands by recalls and folds the same records as the owner, a
moment later, and derives in between what they touched. Taking over is a recovery that begins there (`streams/fold.py`).
It reads what is committed, and folds only what the owner has committed as processed: what comes after is to be
processed by the next owner, with its cause.

All of a worker's standbys have one thread and one consumer between them, and give way to the numbers that it owns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException

from schemas.registry_client import RegistryAway, SchemaCache
from schemas.site import Site
from streams.fold import AbandonedError, BrokerQuietError, Fold, OutdatedError, Progress, catch_up, ends_of, is_past
from streams.outside import Outside
from streams.partition import Partition

log = logging.getLogger(__name__)

STANDBY: Final = "standby"
"""What its reports call it."""
FOLLOW_EVERY_S: Final = 1.0
"""Seconds between two looks at what is new: so much is to be folded, at most, when a number is taken over."""
AT_A_TIME: Final = 500
"""Records folded in one go, some 5 ms."""
DERIVED_AT_A_TIME: Final = 20
"""Persons, units and alerts derived before the time is looked at."""
GO_S: Final = 0.01
"""Seconds of deriving in one go."""
TURN: Final = 50_000
"""Records after which another number has its turn."""
DERIVING_S: Final = 2.0
"""Seconds of deriving and giving way after which another number has its turn, and this one reads on."""
TOO_FAR: Final = 20_000
"""Records to fold, and persons, units and alerts to derive: with more of them left nothing is ready any longer. Whoever
takes over would be busy with them for seconds."""
LOOK_S: Final = 0.01
GIVE_WAY_S: Final = 0.25
"""Seconds for which a standby gives way before each go, as long as a number that is owned has work: it must get on."""
TRUSTED_S: Final = 12 * 3600.0
"""Seconds behind the log after which what was followed is not to be trusted: half of the time for which a tombstone is
kept. A fact whose tombstone was written and removed again meanwhile would be known for ever."""
LOOK_FOR_THE_END_S: Final = 600.0
"""Seconds that what is followed may be behind, as far as is known, before it is looked where the logs end."""
FACT_BYTES: Final = 450
"""What a fact costs in memory beside its bytes, about (docs/performance.md)."""


class TooMuchError(Exception):
    """What is followed takes more memory than it may."""


@dataclass(frozen=True, slots=True)
class Look:
    """Where the logs of a number ended when it was looked."""

    at: float
    """When that was; seconds of a clock that never goes back."""
    ends: Mapping[str, int]
    """By folding stage."""


@dataclass(slots=True, eq=False)
class Following:
    """A number that a worker stands by for."""

    number: int
    fold: Fold
    at_end: float
    """When it was begun, or a later time: it is known to have all that was on the logs then. Seconds of a clock that
    never goes back."""
    progress: Progress = field(default_factory=Progress)
    is_ready: bool = False
    """Whether it has caught up, and derived what it holds, and has not fallen too far behind since."""
    was_ready: bool = False
    """Whether it ever was, since it was begun."""
    to_derive: int = 0
    """Persons, units and alerts that were touched since they were derived last, as far as is known."""
    failed: str = ""
    """Why it is of no use; empty as long as it is."""
    turn: asyncio.Future[bool] | None = None
    """The thread's work on it, now or last."""
    look: Look | None = None
    """The look at the logs' ends that it has not come to yet: as soon as it has, `at_end` is when that was."""

    @property
    def bytes(self) -> int:
        """About what its facts take in memory."""
        picture = self.fold.partition.person.picture
        return picture.fact_bytes + FACT_BYTES * picture.facts

    @property
    def behind(self) -> int:
        """How much is known to be left to do: records to fold, and persons, units and alerts to derive."""
        return self.progress.total - self.progress.done + self.to_derive

    def reckon(self, *, caught_up: bool) -> None:
        """Say whether it is ready after a turn, in which it has caught up or has not."""
        before = self.is_ready
        self.is_ready = caught_up or (before and self.behind <= TOO_FAR)
        self.was_ready = self.was_ready or caught_up
        if before and not self.is_ready:
            log.warning("standby %s has fallen behind: %s to fold and derive", self.number, self.behind)

    def report(self, at: int) -> dict[str, Any]:
        """How it is doing, `at` microseconds, as a stage report; no personal data."""
        state = "STOPPED" if self.failed else "LIVE" if self.is_ready else "REFOLDING"
        return {
            "stage": STANDBY,
            "partition": self.number,
            "state": state,
            "tick": self.fold.partition.tick,
            "lag": self.behind,
            "done": self.progress.done,
            "total": self.progress.total,
            "at": at,
        }

    def distrust(self, now: float) -> str:
        """Why a takeover is not to begin with it; empty where it may."""
        if self.failed:
            return self.failed
        if now - self.at_end > TRUSTED_S:
            return f"it is {now - self.at_end:.0f} s behind: tombstones may have gone unread"
        return ""


class Standbys:
    """What a worker stands by for.

    `consumer` makes a consumer for the thread; `is_busy` says whether a number that the worker owns has work;
    `on_ready` is called when it is ready for all that it is to own as soon as it is, as far as it will ever be.
    `most_bytes`: what they may take together.
    """

    def __init__(
        self,
        site: Site,
        schemas: SchemaCache,
        consumer: Callable[[], Consumer],
        is_busy: Callable[[], bool],
        on_ready: Callable[[], None],
        most_bytes: int,
        outside: Outside,
    ) -> None:
        self._site = site
        self._schemas = schemas
        self._make_consumer = consumer
        self._is_busy = is_busy
        self._on_ready = on_ready
        self._most_bytes = most_bytes
        self._outside = outside
        self._consumer: Consumer | None = None
        self._awaited: frozenset[int] = frozenset()
        self._task: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self.following: dict[int, Following] = {}
        """By number."""
        self._gave_up: frozenset[int] = frozenset()
        """As far as it is known from before."""

    def ready(self) -> frozenset[int]:
        """The numbers that could be taken over at once."""
        now = self._outside.monotonic()
        return frozenset(one.number for one in list(self.following.values()) if one.is_ready and not one.distrust(now))

    def gave_up(self) -> frozenset[int]:
        """The numbers that it stood by for, now or before, and could not be made ready for."""
        failed = (one.number for one in list(self.following.values()) if one.failed)
        return self._gave_up.union(failed) - self.ready()

    def stand_by_for(self, numbers: frozenset[int], awaited: frozenset[int], kept: Mapping[int, Fold]) -> None:
        """Follow these numbers and no others; `kept` is what is known already of some. `awaited`: what this worker is
        to own as soon as it is ready for it."""
        for number in self.following.keys() - numbers:
            self.release(number)
        now = self._outside.monotonic()
        # The clock's number last: who owns it has to recall the time first.
        for number in sorted(numbers - self.following.keys(), reverse=True):
            fold = kept.get(number) or Fold(Partition.of(self._site, number, self._schemas))
            self.following[number] = Following(number, fold, now)
        self._awaited = awaited
        if self.following and self._task is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="standby")
            self._task = asyncio.create_task(self._follow(), name="standbys")

    def release(self, number: int) -> Following | None:
        """Follow a number no more; its thread lets go of it a moment later (`taken_over`)."""
        self._gave_up = self.gave_up()
        following = self.following.pop(number, None)
        if following is not None:
            following.progress.abandoned = True
        return following

    async def taken_over(self, following: Following) -> Fold | None:
        """What was followed of a number that was released; None where it is not to be trusted."""
        if following.turn is not None:
            await asyncio.wait([following.turn])
        why_not = following.distrust(self._outside.monotonic())
        if why_not:
            log.warning("number %s is taken over from the beginning: %s", following.number, why_not)
            return None
        return following.fold

    async def close(self) -> None:
        """Follow nothing any more."""
        self.stand_by_for(frozenset(), frozenset(), {})
        task, thread = self._task, self._thread
        # Before anything is waited for: a worker may be told twice to end.
        self._task = self._thread = None
        if task is not None and thread is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            asyncio.get_running_loop().run_in_executor(thread, self._close_consumer)
            thread.shutdown(wait=False)

    # -- following -------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            more = one_gets_on = False
            for following in [*self.following.values()]:
                if following.failed or following.progress.abandoned or (one_gets_on and not following.was_ready):
                    continue
                following.turn = loop.run_in_executor(self._thread, partial(self._take_a_turn, following))
                # To be waited for by others, too: it is not cancelled with this task.
                await asyncio.wait([following.turn])
                has_more = following.turn.result()
                if following.is_ready:
                    # It may be so no longer, and yet is not given up.
                    self._gave_up -= {following.number}
                # One after the other is made ready: half of each would be of use to nobody. Who was has its turns.
                one_gets_on = one_gets_on or (has_more and not following.was_ready)
                more = more or has_more
            # Who gave a number up is given another, or this one as it is: there is nothing to wait for.
            awaited = [one for one in self.following.values() if one.number in self._awaited]
            if awaited and all(one.is_ready or one.failed for one in awaited):
                self._awaited = frozenset()
                self._on_ready()
            if not more:
                await asyncio.sleep(FOLLOW_EVERY_S)

    def _take_a_turn(self, following: Following) -> bool:
        """In the thread: whether there is more to do at once."""
        try:
            return self._read_and_derive(following)
        except AbandonedError:
            return False
        except RegistryAway:
            # Nothing is folded without its schema: it goes on from where it is.
            following.reckon(caught_up=False)
            return False
        except TooMuchError:
            log.warning("standby %s is given up: facts of more than SALLYPORT_STANDBY_MEMORY", following.number)
            following.failed = "it is too large to stand by for"
            self._begin_again(following)
            return False
        except (BrokerQuietError, KafkaException, OutdatedError) as error:
            log.warning("standby %s begins again: %s", following.number, type(error).__name__)
            self._close_consumer()
            self._begin_again(following)
            return False
        except Exception as error:
            # Its text may quote a record. Whoever takes over reads the log as if nobody had stood by.
            log.error("standby %s is given up: %s", following.number, type(error).__name__)
            following.failed = type(error).__name__
            self._begin_again(following)
            return False

    def _read_and_derive(self, following: Following) -> bool:
        if self._consumer is None:
            self._consumer = self._make_consumer()
        following.progress.between = partial(self._make_way, following)
        why_not = following.distrust(self._outside.monotonic())
        if why_not:
            log.warning("standby %s begins again: %s", following.number, why_not)
            self._begin_again(following)
        more = not catch_up(following.fold, following.progress, self._consumer, self._schemas, AT_A_TIME, TURN)
        if more:
            following.to_derive = following.fold.partition.derive_ahead(0)
        else:
            self._look_for_the_end(following, self._consumer)
            more = self._derive(following)
        following.reckon(caught_up=not more)
        return more

    def _derive(self, following: Following) -> bool:
        """Derive for a turn what was touched: whether anything is left."""
        turn_ends = self._outside.monotonic() + DERIVING_S
        while self._derive_in_one_go(following):
            if self._outside.monotonic() >= turn_ends:
                return True
            self._make_way(following)
        return False

    def _derive_in_one_go(self, following: Following) -> bool:
        go_ends = self._outside.monotonic() + GO_S
        while True:
            following.to_derive = following.fold.partition.derive_ahead(DERIVED_AT_A_TIME)
            if not following.to_derive or self._outside.monotonic() >= go_ends:
                return following.to_derive > 0

    def _look_for_the_end(self, following: Following, consumer: Consumer) -> None:
        """Where it has all that was on the logs when they were looked at last, it is complete up to then.

        On a busy log there is always a newer record, and what its owner has not committed is not folded: to have
        everything at one moment is too much to ask.
        """
        now = self._outside.monotonic()
        if following.look is None and now - following.at_end > LOOK_FOR_THE_END_S:
            following.look = Look(now, ends_of(following.fold, consumer))
        if following.look is not None and is_past(following.fold, following.look.ends, consumer):
            following.at_end, following.look = following.look.at, None

    def _make_way(self, following: Following) -> None:
        """Give way to what is owned. Raises AbandonedError where nobody stands by for the number any more."""
        if sum(one.bytes for one in list(self.following.values())) > self._most_bytes:
            raise TooMuchError
        waited = 0.0
        while self._is_busy() and waited < GIVE_WAY_S and not following.progress.abandoned:
            self._outside.sleep(LOOK_S)
            waited += LOOK_S
        if following.progress.abandoned:
            raise AbandonedError

    def _begin_again(self, following: Following) -> None:
        following.fold = Fold(Partition.of(self._site, following.number, self._schemas))
        following.at_end, following.look = self._outside.monotonic(), None
        following.is_ready = following.was_ready = False
        following.to_derive = 0
        following.progress.forget()

    def _close_consumer(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
