"""On the real broker: what is slow blocks nobody else, and who stands still is ended and replaced."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from deploy.supervisor import Supervised, Supervisor
from schemas import topics
from schemas.events import Event
from streams.partition_loop import RECORD_BYTES
from tests.county import DAY, START, event
from tests.in_memory_bus import digests, from_scratch
from tests.working_site import WorkingSite, environment, until

pytestmark = pytest.mark.bus
PEOPLE = [f"p{number}" for number in range(24)]
LAST_TICK = START + 40 * DAY
MANY = 4_000

A_SLOW_RECOVERY = """
import os, pathlib, sys, time
from streams import agents, batching, partition_loop

here = pathlib.Path(sys.argv.pop(1))

# The recovery of partition 0 hangs until it is told to go on.
recover = agents.recover
def slowly(fold, *arguments):
    while fold.partition.number == 0 and not (here / "go on").exists():
        time.sleep(0.05)
    return recover(fold, *arguments)
agents.recover = slowly

own = agents.Partitions.own
async def told(partitions, numbers, *round):
    await own(partitions, numbers, *round)
    if numbers:
        (here / f"owns-{os.getpid()}").touch()
agents.Partitions.own = told

# Little fits, so that it is full soon; and somebody writes down how much waited at most.
partition_loop.MOST_OF_A_TOPIC = 64 * 1024
tuned = batching.tuned_app_settings
import streams.app
streams.app.tuned_app_settings = lambda datadir: {**tuned(datadir), "consumer_max_fetch_size": 16 * 1024}
most, hand_over = 0, partition_loop.PartitionLoop.hand_over
def counted(loop, *arguments):
    global most
    hand_over(loop, *arguments)
    if loop.number == 0 and loop._bytes > most:
        most = loop._bytes
        (here / "most").write_text(str(most))
partition_loop.PartitionLoop.hand_over = counted

# A fetch brings whole batches, however large: what one transaction writes would come as one.
from streams import fencing
made = fencing.PartitionWriter.__init__
def in_small_batches(writer, *arguments):
    made(writer, *arguments)
    writer._config["batch.num.messages"] = 50
fencing.PartitionWriter.__init__ = in_small_batches

from deploy.cli import main
main()
"""


def reviews(people: list[str]) -> list[Event]:
    """For each person what a review is due for."""
    return [
        *(event("BookingReported", p, day=0) for p in people),
        *(event("CustodyClassified", p, day=1) for p in people),
        *(event("DisciplinaryRecorded", p, day=2) for p in people),
    ]


def test_a_partition_whose_recovery_hangs_blocks_no_other_and_what_waits_for_it_is_bounded(
    a_site: Callable[..., WorkingSite], tmp_path: Path
) -> None:
    site = a_site("hanging", clock="history")
    program = tmp_path / "slow_recovery.py"
    program.write_text(A_SLOW_RECOVERY)
    first_worker = site.start_worker([str(program), str(tmp_path), "worker"])
    raised = topics.alerts_raised(site.site.name)
    waited = tmp_path / "most"
    # More than fits, of each stage: facts of partition 0, and what comes in on it.
    floods = [
        [event("HousingAssigned", f"q{n % 100}", day=n / 100, unit="4-A", name=f"q-{flood}-{n}") for n in range(MANY)]
        for flood in range(2)
    ]
    site.publish(floods[0])
    until(waited.exists, "something waits for partition 0")
    first = reviews(PEOPLE)
    site.publish(first)
    until(site.open_alerts, "partition 1 raises alerts")
    # In the middle of it another worker comes: the rebalance does not wait, and nobody is taken for dead.
    second_worker = site.start_worker([str(program), str(tmp_path), "worker"])
    until((tmp_path / f"owns-{second_worker.pid}").exists, "the second worker was given a partition")
    before = len(site.records(raised))
    site.publish(floods[1])
    later = reviews([f"{p}-later" for p in PEOPLE])
    site.publish(later)
    until(lambda: len(site.records(raised)) > before, "partition 1 goes on raising alerts")
    assert {message.partition() for message in site.read(raised)} == {1}
    came = sum(
        RECORD_BYTES + len(message.value() or b"")
        for topic in (topics.person_facts(site.site.name), topics.facility_facts(site.site.name))
        for message in site.read(topic)
        if message.partition() == 0
    )
    assert 64 * 1024 < int(waited.read_text()) < came / 2, "more came than fits, and it waits on the log"
    assert (first_worker.poll(), second_worker.poll()) == (None, None)

    (tmp_path / "go on").touch()
    site.tick(LAST_TICK)
    site.until_settled(LAST_TICK)
    assert digests(site) == from_scratch(site.site.name, [*floods[0], *floods[1], *first, *later], LAST_TICK)


A_SILENT_STALL = """
import asyncio, pathlib, sys
from aiokafka.consumer.fetcher import Fetcher
from streams import app, lookout

here = pathlib.Path(sys.argv.pop(1))

# As it was seen to happen: a fetch is never answered, so that no other is made. Heartbeats go on, nothing is said.
fetch = Fetcher._proc_fetch_request
async def fetch_or_stall(*arguments):
    if (here / "stall").exists() and not (here / "stalled").exists():
        (here / "stalled").touch()
        await asyncio.Event().wait()
    return await fetch(*arguments)
Fetcher._proc_fetch_request = fetch_or_stall

lookout.LOOK_EVERY_S = 0.5
watch = lookout.Lookout
app.Lookout = lambda *arguments: watch(*arguments, patience=4)

from deploy.cli import main
main()
"""


def test_a_worker_whose_consumer_stalls_silently_ends_itself_and_the_next_one_does_its_work(
    a_site: Callable[..., WorkingSite], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = a_site("stalling", clock="history")
    program = tmp_path / "silent_stall.py"
    program.write_text(A_SILENT_STALL)
    for name, value in environment(site.settings).items():
        monkeypatch.setenv(name, value)
    worker = Supervised("worker", [sys.executable, str(program), str(tmp_path), "worker"], tmp_path / "worker.log")
    supervisor = Supervisor([worker])
    supervisor.start()
    try:
        first = reviews(PEOPLE[:8])
        site.publish(first)
        site.tick(START + 3 * DAY)
        site.until_settled(START + 3 * DAY)
        # What is last on most partitions are markers now, and on one a transaction that was aborted.
        aborted(site, topics.clock(site.site.name))
        time.sleep(6)
        assert worker.restarts == 0, "longer than its patience nothing was to be read, and it lived"

        (tmp_path / "stall").touch()
        later = reviews(PEOPLE[8:])
        site.publish(later)
        site.tick(LAST_TICK)
        until(lambda: worker.restarts, "the worker ended itself")
        assert worker.ended_with == 5
        site.until_settled(LAST_TICK)
    finally:
        supervisor.stop()
    assert worker.restarts == 1
    assert digests(site) == from_scratch(site.site.name, [*first, *later], LAST_TICK)
    said = (tmp_path / "worker.log").read_text()
    assert "the worker stands still: stalling." in said
    assert "NOT_FETCHED" in said


def aborted(site: WorkingSite, topic: str) -> None:
    """Leave an aborted transaction at the end of a topic."""
    producer = Producer({**site.settings.kafka("admin"), "transactional.id": "stalling.aborted"})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(topic, b"never seen", b"k", 0)
    producer.flush(60)
    producer.abort_transaction(60)
