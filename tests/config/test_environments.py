"""razar_env.yaml: plain data, checked as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from razar.config.environments import load_environments
from razar.config.model import EnvironmentSpec

from .support import faults_of, only_fault, write


def load(folder: Path, text: str | bytes) -> tuple[EnvironmentSpec, ...]:
    return load_environments(write(folder, text, "razar_env.yaml"))


def one(dependency: str, python: str = "'3.11'") -> str:
    return f"environments:\n  - layer: core\n    python: {python}\n    dependencies:\n      - {dependency}\n"


def test_a_sound_file(tmp_path: Path) -> None:
    text = """# Comments are fine.
environments:
  - {layer: core, python: "3.11", dependencies: []}
  - layer: Web.v2
    python: ">=3.11, <3.14"
    dependencies: [starlette, 'uvicorn[standard]>=0.30', "x @ https://h/x.whl"]
"""
    assert load(tmp_path, text) == (
        EnvironmentSpec(layer="core", python="3.11"),
        EnvironmentSpec(
            layer="Web.v2",
            python=">=3.11, <3.14",
            dependencies=("starlette", "uvicorn[standard]>=0.30", "x @ https://h/x.whl"),
        ),
    )


def test_no_file_means_no_environments(tmp_path: Path) -> None:
    path = str(tmp_path / "razar_env.yaml")
    assert load_environments(path) == ()
    assert only_fault(lambda: load_environments(path, required=True)).found == "no such file"


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = """environments:
  - layer: core
    python: 3.10
    dependencies: [3, "-r other", ./nowhere, "a b"]
  - layer: core
    pyton: "3.11"
    dependencies: []
  - layer: a/b
    python: newest
    layer: c
"""
    faults = faults_of(lambda: load(tmp_path, text))
    assert [(f.line, f.column, f.pointer) for f in faults] == [
        (3, 13, "/environments/0/python"),
        (4, 20, "/environments/0/dependencies/0"),
        (4, 23, "/environments/0/dependencies/1"),
        (4, 35, "/environments/0/dependencies/2"),
        (4, 46, "/environments/0/dependencies/3"),
        (5, 5, "/environments/1"),
        (5, 12, "/environments/1/layer"),
        (6, 5, "/environments/1/pyton"),
        (8, 5, "/environments/2"),
        (9, 13, "/environments/2/python"),
        (10, 5, "/environments/2/layer"),
    ]
    assert faults[6].hint == "the first is on line 2"
    assert faults[7].hint == 'did you mean "python"?'
    assert faults[10].hint == "the first is on line 8"


@pytest.mark.parametrize(("python", "shown"), [("3.10", "3.10"), ("3", "3"), ("3.11", "3.11")])
def test_a_version_without_quotes_is_explained(tmp_path: Path, python: str, shown: str) -> None:
    fault = only_fault(lambda: load(tmp_path, one("a", python)))
    assert fault.found == f"the number {shown}"
    assert "3.10 as 3.1" in (fault.hint or "")


@pytest.mark.parametrize("python", ["3", "3.11", "3.11.7", ">=3.11", ">= 3.11,<4", "~=3.11.0", "==3.11.*"])
def test_versions(tmp_path: Path, python: str) -> None:
    assert load(tmp_path, one("a", f"'{python}'"))[0].python == python


@pytest.mark.parametrize(
    "python", ["''", "latest", "'3.x'", "'3.11.1.1'", "'3.11 '", "'--x'", "'3.11;x'", "yes", "~", "[3]"]
)
def test_no_versions(tmp_path: Path, python: str) -> None:
    assert only_fault(lambda: load(tmp_path, one("a", python))).pointer == "/environments/0/python"


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a-b.c_d",
        "a[b,c]",
        "a>=1,<2",
        "a (>=1)",
        "a~=1.0; python_version<'4'",
        "a==1!2.0+l",
        "a===1",
        "a @ https://h/a.whl",
        "a[b] @ git+https://h/a@main#subdirectory=x",
        "a @ file:///x/a.whl",
    ],
)
def test_requirements(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, one('"' + text + '"'))[0].dependencies == (text,)


@pytest.mark.parametrize(
    "text",
    [
        "''",
        "' '",
        "'>=1'",
        "'a>='",
        "'a['",
        "'a b'",
        "'-e ./x'",
        "'--index-url=x'",
        '"a\\nb"',
        "'https://h/a.whl'",
    ],
)
def test_no_requirements(tmp_path: Path, text: str) -> None:
    assert only_fault(lambda: load(tmp_path, one(text))).pointer == "/environments/0/dependencies/0"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("./pkg", "{}/pkg"),
        ("pkgs/../pkg", "{}/pkg"),
        ("./pkg[extra]", "{}/pkg[extra]"),
        ("./pkg ; python_version < '4'", "{}/pkg ; python_version < '4'"),
        ("name @ ./pkg", "name @ {}/pkg"),
        ("pkg/a.whl", "{}/pkg/a.whl"),
        (".", "{}"),
    ],
)
def test_local_paths_become_absolute(tmp_path: Path, text: str, result: str) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "a.whl").touch()
    assert load(tmp_path, one(f'"{text}"'))[0].dependencies == (result.format(tmp_path),)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: !!python/object/apply:os.system [x]", "the tag"),
        ("a: !!str x", "the tag"),
        ("a: !x y", "the tag"),
        ("a: &x [1]\nb: *x", "an anchor"),
        ("<<: *x", "an anchor"),
        ("[" * 100_000, "more than 64"),
        ("- " * 500, "more than 64"),
        ("{a: " * 1000, "more than 64"),
        ("a\n---\nb", "a second document"),
        ("? [a]\n: b", "a list or an object as a key"),
        ("? {a: b}\n: b", "a list or an object as a key"),
        ("a: b: c", "mapping values are not allowed"),
        ("a: 'x", "unexpected end of stream"),
        ("a:\n\t- b", "character that cannot start any token"),
        ("a: \x01", "characters that YAML does not allow"),
        (b"a: \xff", "the byte 0xff"),
        ("", "null"),
        ("environments: {}", "an empty object"),
        ("enviroments: []", "the unknown key"),
    ],
)
def test_what_is_no_plain_data(tmp_path: Path, text: str | bytes, found: str) -> None:
    assert faults_of(lambda: load(tmp_path, text))[0].found.startswith(found)


def test_an_alias_bomb_is_refused_at_its_first_anchor(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    fault = only_fault(lambda: load(tmp_path, "\n".join(lines)))
    assert (fault.line, fault.column) == (1, 5)


def test_large_files_are_refused(tmp_path: Path) -> None:
    assert "bytes" in only_fault(lambda: load(tmp_path, "#" * (1024 * 1024 + 1))).found


def test_secrets_in_urls_are_not_shown(tmp_path: Path) -> None:
    fault = only_fault(lambda: load(tmp_path, one('"x y @ https://u:hunter2@h/x"')))
    assert "hunter2" not in str(fault)
