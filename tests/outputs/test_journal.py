"""The journal: what is appended can be read, whatever happens to the file or the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from razar.config.model import Component
from razar.engine import events
from razar.mission_logger import Journal, Record, last_boot, read, segments

from .conftest import SmallDisk
from .support import BEGAN, Story, component

ALL = [
    events.BootStarted("boot-1", "demo"),
    events.EnvironmentPrepared("core", "built", 1.5, "abc"),
    events.HandshakeCompleted({"status": "ack", "downtime": {"a": {"reason": "x"}}}, 0.1),
    events.ModelLaunched({"model": "GLM-4.1V", "status": "launched", "returncode": 0}),
    events.MemoryInitialised({"episodic": "ready"}, 0.01),
    events.CoreEvaluated("ready"),
    events.IgnitionBegan({"a": "when"}, {"b": ("maintenance", 5.0), "c": ("patch", None)}, {"d": "broken"}),
    events.Spawned("a", 1, 4711, 99),
    events.LaunchFailed("a", 1, "no such file"),
    events.Exited("a", 1, None, "KILL", ("last", "words")),
    events.ProbePassed("a", 1),
    events.ProbeFailed("a", 1, "connection refused"),
    events.TimerFired("a", 1, "backoff"),
    events.OperatorStopped("a"),
    events.OperatorRestarted("a"),
    events.OperatorReleased("a"),
    events.RepairAwaits("a", 1, "20261130T000000-0123456789ab"),
    events.RepairFinished("a", 1, False, "no patch", "20261130T000000-0123456789ab"),
    events.ShutdownRequested("SIGTERM", True),
]


def _path(tmp_path: Path) -> str:
    return str(tmp_path / "razar_journal.jsonl")


def test_every_event_comes_back_with_its_number_time_boot_and_jitter(tmp_path: Path) -> None:
    assert {type(event) for event in ALL} == set(events.Event.__args__)  # type: ignore[attr-defined]
    journal = Journal(_path(tmp_path))
    for number, event in enumerate(ALL):
        journal.append(event, BEGAN + number, 0.25)
    journal.close()
    records, problems = read(_path(tmp_path))
    assert problems == []
    assert [record.event for record in records] == ALL
    assert [record.seq for record in records] == list(range(1, len(ALL) + 1))
    assert {(record.boot, record.jitter) for record in records} == {("boot-1", 0.25)}
    assert records[3].at == BEGAN + 3


def test_a_line_has_the_promised_form(tmp_path: Path) -> None:
    Journal(_path(tmp_path)).append(events.Spawned("a", 1, 4711), BEGAN, 0.5)
    header, line = Path(_path(tmp_path)).read_text().splitlines()
    assert json.loads(header) == {"journal": "razar", "schema": 1}
    assert json.loads(line) == {
        "seq": 1,
        "at": BEGAN,
        "jitter": 0.5,
        "event": {"event": "Spawned", "component": "a", "incarnation": 1, "pid": 4711},
    }
    assert Path(_path(tmp_path)).stat().st_mode & 0o777 == 0o640


def test_the_line_is_in_the_file_before_append_returns(tmp_path: Path) -> None:
    journal = Journal(_path(tmp_path))
    for event in ALL:
        journal.append(event, BEGAN)
        assert read(_path(tmp_path))[0][-1].event == event


def test_a_second_boot_continues_the_numbers(tmp_path: Path) -> None:
    for boot in ("one", "two"):
        journal = Journal(_path(tmp_path))
        journal.append(events.BootStarted(boot, "demo"), BEGAN)
        journal.append(events.CoreEvaluated("ready"), BEGAN)
        journal.close()
    records, problems = read(_path(tmp_path))
    assert [record.seq for record in records] == [1, 2, 3, 4] and not problems
    assert [record.seq for record in last_boot(records)] == [3, 4]


def test_a_torn_last_line_is_dropped_told_and_cut_by_the_next_append(tmp_path: Path) -> None:
    journal = Journal(_path(tmp_path))
    journal.append(ALL[0], BEGAN)
    journal.close()
    with open(_path(tmp_path), "ab") as file:
        file.write(b'{"seq":2,"at":1758412800.0,"event":{"eve')
    records, problems = read(_path(tmp_path))
    assert len(records) == 1
    assert problems == [f"{_path(tmp_path)}:3: the line was not finished; dropped"]
    told: list[str] = []
    Journal(_path(tmp_path), report=told.append).append(ALL[5], BEGAN)
    records, problems = read(_path(tmp_path))
    assert [record.event for record in records] == [ALL[0], ALL[5]] and problems == []
    assert len(told) == 1 and "unfinished last line" in told[0]


def test_a_whole_record_that_only_lacks_its_newline_is_kept(tmp_path: Path) -> None:
    journal = Journal(_path(tmp_path))
    journal.append(ALL[0], BEGAN)
    journal.append(ALL[7], BEGAN)
    journal.close()
    os.truncate(_path(tmp_path), os.path.getsize(_path(tmp_path)) - 1)
    Journal(_path(tmp_path)).append(ALL[5], BEGAN)
    records, problems = read(_path(tmp_path))
    assert [record.event for record in records] == [ALL[0], ALL[7], ALL[5]] and problems == []
    assert [record.seq for record in records] == [1, 2, 3]


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage",
        b"\xff\xfe\0\0",
        b'{"seq":2}',
        b"[" * 100_000,
        b'{"seq":2,"at":1.0,"event":{"event":"Unheard","component":"a"}}',
        b'{"seq":2,"at":1.0,"event":{"event":"Spawned","component":7}}',
    ],
    ids=["words", "binary", "no event", "nested", "unknown event", "wrong type"],
)
def test_garbage_in_the_middle_is_named_and_skipped(tmp_path: Path, garbage: bytes) -> None:
    journal = Journal(_path(tmp_path))
    journal.append(ALL[0], BEGAN)
    journal.close()
    with open(_path(tmp_path), "ab") as file:
        file.write(garbage + b"\n")
    Journal(_path(tmp_path)).append(ALL[5], BEGAN)
    records, problems = read(_path(tmp_path))
    assert [record.event for record in records] == [ALL[0], ALL[5]]
    assert problems[0] == f"{_path(tmp_path)}:3: the line is no journal record; skipped"


def test_a_missing_or_empty_journal_is_no_problem(tmp_path: Path) -> None:
    assert read(_path(tmp_path)) == ([], [])
    Path(_path(tmp_path)).touch()
    assert read(_path(tmp_path)) == ([], [])
    Journal(_path(tmp_path)).append(ALL[0], BEGAN)
    assert [record.seq for record in read(_path(tmp_path))[0]] == [1]


@pytest.mark.parametrize(
    "first", [b'{"journal":"razar","schema":2}', b'{"journal":"other","schema":1}', b"\0\0\0"], ids=str
)
def test_a_journal_of_another_kind_is_set_aside_not_continued(tmp_path: Path, first: bytes) -> None:
    Path(_path(tmp_path)).write_bytes(first + b"\nits content\n")
    assert read(_path(tmp_path))[0] == [] and read(_path(tmp_path))[1]
    told: list[str] = []
    Journal(_path(tmp_path), report=told.append).append(ALL[0], BEGAN)
    assert [record.event for record in read(_path(tmp_path))[0]] == [ALL[0]]
    (aside,) = [name for name in os.listdir(tmp_path) if "corrupt" in name]
    assert (tmp_path / aside).read_bytes() == first + b"\nits content\n"
    assert aside in told[0]


def test_a_full_disk_stops_nothing_and_loses_nothing(small_disk: SmallDisk) -> None:
    told: list[str] = []
    path = str(small_disk.path / "razar_journal.jsonl")
    journal = Journal(path, report=told.append)
    journal.append(ALL[0], BEGAN)
    small_disk.fill()
    tail = ("x" * 5000,)
    for number in range(10):
        journal.append(events.Exited("a", number, 1, None, tail), BEGAN)
    journal.sync_now()
    assert len(told) == 1 and "No space left" in told[0]
    small_disk.free()
    journal.close()
    records, problems = read(path)
    assert [record.seq for record in records] == list(range(1, 12)) and problems == []


def test_a_gap_in_the_numbers_is_told(tmp_path: Path) -> None:
    journal = Journal(_path(tmp_path))
    for event in ALL[:4]:
        journal.append(event, BEGAN)
    lines = Path(_path(tmp_path)).read_bytes().splitlines(keepends=True)
    Path(_path(tmp_path)).write_bytes(b"".join(lines[:2] + lines[4:]))
    assert read(_path(tmp_path))[1] == [
        f"{_path(tmp_path)}:3: record 4 follows 1; what was between them is lost"
    ]


def test_a_name_that_is_no_utf8_is_written_visibly(tmp_path: Path) -> None:
    error = os.fsdecode(b"cannot open \xff\xfe")
    Journal(_path(tmp_path)).append(events.LaunchFailed("a", 1, error), BEGAN)
    (record,), problems = read(_path(tmp_path))
    assert record.event == events.LaunchFailed("a", 1, "cannot open \\udcff\\udcfe") and not problems


async def test_sync_brings_everything_to_the_disk_without_blocking_the_loop(tmp_path: Path) -> None:
    journal = Journal(_path(tmp_path))
    await journal.sync()
    journal.append(ALL[0], BEGAN)
    await journal.sync()
    await journal.sync()
    assert len(read(_path(tmp_path))[0]) == 1


def replayed(records: list[Record], *components: Component) -> Story:
    """What the records tell, from the state in the first of them on."""
    story = Story(*components)
    story.state = records[0].state
    for record in records[1:]:
        assert record.event is not None
        story.now = record.at + 1.0
        story.take(record.event)
    return story


def test_a_new_segment_begins_with_the_state_and_replays_to_the_same_end(tmp_path: Path) -> None:
    story = Story(component("a"), component("b"))
    journal = Journal(_path(tmp_path), checkpoint=lambda: story.state, segment=2000)

    def take(event: events.Event) -> None:
        journal.append(event, story.now)
        story.take(event, 1.0)

    take(events.BootStarted("boot-1", "demo"))
    take(events.IgnitionBegan())
    for _ in range(40):
        for id in ("a", "b"):
            incarnation = story.incarnation(id)
            take(events.Spawned(id, incarnation, 4711, 1))
            take(events.Exited(id, incarnation, 1, None, ("words",)))
            take(events.TimerFired(id, incarnation, "backoff"))
    found = segments(_path(tmp_path))
    assert [os.path.basename(name) for name in found] == [
        "razar_journal.jsonl.3",
        "razar_journal.jsonl.2",
        "razar_journal.jsonl.1",
        "razar_journal.jsonl",
    ]
    assert all(os.path.getsize(name) < 6000 for name in found)
    records, problems = read(_path(tmp_path))
    assert not problems and records[0].state is not None
    assert last_boot(records) == records
    assert replayed(records, component("a"), component("b")).state == story.state


def test_a_journal_that_was_taken_away_is_begun_anew_with_the_state(tmp_path: Path) -> None:
    story = Story(component("a"))
    journal = Journal(_path(tmp_path), checkpoint=lambda: story.state)

    def take(event: events.Event) -> None:
        journal.append(event, story.now)
        story.take(event, 1.0)

    take(events.BootStarted("boot-1", "demo"))
    take(events.IgnitionBegan())
    os.unlink(_path(tmp_path))
    take(events.Spawned("a", story.incarnation("a"), 4711, 1))
    take(events.ProbePassed("a", story.incarnation("a")))
    journal.close()
    records, problems = read(_path(tmp_path))
    assert not problems and [record.seq for record in records] == [2, 3, 4]
    assert last_boot(records) == records and records[0].event == events.BootStarted("boot-1", "demo")
    assert replayed(records, component("a")).state == story.state


def test_without_a_checkpoint_a_boot_stays_in_one_file_and_the_next_begins_another(tmp_path: Path) -> None:
    journal = Journal(_path(tmp_path), segment=2000)
    journal.append(events.BootStarted("one", "demo"), BEGAN)
    for number in range(100):
        journal.append(events.Spawned("a", number, 1), BEGAN)
    assert len(segments(_path(tmp_path))) == 1
    journal.append(events.BootStarted("two", "demo"), BEGAN)
    assert len(segments(_path(tmp_path))) == 2
    records, problems = read(_path(tmp_path))
    assert [(record.boot, record.seq) for record in records] == [("two", 102)] and not problems


def test_a_journal_that_cannot_be_rotated_keeps_growing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "razar_journal.jsonl.3").mkdir()
    (tmp_path / "razar_journal.jsonl.2").write_text("in the way")
    told: list[str] = []
    journal = Journal(_path(tmp_path), segment=500, report=told.append)
    for number in range(20):
        journal.append(events.BootStarted(f"boot-{number}", "demo"), BEGAN)
    records, problems = read(_path(tmp_path))
    assert [record.seq for record in records] == list(range(1, 21)) and not problems
    assert told and all("could not be rotated" in message for message in told)


_KILLED = """
import json, os, random, signal, sys, time
from razar.engine import events
from razar.mission_logger import Journal, read

