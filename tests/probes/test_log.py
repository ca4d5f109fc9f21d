"""Log probes: a line since this launch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from razar.config.model import Probe
from razar.launchers import logs
from razar.probes.base import ProbeError
from razar.probes.log import LINE_LIMIT, LogCheck
from tests.support.components import probe_target
from tests.support.waiting import until


class Log:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "current.log"
        self.path.touch()

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def check(self, pattern: str, offset: int = 0) -> LogCheck:
        return LogCheck(probe_target(Probe(kind="log", target=pattern), self.folder, log_offset=offset))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


async def found(check: LogCheck) -> bool:
    error = ""
    try:
        await check.attempt()
    except ProbeError as failure:
        error = str(failure)
    assert error.startswith("no line of the log matches") or not error
    return not error


async def test_line_that_appears(log: Log) -> None:
    check = log.check(r"^Listening on port \d+$")
    assert not await found(check)
    log.write(b"starting\nListening on por")
    assert not await found(check)
    log.write(b"t 8000\nmore\n")
    assert await found(check)
    assert await found(check), "what was logged stays logged"


async def test_line_of_an_earlier_launch_does_not_count(log: Log) -> None:
    log.write(b"ready\n")
    check = log.check("ready", log.path.stat().st_size)
    assert not await found(check)
    log.write(b"ready\n")
    assert await found(check)


async def test_line_without_its_end(log: Log) -> None:
    check = log.check("^ready>")
    log.write(b"loading\nready> ")
    assert await found(check)


async def test_line_in_colour_and_with_windows_ends(log: Log) -> None:
    check = log.check("^INFO: up$")
    log.write(b"\x1b[32mINFO\x1b[0m: up\r\n")
    assert await found(check)


async def test_many_lines_at_once(log: Log) -> None:
    check = log.check("^line 99999$")
    log.write(b"".join(b"line %d\n" % n for n in range(100_000)))
    assert await until(lambda: found(check))


async def test_beginning_of_a_very_long_line_is_searched(log: Log) -> None:
    log.write(b"begin " + b"x" * (2 << 20) + b" far away\nnext\n")
    assert await found(log.check("^begin"))
    assert await found(log.check("^next$"))
    check = log.check("far away")
    assert not await found(check)
    assert len(check._rest) <= LINE_LIMIT


async def test_bytes_that_are_no_text(log: Log) -> None:
    log.write(b"\xff\xfe\x00ready\n")
    assert await found(log.check("ready"))


async def test_pattern_that_would_search_for_ever_is_given_up(log: Log) -> None:
    """Nested repetitions take exponential time; the loop must not stand still for them."""
    check = log.check(r"^(a+)+$")
    log.write(b"a" * 64 + b"!\n")
    for _ in range(2):
        with pytest.raises(ProbeError, match="takes too long to search: avoid nested repetitions"):
            await check.attempt()


async def test_pattern_that_is_none(log: Log) -> None:
    with pytest.raises(ProbeError, match="is not a regular expression: missing \\)"):
        log.check("(")


async def test_rotation_in_between(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is searched twice and nothing is skipped when the front of the log is cut off."""
    monkeypatch.setattr(logs, "STAY", 4096)
    file = logs.log_file(str(log.path))
    check = log.check("^needle$")
    log.write(b"needless\n" * 20_000)
    assert not await found(check)
    if not file.rotate():
        pytest.skip("this file system cannot cut off the front of a file")
    assert log.path.stat().st_size < 10_000
    assert not await found(check)
    log.write(b"needle\n")
    assert await found(check)


async def test_unread_part_is_cut_off(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cut off before it was searched is searched all the same."""
    monkeypatch.setattr(logs, "STAY", 4096)
    check = log.check("^needle$")
    log.write(b"hay\n" * 20_000 + b"needle\n" + b"hay\n" * 20_000)
    if not logs.log_file(str(log.path)).rotate():
        pytest.skip("this file system cannot cut off the front of a file")
    assert b"needle" not in log.path.read_bytes()
    assert await found(check)


async def test_log_that_is_not_there(log: Log) -> None:
    check = log.check("ready")
    os.unlink(log.path)
    assert not await found(check)
