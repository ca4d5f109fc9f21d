"""What opencode may do as a program, played by scripts: versions, options, and what they leave in the copy."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path

import pytest

from agents.razar.agent import Suggestion, Task
from agents.razar.errors import (
    AgentError,
    AgentTimeoutError,
    BrokenConnectionError,
    ConfigurationError,
    ProposalRefusedError,
    QuotaError,
    UnknownModelError,
)
from agents.razar.providers.opencode import OpencodeAgent
from agents.razar.providers.opencode_config import inline, settings
from tests.agents.tasks import task_in

pytestmark = pytest.mark.usefixtures("scratch")
KEY = "k-program-0123456789abcdef"
SECRET = "s-planted-0123456789abcdef"
EDIT = "open('src/server.py', 'a').write('# mended\\n')"


@pytest.fixture
def task(tmp_path: Path) -> Task:
    task = task_in(tmp_path / "mission")
    Path(task.root, "src/settings.py").write_text(f"api_key = '{SECRET}'\nretries = 1\n")
    return task


def program(folder: Path, body: str, version: str = "1.18.33") -> str:
    """A script that plays opencode: ``body`` has ``args``, ``words`` (of stdin) and ``tell(type, **part)``."""
    head = f"""\
        #!{sys.executable} -IS
        import json, os, sys, time
        args = sys.argv[1:]
        if args == ["--version"]:
            print({version!r})
            sys.exit()
        if args[0] == "acp":
            sys.exit(1)
        words = sys.stdin.read()
        def tell(type, error=None, **part):
            print(json.dumps({{"type": type, "part": part, "error": error}}), flush=True)
        """
    path = folder / "opencode"
    path.write_text(textwrap.dedent(head) + textwrap.dedent(body))
    path.chmod(0o755)
    return str(path)


async def ask(
    task: Task, binary: str, seconds: float = 30, wires: tuple[str, ...] = ("run",), **environ: str
) -> Suggestion:
    variables = {
        "PATH": os.environ["PATH"],
        "OPENCODE_BIN": binary,
        "OPENCODE_BACKEND": "kimi",
        "KIMI2_ENDPOINT": "http://localhost:9/v1",
        "KIMI2_API_KEY": KEY,
        **environ,
    }
    return await OpencodeAgent(variables, wires=wires).propose(task, seconds=seconds)


@pytest.mark.parametrize("wires", [("run",), ("acp", "run")], ids=["run", "acp cannot be had"])
async def test_the_copy_is_compared_whatever_the_exit_code(
    task: Task, tmp_path: Path, wires: tuple[str, ...]
) -> None:
    body = f"""
        assert args[:5] == ["run", "--format", "json", "--title", "repair"] and len(args) == 5, args
        assert "the port is taken" in words
        tell("step_start")
        {EDIT}
        tell("text", text="CAUSE: a cause")
        tell("step_finish", reason="stop", tokens={{"input": 5, "output": 2, "reasoning": 1}})
        tell("a kind of tomorrow")
        print("no JSON")
        sys.exit(7)
    """
    found = await ask(task, program(tmp_path, body), wires=wires)
    [edit] = found.proposal.edits
    assert edit.path == "src/server.py" and (edit.new or "").endswith("# mended\n")
    assert found.proposal.root_cause == "a cause" and (found.tokens, found.requests) == (8, 1)
    assert [sent.what for sent in found.sent].count("prompt") == 1


async def test_version_2_gets_a_server_of_its_own(task: Task, tmp_path: Path) -> None:
    body = f"""
        assert args[-1] == "--standalone"
        tell("step_start")
        {EDIT}
    """
    assert (await ask(task, program(tmp_path, body, "2.0.17"))).proposal.edits


async def test_the_older_option_is_tried_where_the_newer_is_unknown(task: Task, tmp_path: Path) -> None:
    body = f"""
        if "--format" in args:
            sys.exit("Unknown argument: format")
        assert args[1] == "--json"
        tell("step_start")
        {EDIT}
    """
    assert (await ask(task, program(tmp_path, body))).proposal.edits


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("tell('step_start'); tell('text', text='Have you tried another port?')", "only prose"),
        ("os.unlink('notes.md')", "deletes or renames 'notes.md'"),
        ("os.rename('notes.md', 'other.md')", "deletes or renames 'notes.md'"),
        (
            "os.unlink('notes.md'); os.symlink('/etc/hostname', 'notes.md')",
            "'notes.md' is no longer a text file",
        ),
        ("open('src/x.bin', 'wb').write(bytes(9))", "'src/x.bin' is no longer a text file"),
        (
            "open('src/settings.py', 'w').write('api_key = 1\\nretries = 1\\n')",
            "touches a place where a secret",
        ),
        ("open('src/key.py', 'w').write(os.environ['KIMI2_API_KEY'])", "repeats our own key"),
        ("open('big.dat', 'w').write('mine')", "writes 'big.dat', which it was not shown"),
        ("tell('step_start')\nwhile True: tell('step_start')", "not done after 80 steps"),
        (f"{EDIT}; tell('step_start'); tell('step_finish', reason='length')", "cut off"),
        ("[open(f'src/f{n}.py', 'w').write('x = 1\\n') for n in range(60)]", "more than 50 places"),
    ],
)
async def test_what_cannot_become_a_proposal_is_refused(
    body: str, words: str, task: Task, tmp_path: Path
) -> None:
    Path(task.root, "big.dat").write_bytes(bytes(100))
    with pytest.raises(ProposalRefusedError, match=words) as caught:
        await ask(task, program(tmp_path, body))
    assert KEY not in str(caught.value) and SECRET not in str(caught.value) and caught.value.sent


async def test_an_error_counts_even_after_an_edit(task: Task, tmp_path: Path) -> None:
    error = {"name": "APIError", "data": {"message": f"no such model {KEY}", "statusCode": 404}}
    body = f"tell('step_start'); {EDIT}; tell('error', error={error!r})"
    with pytest.raises(UnknownModelError, match="no such model") as caught:
        await ask(task, program(tmp_path, body))
    assert KEY not in str(caught.value)


async def test_one_that_fails_at_once_says_why(task: Task, tmp_path: Path) -> None:
    body = f"print('first', file=sys.stderr); sys.exit('no terminal, {KEY}')"
    with pytest.raises(BrokenConnectionError, match="before it did anything: no terminal, ") as caught:
        await ask(task, program(tmp_path, body))
    assert KEY not in str(caught.value)


LOG = 'level=ERROR message="stream error" small=false error.error="AI_APICallError: {words}"'


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Your account is suspended", QuotaError),
        ("engine overloaded", AgentTimeoutError),
        (None, AgentTimeoutError),
    ],
)
async def test_the_deadline_ends_it_and_its_log_says_why(
    words: str | None, kind: type[AgentError], task: Task, tmp_path: Path, scratch: Path
) -> None:
    body = f"""
        folder = os.path.expanduser("~/.local/share/opencode/log")
        os.makedirs(folder)
        if {words!r}:
            open(folder + "/opencode.log", "w").write({LOG.format(words=words)!r} + "\\n")
        time.sleep(300)
    """
    with pytest.raises(AgentError, match=words or "gave up after 3 s$") as caught:
        await ask(task, program(tmp_path, body), seconds=3)
    assert type(caught.value) is kind and list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.9.1", "found opencode 0.9.1, expected version 1 or 2"),
        ("oc, a client", "expected a version of opencode"),
    ],
)
async def test_a_program_that_is_something_else(version: str, words: str, task: Task, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=words):
        await ask(task, program(tmp_path, "", version))


async def test_a_program_that_is_not_there(task: Task, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="OPENCODE_BIN is '/nowhere/opencode'"):
        await ask(task, "/nowhere/opencode")


async def test_without_git_nothing_may_lie_above_the_copy(task: Task, tmp_path: Path) -> None:
    binary = program(tmp_path, f"tell('step_start'); {EDIT}")
    bare = tmp_path / "bin"
    bare.mkdir()
    assert (await ask(task, binary, PATH=str(bare))).proposal.edits
    (tmp_path / ".opencode").mkdir()
    with pytest.raises(ConfigurationError, match=r"\.opencode would be used by opencode"):
        await ask(task, binary, PATH=str(bare))


def test_the_key_is_in_its_environment_and_nowhere_in_its_configuration() -> None:
    environ = {"OPENCODE_BACKEND": "kimi-k2", "KIMI2_ENDPOINT": "https://api.moonshot.ai/v1/chat/completions"}
    given = settings(environ | {"KIMI2_API_KEY": KEY})
    told = inline(given, edit="ask")
    config = json.loads(told["OPENCODE_CONFIG_CONTENT"])
    assert (
        KEY not in told["OPENCODE_CONFIG_CONTENT"] and told["KIMI2_API_KEY"] == KEY and KEY not in repr(given)
    )
    options = config["provider"]["kimi2"]["options"]
    assert options == {"baseURL": "https://api.moonshot.ai/v1", "apiKey": "{env:KIMI2_API_KEY}"}
    assert config["model"] == "kimi2/kimi-k2.6" and config["share"] == "disabled"
    assert next(iter(config["permission"])) == "*" and config["permission"]["*"] == "deny"
    assert given.endpoint == "https://api.moonshot.ai/v1/chat/completions"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OPENCODE_BACKEND": "gpt"}, "OPENCODE_BACKEND: found 'gpt', expected kimi"),
        ({"OPENCODE_BACKEND": "kimi"}, "KIMI2_ENDPOINT is not set"),
        ({"OPENCODE_BACKEND": "kimi", "KIMI2_ENDPOINT": "nonsense"}, "KIMI2_ENDPOINT is no URL"),
    ],
)
def test_settings_that_cannot_be_used(environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        settings(environ)


def test_its_own_settings_are_read_with_comments_and_only_the_model_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "opencode"
    folder.mkdir(parents=True)
    text = """{ // mine
      "model": "a/b", /* "model": "c/d" */ "plugin": ["evil"], "mcp": {"x": {"command": ["evil"]}},
      "provider": {"a": {"options": {"apiKey": "{env:A_KEY}", "baseURL": "http://h//v1", }, }, },
    }"""
    (folder / "opencode.jsonc").write_text(text)
    given = settings({"HOME": str(tmp_path), "A_KEY": KEY, "B_KEY": "other"})
    assert given.config == {
        "model": "a/b", "provider": {"a": {"options": {"apiKey": "{env:A_KEY}", "baseURL": "http://h//v1"}}}
    }  # fmt: skip
    assert given.env == {"A_KEY": KEY} and given.model == "a/b" and given.auth is None
    (folder / "opencode.jsonc").write_text('{"model": "' + KEY)
    with pytest.raises(ConfigurationError, match="is no JSON with comments") as caught:
        settings({"HOME": str(tmp_path)})
    assert KEY not in str(caught.value)
