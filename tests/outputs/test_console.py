"""What the operator sees, on pipes and on a terminal."""

from __future__ import annotations

import importlib.abc
import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TextIO

import pytest

from razar.console import Console, JsonConsole, PlainConsole, make_console
from razar.engine import events
from razar.engine.facts import Transition
from razar.projections.console_live import ROWS, Board, LiveConsole
from tests.support.waiting import until_sync

from .support import Story, component


def _failing() -> Story:
    story = Story(component("good"), component("bad", retries=0), ignition="sequential").begin()
    return story.prove("good").spawn("bad").exit("bad", 1, ("last words",))


def _show(story: Story, console: Console, out: TextIO, err: TextIO) -> tuple[list[str], list[str]]:
    story.tell(console)
    console.close()
    out.seek(0)
    err.seek(0)
    return out.read().splitlines(), err.read().splitlines()


def _plain(story: Story, verbosity: int) -> tuple[list[str], list[str]]:
    out, err = io.StringIO(), io.StringIO()
    return _show(story, PlainConsole("demo", out, err, verbosity), out, err)


def test_plain_lines_tell_the_course_on_stdout_and_faults_on_stderr() -> None:
    out, err = _plain(_failing(), 0)
    assert out == ["Booting component good", "Health check passed for good", "Booting component bad"]
    assert err == [
        "ERROR Health check failed for bad",
        "ERROR bad: exited with code 1 before it was healthy",
        "    | last words",
        "ERROR bad: quarantined",
        "ERROR Mission demo failed: bad is quarantined (exited with code 1 before it was healthy)",
    ]


def test_quiet_says_only_what_failed_and_verbose_says_more() -> None:
    story = Story(component("a"), component("held")).begin(held={"held": ("upgrade", None)}).prove("a")
    assert _plain(story, -1) == ([], [])
    assert _plain(story, 0)[1] == ["WARN held: held: upgrade"]
    assert "a: started, pid 4711" in _plain(story, 1)[0]
    assert _plain(_failing(), -1)[0] == [] and _plain(_failing(), -1)[1] == _plain(_failing(), 0)[1]


def test_json_is_one_object_per_fact_with_the_errors_on_stderr_too() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = JsonConsole("demo", out, err)
    console.progress("core", "resolving \x1b[1m3 packages")
    console.line("ERROR", "disk is full")
    story = _failing()
    lines, errors = _show(story, console, out, err)
    objects = [json.loads(line) for line in lines]
    assert objects[0] == {"fact": "Progress", "layer": "core", "text": "resolving 3 packages"}
    assert objects[1] == {"fact": "Line", "level": "ERROR", "text": "disk is full"}
    facts = objects[2:]
    assert [fact["fact"] for fact in facts] == [type(fact).__name__ for fact, _ in story.told]
    quarantined = next(fact for fact in facts if fact.get("after") == "quarantined")
    assert quarantined["component"] == "bad" and quarantined["tail"] == ["last words"]
    assert quarantined["time"] == "2025-09-21T00:00:01Z" and quarantined["mission"] == "demo"
    assert facts[-1]["outcome"] == "failed"
    assert errors[0] == "ERROR disk is full" and errors[-1].startswith("ERROR Mission demo failed")


_PROGRAM = """
import sys
from razar.console import make_console
console = make_console("demo", json=sys.argv[1] == "json")
for number in range(int(sys.argv[2])):
    console.line("INFO", f"{number} " + "x" * 100)
console.close()
sys.exit(7)
"""


@pytest.mark.parametrize("form", ["plain", "json"])
def test_nobody_reading_is_no_fault(form: str) -> None:
    command = f"{sys.executable} -c '{_PROGRAM}' {form} 5000 | true; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, run.stderr) == (7, "")


def test_a_reader_that_never_reads_does_not_keep_the_program_from_ending() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "plain", "5000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None and program.stderr is not None
        assert program.wait(30) == 7
        assert program.stderr.read() == b""


def test_a_reader_that_does_not_read_stops_nothing() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as out, os.fdopen(read) as reader:
        console = PlainConsole("demo", out, io.StringIO())
        for number in range(5000):
            console.line("INFO", f"{number} " + "x" * 100)
        lines: list[str] = []
        thread = threading.Thread(target=lambda: lines.extend(iter(reader.readline, "")))
        thread.start()
        console.close()
        out.close()
        thread.join(10)
    assert [int(line.split()[0]) for line in lines] == list(range(5000))


def test_a_terminal_without_unicode_gets_escapes() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w", encoding="ascii") as out, os.fdopen(read, "rb") as reader:
        console = PlainConsole("demo", out, io.StringIO())
        console.line("INFO", "grüße")
        console.close()
        out.close()
        assert reader.read() == b"gr\\xfc\\xdfe\n"


