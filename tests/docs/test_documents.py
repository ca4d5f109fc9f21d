"""The documents agree with the tree, the parsers and each other."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

from razar.boot.options import EXIT_CODES
from razar.config.brief import load_brief
from razar.config.load import load_mission

ROOT = Path(__file__).parents[2]
#: Written by people for people; what they show is what a reader types.
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [
    *GUIDES,
    ROOT / "ARCHITECTURE.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in one of these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every line of every shell block, without variables before and comments behind it."""
    found = []
    for page in GUIDES:
        for line in "".join(blocks(page, "sh", "bash")).splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if words:
                found.append((page.name, words))
    return found


@cache
def help_of(*command: str) -> str:
    """What a command says about itself; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", *command, "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_guides_show_commands() -> None:
    assert len(commands()) > 20


@pytest.mark.parametrize(
    ("page", "words"), [pytest.param(*one, id=f"{one[0]} {shlex.join(one[1])}") for one in commands()]
)
def test_every_command_is_known_with_its_options(page: str, words: list[str]) -> None:
    program, *arguments = words
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert arguments[0] in targets
        return
    if program in ("python", ".venv/bin/python"):
        assert arguments[0] == "-m", f"{page}: {words}"
        module, arguments = arguments[1], arguments[2:]
        assert find_spec(module) is not None
        if module == "pytest":
            assert all((ROOT / path).exists() for path in arguments)
            return
        shown = help_of(module)
    elif program == "razar":
        shown = help_of("razar", *arguments[: 2 if arguments[0] in ("quarantine", "repairs") else 1])
    else:
        assert program in ("cargo", "pip", "curl", "git", "cd", "maturin", "export"), f"{page}: {words}"
        return
    for path in arguments:
        if OURS.fullmatch(path):
            assert (ROOT / path).exists(), f"{page}: {path}"
    for option in arguments:
        if option.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(option.partition('=')[0])}(?![\w-])", shown), (
                f"{page}: {option}"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = unquote(target).partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {target}"


#: Folders of the tree, and what a run makes in them.
OURS = re.compile(
    r"(?:razar|tests|docs|scripts|examples|benchmarks|requirements|agents|memory|monitoring|neoabzu_\w+)/[\w./<>*-]+"
)
MADE = {"docs/quarantine_log.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for name in re.findall(r"`([^`\s]+)`", page.read_text(encoding="utf-8")):
        if OURS.fullmatch(name) and not re.search(r"[<>*]", name) and name not in MADE:
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_mission_in_the_readme_is_accepted(tmp_path: Path) -> None:
    [text] = blocks(ROOT / "README.md", "json")
    path = tmp_path / "boot_config.json"
    path.write_text(text)
    layers = sorted({component["layer"] for component in json.loads(text)["components"]})
    config = load_mission(str(path), environ={}, layers=layers)
    assert [component.id for component in config.components] == [
        component["id"] for component in json.loads(text)["components"]
    ]


def test_the_example_of_a_brief_is_one_of_the_demo() -> None:
    config = load_mission(str(ROOT / "boot_config.json"), environ={}, layers=[])
    brief = ROOT / "examples" / "demo_brief.json"
    assert load_brief(str(brief), [component.id for component in config.components])["open_issues"]


def test_the_environments_in_the_readme_are_accepted(tmp_path: Path) -> None:
    from razar.config.environments import load_environments

    [text] = blocks(ROOT / "README.md", "yaml")
    (tmp_path / "store").mkdir()
    path = tmp_path / "razar_env.yaml"
    path.write_text(text)
    assert {spec.layer for spec in load_environments(str(path))} == {"memory", "core"}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_every_json_example_is_json(page: Path) -> None:
    for text in blocks(page, "json"):
        try:
            json.loads(text)
        except json.JSONDecodeError:
            try:
                json.loads(f"{{{text}}}")  # One key of an object.
            except json.JSONDecodeError:
                for line in text.splitlines():  # One object a line.
                    json.loads(line)


def test_the_exit_codes_of_the_help_are_those_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [told] = re.findall(r"^Exit codes: (.*?)\n\n", readme, re.MULTILINE | re.DOTALL)
    told = " ".join(told.split())
    in_help = [(codes, text) for codes, text in re.findall(r"^  ([\d/]+) +(.+)$", EXIT_CODES, re.MULTILINE)]
    in_readme = re.findall(r"(?:^|; )(\d+(?: and \d+)?) ", told)
    assert in_readme == [codes.replace("/", " and ") for codes, _ in in_help]
    shown = help_of("razar.boot_orchestrator")
    assert EXIT_CODES in shown and EXIT_CODES in help_of("razar", "boot")


def test_the_guide_of_configuration_knows_every_option_of_the_boot() -> None:
    options = set(re.findall(r"--[a-z-]+", help_of("razar.boot_orchestrator")))
    assert options >= {f"--{name}" for name in (
        "mission brief config environments logs check plan detach exit-after-boot no-repair retries remote-attempts "
        "long-task locked offline json verbose quiet"
    ).split()}  # fmt: skip


#: What belongs to one machine or to how the project was made. In pieces, so that this file is free of it.
FORBIDDEN = [
    "/wo" + "rk/main", "/wo" + "rk/shared",
    "/tmp/" + "dev", "/ro" + "ot/.pyenv", "/home/" + "user", "pypi" + ".org", "python" + "hosted.org",
    "index.crates" + ".io", "static.crates" + ".io", "CON" + "TRACT.md", "DES" + "IGN.md", "../sha" + "red/reference",
    "issues " + "show", "arti" + "factory",
]  # fmt: skip


def test_no_file_speaks_of_the_machine_it_was_made_on() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("which files belong to the project is known in a clone only")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_symlink() or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue  # Of another test, and gone meanwhile.
        found += [f"{name}: {word}" for word in FORBIDDEN if word in text]
    assert found == []
