"""One writer a partition: the broker itself refuses whoever was overtaken."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas import topics
from schemas.settings import Settings
from streams.fencing import BrokenWriterError, Fenced, PartitionWriter
from streams.records import Out
from tests.county import JAIL, POLICE
from tests.working_site import WAIT_S, WorkingSite, until

pytestmark = pytest.mark.bus


@pytest.fixture(scope="module")
def made(bus: Settings, tmp_path_factory: pytest.TempPathFactory) -> WorkingSite:
    return WorkingSite.make(bus, tmp_path_factory.mktemp("site"), "fenced")


def out(site: WorkingSite, value: str, topic: str | None = None) -> Out:
    return Out(topic or topics.alerts_raised(site.site.name), 0, value.encode(), None, value.encode())


def visible(site: WorkingSite) -> list[bytes]:
    return [message.value() for message in site.read(topics.alerts_raised(site.site.name))]


def seen(site: WorkingSite, records: int) -> list[bytes]:
    """What readers see, once they see so many records: a moment after the commit."""
    until(lambda: len(visible(site)) >= records, f"{records} records were seen")
    return visible(site)


async def test_a_batch_is_there_whole(site: WorkingSite) -> None:
    writer = PartitionWriter(site.settings, site.site, 0)
    await writer.open()
    await writer.write([out(site, "a"), out(site, "b")])
    assert seen(site, 2) == [b"a", b"b"]
    await writer.close()


async def test_a_writer_that_was_overtaken_is_refused_and_none_of_its_records_is_seen(site: WorkingSite) -> None:
    first = PartitionWriter(site.settings, site.site, 0)
    await first.open()
    await first.write([out(site, "by the first")])
    second = PartitionWriter(site.settings, site.site, 0)
    await second.open()
    with pytest.raises(Fenced):
        await first.write([out(site, "too late"), out(site, "this, too")])
    await second.write([out(site, "by the second")])
    assert seen(site, 2) == [b"by the first", b"by the second"]


class AndMeanwhile(list[Out]):
    """Records to be written; when the first was handed over, somebody else opens the partition."""

    def __init__(self, first: Out, then: Callable[[], object], rest: Callable[[], Iterator[Out]]) -> None:
        super().__init__([first])
        self._then = then
        self._rest = rest

    def __iter__(self) -> Iterator[Out]:
        yield self[0]
        self._then()
        yield from self._rest()


async def test_a_writer_that_is_overtaken_while_it_hands_records_over_says_so_too(site: WorkingSite) -> None:
    first, second = (PartitionWriter(site.settings, site.site, 0) for _ in range(2))
    await first.open()
    deadline = time.monotonic() + WAIT_S

    def rest() -> Iterator[Out]:
        # The client learns it in the background, and refuses the next record that it is given.
        while time.monotonic() < deadline:
            yield out(site, "too late")._replace(partition=1)

    with pytest.raises(Fenced):
        await first.write(AndMeanwhile(out(site, "before"), lambda: asyncio.run(second.open()), rest))
    await second.close()


async def test_more_records_than_the_clients_queue_takes_are_one_transaction_all_the_same(site: WorkingSite) -> None:
    writer = PartitionWriter(site.settings, site.site, 0)
    writer._config["queue.buffering.max.messages"] = 100
    await writer.open()
    await writer.write([out(site, str(number)) for number in range(1_000)])
    assert seen(site, 1_000) == [b"%d" % number for number in range(1_000)]
    await writer.close()


async def test_writers_of_other_partitions_are_left_alone(site: WorkingSite) -> None:
    writers = [PartitionWriter(site.settings, site.site, number) for number in range(3)]
    for writer in writers:
        await writer.open()
    for number, writer in enumerate(writers):
        await writer.write([out(site, str(number))])
    assert sorted(seen(site, 3)) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("is_there", [True, False], ids=["another's topic", "a topic that nobody made"])
async def test_what_the_broker_refuses_for_good_is_no_endless_retry(site: WorkingSite, is_there: bool) -> None:
    name = site.site.name
    # Police publish nothing of care, so provisioning makes them no such topic.
    topic = topics.inbound(name, JAIL, "BookingReported") if is_there else topics.care_dead_letters(name, POLICE)
    writer = PartitionWriter(site.settings, site.site, 0)
    await writer.open()
    why = "TOPIC_AUTHORIZATION_FAILED" if is_there else f"UNKNOWN_TOPIC_OR_PART {topic}"
    with pytest.raises(BrokenWriterError, match=rf"the broker refuses \({why}\): run `sallyport provision`"):
        await writer.write([out(site, "a", topic=topic)])


SLEEPER = """
import asyncio, sys
from deploy.sites import load_site
from schemas import topics
from schemas.settings import Settings
from streams.fencing import Fenced, PartitionWriter
from streams.records import Out

async def main():
    settings = Settings()
    site = load_site(settings)
    writer = PartitionWriter(settings, site, 0)
    await writer.open()
    number = 0
    while True:
        number += 1
        topic = topics.alerts_raised(site.name)
        records = [Out(topic, 0, b"k", None, f"sleeper {number}/{n}".encode()) for n in range(200)]
        try:
            await writer.write(records)
        except Fenced:
            sys.exit(3)

asyncio.run(main())
"""


async def test_a_writer_stopped_in_the_middle_wakes_to_find_itself_fenced(site: WorkingSite, tmp_path: Path) -> None:
    program = tmp_path / "sleeper.py"
    program.write_text(textwrap.dedent(SLEEPER))
    sleeper: subprocess.Popen[bytes] = site.start_worker([str(program)])
    until(lambda: len(visible(site)) > 400, "the sleeper wrote")
    sleeper.send_signal(signal.SIGSTOP)
    successor = PartitionWriter(site.settings, site.site, 0)
    await successor.open()
    await successor.write([out(site, "the successor")])
    sleeper.send_signal(signal.SIGCONT)
    assert sleeper.wait(30) == 3
    until(lambda: visible(site)[-1] == b"the successor", "the successor's record was seen")
    # Whole batches only: what was under way when it was stopped was aborted.
    assert (len(visible(site)) - 1) % 200 == 0


async def test_a_writer_that_meets_an_error_does_not_open_again_what_another_may_own_by_now(site: WorkingSite) -> None:
    writer = PartitionWriter(site.settings, site.site, 0)
    await writer.open()
    first = writer._producer
    assert first is not None
    first.begin_transaction()  # the next one to begin is refused: one is under way
    with pytest.raises(BrokenWriterError):
        await writer.write([out(site, "of the broken one")])
    assert writer._producer is first
    successor = PartitionWriter(site.settings, site.site, 0)
    await successor.open()
    await successor.write([out(site, "whole")])
    assert seen(site, 1) == [b"whole"]
    await writer.close()
    await successor.close()