class _Terminal:
    """A pseudo terminal whose other end is read all the time."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        self.stream = os.fdopen(slave, "w")
        self.seen = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self.master, 65536):
                self.seen += piece
        except OSError:
            pass

    def close(self) -> str:
        self.stream.close()
        self._thread.join(10)
        os.close(self.master)
        return self.seen.decode("utf-8", "replace")


def _words(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("wide")
def test_a_terminal_gets_a_live_table_and_plain_lines_after_the_boot() -> None:
    terminal = _Terminal()
    console = make_console("demo", ("good", "bad"), out=terminal.stream, err=terminal.stream)
    assert isinstance(console, LiveConsole)
    console.progress("core", "resolving 3 packages")
    until_sync(lambda: b"resolving 3 packages" in terminal.seen)
    story = _failing()
    story.tell(console)
    console.line("INFO", "plain from now on")
    console.close()
    text = terminal.close()
    words = _words(text)
    assert re.search(r"good +running +0\.2 s", words)
    assert re.search(r"bad +quarantined +1\.0 s +exited with code 1", words)
    assert "    | last words" in words and "ERROR Health check failed for bad" in words
    assert "\x1b[31m" in text and "\x1b[32m" in text
    assert words.rstrip().endswith("plain from now on")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1


@pytest.mark.usefixtures("wide")
def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = _Terminal()
    console = make_console("demo", ("good", "bad"), out=terminal.stream, err=terminal.stream)
    _failing().tell(console)
    console.close()
    text = terminal.close()
    assert "quarantined" in text and not re.search(r"\x1b\[3[0-9]m", text)


@pytest.mark.usefixtures("wide")
def test_a_boot_that_completes_and_stops_ends_in_plain_lines() -> None:
    terminal = _Terminal()
    console = make_console("demo", ("a",), out=terminal.stream, err=terminal.stream)
    story = Story(component("a")).begin().prove("a")
    story.take(events.ShutdownRequested("SIGINT")).exit("a", 0)
    story.tell(console)
    console.close()
    words = _words(terminal.close())
    last = [line for line in words.splitlines() if line]
    assert last[-3] == "Mission demo complete in 0.25 s"
    assert last[-2] == "a: stopped" and last[-1].startswith("Mission demo stopped")


class _Slow(importlib.abc.MetaPathFinder):
    """A disk from which ``rich.live`` is not read before somebody waits for it."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "rich.live":
            self.asked.set()
            self.go_on.wait(20)


@pytest.mark.usefixtures("wide")
def test_a_boot_that_fails_before_rich_is_there_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = _Slow()
    monkeypatch.setattr(sys, "meta_path", [slow, *sys.meta_path])
    monkeypatch.delitem(sys.modules, "rich.live", raising=False)
    terminal = _Terminal()
    console = make_console("demo", ("good", "bad"), out=terminal.stream, err=terminal.stream)
    assert isinstance(console, LiveConsole) and slow.asked.wait(20)
    _failing().tell(console)
    wait = console._imported.wait

    def waited_for(timeout: float | None = None) -> bool:
        slow.go_on.set()
        return wait(timeout)

    monkeypatch.setattr(console._imported, "wait", waited_for)
    console.close()
    words = _words(terminal.close())
    assert slow.go_on.is_set() and "ERROR Mission demo failed: bad is quarantined" in words


def test_dumb_terminals_pipes_and_files_get_plain_lines() -> None:
    terminal = _Terminal()
    for environ in ({"TERM": "dumb"}, {}):
        assert isinstance(
            make_console("demo", out=terminal.stream, err=terminal.stream, environ=environ), PlainConsole
        )
    quiet = make_console("demo", verbosity=-1, out=terminal.stream, environ={"TERM": "xterm"})
    assert isinstance(quiet, PlainConsole)
    screen = {"TERM": "xterm"}
    without = make_console("demo", out=terminal.stream, environ=screen, find=lambda name: None)
    assert isinstance(without, PlainConsole)
    terminal.close()
    assert isinstance(make_console("demo", out=io.StringIO(), environ={"TERM": "xterm"}), PlainConsole)
    assert isinstance(make_console("demo", json=True, out=io.StringIO()), JsonConsole)


def test_of_a_large_mission_the_table_shows_what_needs_attention() -> None:
    board = Board("demo", tuple(f"c{n}" for n in range(200)))
    for number, state in ((3, "igniting"), (7, "quarantined")):
        board.fact(
            Transition(
                component=f"c{number}",
                layer="l",
                before="pending",
                after=state,  # type: ignore[arg-type]
                incarnation=1,
                at=1.0,
                cause="boot",
            )
        )
    ids, others = board.shown()
    assert ids == ["c3", "c7"] and others == 198
    assert len(Board("demo", tuple(map(str, range(ROWS)))).shown()[0]) == ROWS


def test_plain_output_never_imports_rich(tmp_path: Path) -> None:
    code = (
        "import sys; from razar.console import make_console; c = make_console('demo', ('a',));"
        "c.line('INFO', 'hello'); c.close(); print([m for m in sys.modules if m.split('.')[0] == 'rich'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout == "hello\n[]\n"
