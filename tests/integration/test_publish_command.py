"""`sallyport publish`, as a person or a script runs it: on the real bus, and without one."""

from __future__ import annotations

import json
import os
import pty
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from schemas import topics
from schemas.settings import Settings
from tests.county import JAIL, MAIN, POLICE
from tests.working_site import WorkingSite, environment, until

pytestmark = pytest.mark.bus
NOWHERE = {"SALLYPORT_BOOTSTRAP": "127.0.0.1:1", "SALLYPORT_REGISTRY": "https://127.0.0.1:1/apis/ccompat/v7"}
PERSON = {"role": "SUBJECT", "ids": [{"kind": "LOCAL", "value": "700999", "issuer": "jms", "verified": "SYSTEM"}]}


@pytest.fixture(scope="module")
def made(bus: Settings, tmp_path_factory: pytest.TempPathFactory) -> WorkingSite:
    return WorkingSite.make(bus, tmp_path_factory.mktemp("site"), "commanded", partitions=1)


@pytest.fixture
def site(made: WorkingSite, tmp_path: Path) -> Iterator[WorkingSite]:
    """The site as new, and a home of the test's own for the spool."""
    site = made.renewed()
    home = tmp_path / "home"
    site.settings = site.settings.model_copy(
        update={"home": home, "ca_file": site.settings.ca_path, "secrets": site.settings.secrets_path}
    )
    yield site
    site.end()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "deploy", "publish", *arguments]


def run(site: WorkingSite, *arguments: str, text: str | bytes = "", **more: str) -> subprocess.CompletedProcess[str]:
    raw = text.encode() if isinstance(text, str) else text
    done = subprocess.run(
        command(*arguments),
        env=environment(site.settings, **more),
        input=raw,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def housing(cell: int, **changes: Any) -> dict[str, Any]:
    head = {"time": "2026-03-01T14:02:00-05:00", "persons": [PERSON]}
    return {
        "type": "HousingAssigned", "head": head, "facility": MAIN, "booking_number": "26-0999", "unit": "4-A",
        "cell": str(cell), **changes,
    }  # fmt: skip


def lines(events: Iterable[dict[str, Any]]) -> str:
    return "\n".join(map(json.dumps, events))


def arrived(site: WorkingSite, kind: str = "HousingAssigned", field: str = "cell") -> list[str]:
    return [record[field] for record in site.records(topics.inbound(site.site.name, JAIL, kind))]


def test_json_lines_arrive_in_order_and_the_result_is_json(site: WorkingSite) -> None:
    done = run(site, "-", "--as", JAIL, "--json", text=lines(map(housing, range(3))))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "published": {"HousingAssigned": 3}, "rejected": 0, "waiting": 0, "not_accepted": 0, "stopped": None,
        "dry_run": False,
    }  # fmt: skip
    assert arrived(site) == ["0", "1", "2"]


def test_a_file_with_an_array_of_several_types_is_counted_by_type(site: WorkingSite, tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    withdrawn = {"type": "EventWithdrawn", "head": {"time": "2026-03-01T15:00:00Z"}, "reason": "SEALED"}
    target = {"target_event_id": "9e107d9d-372b-4c5b-9b1e-3f3a4f3d2c1b"}
    file.write_text(json.dumps([housing(1), {**withdrawn, **target}], indent=2), encoding="utf-8-sig")
    done = run(site, str(file), "--as", JAIL)
    assert (done.returncode, done.stdout) == (0, "2 published: 1 EventWithdrawn, 1 HousingAssigned\n"), done.stderr
    assert arrived(site, "EventWithdrawn", "reason") == ["SEALED"]


def test_the_type_may_be_given_once_for_all(site: WorkingSite) -> None:
    untyped = {key: value for key, value in housing(5).items() if key != "type"}
    done = run(site, "-", "--as", JAIL, "--type", "HousingAssigned", text=lines([untyped]))
    assert done.returncode == 0, done.stderr
    assert arrived(site) == ["5"]


def test_publishing_twice_gives_the_same_event_ids(site: WorkingSite) -> None:
    for _ in range(2):
        assert run(site, "-", "--as", JAIL, text=lines([housing(1)])).returncode == 0
    messages = site.read(topics.inbound(site.site.name, JAIL, "HousingAssigned"))
    assert len({dict(message.headers())["ce_id"] for message in messages}) == 1
    assert len({message.value() for message in messages}) == 1


def test_nothing_is_published_when_one_line_is_wrong_and_every_fault_is_named(site: WorkingSite) -> None:
    wrong = housing(1, unti="4-A", facility=None, head={"time": "yesterday", "persons": [PERSON]})
    text = lines([housing(0), wrong, housing(2, unit="9-Z"), housing(3, head={"time": "2190-01-01T00:00:00Z"})])
    done = run(site, "-", "--as", JAIL, text=text)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "sallyport: line 2: head.time: must be RFC 3339, such as 2026-03-01T14:02:00-05:00, or microseconds since 1970",
        "sallyport: line 2: facility: must be text",
        "sallyport: line 2: unti: is no field of it: did you mean unit?",
        f"sallyport: line 3: unit is not one of {MAIN}; add it to site.toml",
        "sallyport: line 4: head.time: must be less than or equal to 4102444800000000",
        "sallyport: nothing was published",
    ]
    assert arrived(site) == []
    as_json = run(site, "-", "--as", JAIL, "--json", text=text)
    assert as_json.returncode == 1
    problems = json.loads(as_json.stdout)["problems"]
    assert [(problem["line"], problem["field"]) for problem in problems] == [
        (2, "head.time"), (2, "facility"), (2, "unti"), (3, ""), (4, "head.time"),
    ]  # fmt: skip