path, kills = sys.argv[1], int(sys.argv[2])
bad, last = [], 0
for kill in range(kills):
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        journal = Journal(path, segment=20_000)
        journal.append(events.BootStarted(f"boot-{kill}", "demo"), time.time())
        while True:
            seq = journal.append(events.Exited("a", 1, 1, None, ("x" * random.randrange(2000),)), time.time())
            os.write(into, b"%d\\n" % seq)
            if random.random() < 0.1:
                journal.sync_now()
    os.close(into)
    first = os.read(out, 64)
    time.sleep(random.random() * 0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    told = first
    while piece := os.read(out, 65536):
        told += piece
    os.close(out)
    promised = int(told.rsplit(b"\\n", 2)[-2])
    records, problems = read(path)
    if not records or records[-1].seq < promised or records[-1].seq > promised + 1:
        bad.append([kill, promised, records[-1].seq if records else None])
    if any("follows" in problem for problem in problems):
        bad.append(problems)
print(json.dumps({"kills": kills, "bad": bad}))
"""


def test_a_killed_writer_loses_no_record_whose_append_returned(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _KILLED, _path(tmp_path), "60"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert msgspec.json.decode(run.stdout) == {"kills": 60, "bad": []}


_LIMITED = """
import resource, sys
from razar.engine import events
from razar.mission_logger import Journal, read

path = sys.argv[1]
told = []
journal = Journal(path, report=told.append)
journal.append(events.BootStarted("one", "demo"), 1.0)
soft = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (700, soft))
for number in range(20):
    journal.append(events.Spawned("a", number, 1), 1.0)
assert len(told) == 1, told
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, soft))
journal.close()
records, problems = read(path)
assert [record.seq for record in records] == list(range(1, 22)) and not problems, problems
"""


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _LIMITED, _path(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 0, run.stderr
