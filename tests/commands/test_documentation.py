"""Every command in docs/commands.md is run, in its order, and ends as the page says."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from razar.cli import VERBS
from tests.commands.mission import REPOSITORY, environment, running

PAGE = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")


def commands() -> list[tuple[list[str], str]]:
    """(arguments, comment) of every line of every shell block."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            command, _, comment = line.partition(" #")
            program, *arguments = shlex.split(command)
            assert program == "razar", line
            found.append((arguments, comment))
    return found


def test_the_page_shows_every_command() -> None:
    assert {arguments[0] for arguments, _ in commands()} == set(VERBS)


def test_every_command_on_the_page_does_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "brief.json").write_text('{"objective": "serve"}')
    with running(tmp_path) as folder:
        for arguments, comment in commands():
            expected = int(found[1]) if (found := re.search(r"exit (\d+)", comment)) else 0
            process = subprocess.Popen(
                [sys.executable, "-m", "razar", *arguments],
                cwd=folder.path,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            if "until Ctrl-C" in comment:
                assert process.stdout.readline()
                process.send_signal(signal.SIGINT)
                expected = 130
            out, err = process.communicate(timeout=30)
            if arguments[0] == "doctor" and "fail    extension" in out:
                expected = 1  # A source tree whose extension has not been built.
            assert process.returncode == expected, (arguments, out, err)
            assert "Traceback" not in err, (arguments, err)


def test_the_fields_of_a_request_are_those_on_the_page() -> None:
    from razar.control.messages import Request

    table = PAGE.partition("| field | for | meaning |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(Request.__struct_fields__)