def test_it_keeps_going_and_keeps_the_wrong_lines_where_only_the_owner_reads_them(
    site: WorkingSite, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(lines([housing(0), housing(1, unit=None)]) + "\n{broken\n" + lines([housing(2)]))
    done = run(site, str(file), "--as", JAIL, "--keep-going")
    assert done.returncode == 1
    assert done.stdout == "2 published: 2 HousingAssigned\n"
    assert arrived(site) == ["0", "2"]
    rejected = tmp_path / "events.jsonl.rejected.jsonl"
    assert done.stderr == f"sallyport: 2 events are wrong: see {rejected}\n"
    assert stat.S_IMODE(rejected.stat().st_mode) == 0o600
    first, second = map(json.loads, rejected.read_text().splitlines())
    assert first == {"line": 2, "reasons": ["unit: must be text"], "event": housing(1, unit=None)}
    assert (second["line"], second["event"]) == (3, "{broken")


def test_a_dry_run_needs_no_bus_and_writes_nothing(site: WorkingSite, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(lines([housing(0), housing(1, unit=None)]))
    done = run(site, str(file), "--as", JAIL, "--keep-going", "--dry-run", **NOWHERE)
    assert (done.returncode, done.stdout) == (1, "1 valid: 1 HousingAssigned\n")
    assert done.stderr == "sallyport: 1 event is wrong\n"
    assert [path.name for path in tmp_path.glob("*.rejected*")] == []
    assert not (tmp_path / "home").exists()


def test_while_the_bus_is_away_events_are_accepted_and_the_next_call_sends_them(site: WorkingSite) -> None:
    done = run(site, "-", "--as", JAIL, "--wait", "0.5", text=lines([housing(0), housing(1)]), **NOWHERE)
    assert (done.returncode, done.stdout) == (3, "2 accepted: 2 HousingAssigned\n")
    assert done.stderr == "sallyport: the bus is away: 2 events wait in the spool, sent the next time\n"
    nothing_new = run(site, os.devnull, "--as", JAIL)
    assert (nothing_new.returncode, nothing_new.stdout) == (0, "0 published\n"), nothing_new.stderr
    assert arrived(site) == ["0", "1"]


def test_a_person_gets_one_line_and_no_traceback(site: WorkingSite, tmp_path: Path) -> None:
    (tmp_path / "no-secrets").mkdir()
    latin = lines([housing(0)]).replace("4-A", "4-Ä").encode("latin-1")
    for arguments, text, more, code, said in (
        (["-", "--as", "nobody"], b"", {}, 2, "no agency 'nobody' on site"),
        (["-", "--as", JAIL, "--type", "Housing"], b"", {}, 2, "--type: no event type 'Housing'; there are"),
        (["/no/such/file", "--as", JAIL], b"", {}, 2, "/no/such/file: No such file or directory"),
        (["-", "--as", JAIL], latin, {}, 1, "not UTF-8 at byte"),
        (["-", "--as", JAIL], b"", {"SALLYPORT_SECRETS": str(tmp_path / "no-secrets")}, 2, "no password for user"),
        (["-", "--as", JAIL], b"", {"SALLYPORT_CA_FILE": str(tmp_path / "none.pem")}, 2, "none.pem"),
        (["-", "--as", POLICE, "--site", "nowhere"], b"", {}, 2, "no site 'nowhere'"),
    ):  # fmt: skip
        done = run(site, *arguments, text=text, **more)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith("sallyport: ")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_ends_it_cleanly_and_what_was_accepted_is_kept(site: WorkingSite, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(lines(map(housing, range(2000))))
    # A terminal of its own, as a person has it: with a progress bar.
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        command(str(file), "--as", JAIL, "--wait", "600"),
        env=environment(site.settings, **NOWHERE, TERM="xterm", PYTHONFAULTHANDLER="1"),
        stdin=subprocess.DEVNULL, stdout=inner, stderr=inner,
    )  # fmt: skip
    os.close(inner)
    shown: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(outer, shown))
    reader.start()
    until(lambda: spooled(tmp_path / "home") == 2000, "all were accepted")
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(60)
    if process.poll() is None:
        process.send_signal(signal.SIGABRT)  # it says of each thread where it is
    ended = process.wait(60)
    reader.join()
    os.close(outer)
    said = b"".join(shown)
    assert ended == 130, said.decode()
    assert b"Publishing" in said
    assert b"Traceback" not in said
    assert b"2000 events wait in the spool" in said
    done = run(site, os.devnull, "--as", JAIL)
    assert done.returncode == 0, done.stderr
    assert arrived(site) == [str(number) for number in range(2000)]


def read_all(terminal: int, shown: list[bytes]) -> None:
    # Linux says with an error that nobody has the other end of a terminal any more.
    with suppress(OSError):
        while read := os.read(terminal, 10_000):
            shown.append(read)


def spooled(home: Path) -> int:
    found = 0
    for path in home.glob("spool/*/*/*.spool"):
        try:
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
                found += db.execute("SELECT count(*) FROM spooled").fetchone()[0]
        except sqlite3.OperationalError:
            return 0  # just being made
    return found


def test_the_help_shows_an_example(site: WorkingSite) -> None:
    done = run(site, "--help")
    assert done.returncode == 0
    assert "sallyport publish events.jsonl --as county-jail" in done.stdout
