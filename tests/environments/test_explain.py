"""What people are told, from output that uv 0.13 (and older ones) gave in these situations."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from razar.environments.explain import LONGEST, explain, reason
from razar.environments.log import Redaction
from razar.environments.model import LayerError
from razar.environments.requirements import canonical, check_spec, parse
from razar.environments.uv import Uv, UvError
from tests.environments.conftest import output, spec

FULL = """error: Failed to create virtual environment
  cause: failed to write to file `/srv/v/CACHEDIR.TAG`: No space left on device (os error 28)"""
READ_ONLY = """error: Failed to create virtual environment
  cause: failed to create directory `/srv/v`: Read-only file system (os error 30)"""
DENIED = """error: Failed to initialize cache at `/root/.cache/uv`
  cause: failed to create directory `/root/.cache/uv`: Permission denied (os error 13)"""
CERTIFICATE = """error: Failed to fetch: https://index.example/simple/idna/
  cause: error sending request for url (https://index.example/simple/idna/)
  cause: client error (Connect)
  cause: invalid peer certificate: UnknownIssuer"""
NO_HOST = """error: Failed to fetch: https://index.example/simple/idna/
  cause: client error (Connect)
  cause: dns error
  cause: failed to lookup address information: Name or service not known"""
SLOW = """error: Failed to fetch: https://index.example/simple/idna/
  cause: operation timed out"""
GONE = """error: Failed to download `idna @ https://index.example/idna-3.20-py3-none-any.whl`
  cause: HTTP status client error (404 Not Found) for url (https://index.example/idna-3.20-py3-none-any.whl)"""
GIT = """error: Git operation failed
  cause: failed to clone into: /root/.cache/uv/git-v2/db/de3a50a5d282584f
  cause: process didn't exit successfully: `/usr/bin/git fetch` (exit status: 128)
         --- stderr
         fatal: couldn't find remote ref nosuch"""
BUILD = """   Building scipy==1.5.0
error: Failed to download and build `scipy==1.5.0`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)

         [stderr]
         Traceback (most recent call last):
           File "<string>", line 443, in <module>
         NameError: name 'CCompiler' is not defined

hint: Build failures usually indicate a problem with the package or the build environment"""
OLD_STYLE = """  × No solution found when resolving dependencies:
  ╰─▶ Because only idna<=3.20 is available and you require idna>999, we can
      conclude that your requirements are unsatisfiable."""


@pytest.mark.parametrize(
    ("output", "meaning", "advice"),
    [
        (FULL, "the disk is full", "Free some space"),
        (READ_ONLY, "the disk is read-only", "writable"),
        (DENIED, "may not be written", "UV_CACHE_DIR"),
        (CERTIFICATE, "certificate is not trusted", "SSL_CERT_FILE"),
        (NO_HOST, "cannot be reached", "--offline"),
        (SLOW, "cannot be reached", "--offline"),
        (GONE, "does not have it", "razar_env.yaml"),
        (GIT, "a git repository could not be fetched", "revision"),
        (BUILD, "scipy==1.5.0 has no ready-made package", "NameError: name 'CCompiler' is not defined"),
        (OLD_STYLE, "no set of versions suits", "you require idna>999, we can conclude"),
        ("error: something new", "failed: something new", "something new"),
        ("", "failed: uv gave no reason", ""),
    ],
)
def test_each_failure_has_its_meaning_and_advice(output: str, meaning: str, advice: str) -> None:
    text = explain("resolving the dependencies", output)
    assert text.startswith("resolving the dependencies failed")
    assert meaning in text and advice in text
    assert "\n" not in text


def test_how_uv_ended_is_told_if_not_by_itself() -> None:
    assert "uv was ended by signal KILL" in explain(
        "installing the packages", FULL, "was ended by signal KILL"
    )


def test_the_reason_leaves_out_what_a_build_printed_and_is_bounded() -> None:
    assert reason(BUILD) == (
        "Failed to download and build `scipy==1.5.0`; The build backend returned an error; "
        "Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)"
    )
    assert len(reason("error: " + "very long " * 500)) == LONGEST


def uv(program: Path, lines: list[str]) -> Uv:
    return Uv(
        str(program), environ={"PATH": os.defpath}, folder="/", offline=False,
        redact=lambda text: text, say=lines.append, note=lines.append,
    )  # fmt: skip


async def test_a_uv_that_hangs_or_dies_is_ended_and_explained(tmp_path: Path) -> None:
    program = tmp_path / "uv"
    lines: list[str] = []
    program.write_text("#!/bin/sh\necho working\nexec sleep 100\n")
    program.chmod(0o755)
    with pytest.raises(UvError, match="took longer than 3 s and was stopped") as caught:
        await uv(program, lines)("resolving", "x", timeout=3)
    assert caught.value.output == "working\n" and lines == ["$ uv x", "working"]
    program.write_text("#!/bin/sh\necho working\nkill -KILL $$\n")
    with pytest.raises(UvError, match="resolving failed: uv was ended by signal KILL") as caught:
        await uv(program, lines)("resolving", "x", timeout=20)
    assert caught.value.output == "working\n" and lines == ["$ uv x", "working"] * 2
    program.unlink()
    with pytest.raises(LayerError, match="uv could not be started"):
        await uv(program, lines)("resolving", "x", timeout=10)


def test_a_full_disk_is_told_with_the_place(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: it stops the writing of the lock."""
    program = (
        "import asyncio, os, resource, signal\nfrom razar.config.model import EnvironmentSpec as S\n"
        "from razar.environment_builder import prepare\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))\n"
        f"[one] = asyncio.run(prepare([S(layer='web', python='3.11')], root={str(tmp_path)!r},"
        f" log='/dev/null', environ=os.environ))\nprint(one.message)\n"
    )
    found = output(sys.executable, "-c", program, environ={"PYTHONPATH": os.getcwd()})
    assert found.startswith("layer web: its environment cannot be written: File too large")


def test_redaction_knows_variables_urls_and_both_spellings() -> None:
    redact = Redaction(
        {
            "UV_INDEX_URL": "https://me:p%40ss-word@index.example/simple",
            "UV_INDEX_MINE_PASSWORD": "plain-secret",
            "OTHER": "named-secret",
            "HOME": "/home/me",
        },
        named=["OTHER", "ABSENT"],
    )
    text = "p%40ss-word p@ss-word plain-secret named-secret /home/me ssh://git@host/x https://a:b@host/x"
    assert redact(text) == "**** **** **** **** /home/me ssh://****@host/x https://****@host/x"


@pytest.mark.parametrize(
    ("text", "portable", "path"),
    [
        ("starlette>=0.40", "starlette>=0.40", None),
        ("uvicorn [standard] ; python_version < '4'", "uvicorn [standard] ; python_version < '4'", None),
        ("a @ https://example.org/a.whl", "a @ https://example.org/a.whl", None),
        ("a @ git+https://example.org/a.git@v1", "a @ git+https://example.org/a.git@v1", None),
        ("./mine", "mine", "/srv/mission/mine"),
        ("./mine[x] ; os_name == 'posix'", "mine[x] ; os_name == 'posix'", "/srv/mission/mine"),
        ("mine @ ./packages/mine", "mine @ packages/mine", "/srv/mission/packages/mine"),
        ("mine @ file:///srv/mission/my%20own", "mine @ my own", "/srv/mission/my own"),
        ("/srv/mission/mine", "mine", "/srv/mission/mine"),
        ("../common/mine", "../common/mine", "/srv/common/mine"),
        ("/opt/mine-1.0-py3-none-any.whl",) * 3,
        ("mine-1.0-py3-none-any.whl", "mine-1.0-py3-none-any.whl", "/srv/mission/mine-1.0-py3-none-any.whl"),
    ],
)  # fmt: skip
def test_local_paths_are_told_from_names_and_addresses(text: str, portable: str, path: str | None) -> None:
    found = parse(text, "/srv/mission")
    assert (found.portable, found.path) == (portable, path)
    assert path is None or "file:///" in found.text


def test_what_was_asked_for_reads_the_same_in_every_clone() -> None:
    one = canonical(spec("b", "/srv/mission/mine", "a"), "/srv/mission")
    two = canonical(spec("a", "./mine", "b "), "/home/me/mission")
    assert one == two != canonical(spec("a", "b"), "/srv/mission")


@pytest.mark.parametrize(
    "text", ["x @ git+ssh://git@example.org/x.git", "x @ https://${TOKEN}@example.org/x.whl", "x @ https://me:${T}@e.org/x.whl"]
)  # fmt: skip
def test_addresses_without_a_secret_of_their_own_are_fine(text: str) -> None:
    check_spec(spec(text))
