"""Editing razar_env.yaml: one dependency more, every other character as it was."""

from __future__ import annotations

import pytest
import yaml

from razar.issues.environment_edit import EditError, add_dependency

#: (before, after); every text begins with ``environments:``.
CASES = {
    "block list": (
        "\n- layer: a\n  dependencies:\n  - x\n",
        "\n- layer: a\n  dependencies:\n  - x\n  - new\n",
    ),
    "comment after the last": (
        "\n  - layer: a\n    dependencies:\n      - x # why\n    # end\n    python: '3.11'\n",
        "\n  - layer: a\n    dependencies:\n      - x # why\n      - new\n    # end\n    python: '3.11'\n",
    ),
    "no last newline": (
        "\n- layer: a\n  dependencies:\n  - x",
        "\n- layer: a\n  dependencies:\n  - x\n  - new\n",
    ),
    "flow list": (
        " [{layer: a, dependencies: [x, y]}]\n",
        " [{layer: a, dependencies: [x, y, new]}]\n",
    ),
    "flow with a last comma": (
        "\n- layer: a\n  dependencies: [x, ]\n",
        "\n- layer: a\n  dependencies: [x, new, ]\n",
    ),
    "empty flow list": (
        "\n- layer: a\n  dependencies: []\n",
        "\n- layer: a\n  dependencies: [new]\n",
    ),
    "flow over lines": (
        "\n- layer: a\n  dependencies: [\n    x,\n    y  # z\n  ]\n",
        "\n- layer: a\n  dependencies: [\n    x,\n    y, new  # z\n  ]\n",
    ),
    "nothing after the key": (
        "\n- layer: a\n  dependencies:\n  python: '3'\n",
        "\n- layer: a\n  dependencies:\n    - new\n  python: '3'\n",
    ),
    "null": (
        "\n- layer: a\n  dependencies: null\n",
        "\n- layer: a\n  dependencies: [new]\n",
    ),
    "no key": (
        "\n- layer: a\n  python: '3'\n\n- layer: b\n",
        "\n- layer: a\n  python: '3'\n  dependencies:\n    - new\n\n- layer: b\n",
    ),
    "no key, flow": (
        "\n- {layer: a}\n",
        "\n- {layer: a, dependencies: [new]}\n",
    ),
    "first of two": (
        "\n- layer: a\n  dependencies:\n  - x\n\n# the other\n- layer: b\n  dependencies:\n  - x\n",
        "\n- layer: a\n  dependencies:\n  - x\n  - new\n\n# the other\n- layer: b\n  dependencies:\n  - x\n",
    ),
    "windows lines": (
        "\r\n- layer: a\r\n  dependencies:\r\n  - x\r\n",
        "\r\n- layer: a\r\n  dependencies:\r\n  - x\r\n  - new\r\n",
    ),
    "several lines of text": (
        "\n- layer: a\n  dependencies:\n  - >-\n    x\n  python: '3'\n",
        "\n- layer: a\n  dependencies:\n  - >-\n    x\n  - new\n  python: '3'\n",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_list_grows_and_nothing_else_changes(case: str) -> None:
    before, after = (f"environments:{text}" for text in CASES[case])
    assert add_dependency(before, "a", "new") == after
    listed = yaml.safe_load(after)["environments"][0]["dependencies"]
    assert listed[-1] == "new"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("environments:\n- layer: b\n", "no layer a"),
        ("layers: {}\n", "no list environments"),
        ("- a\n", "no list environments"),
        ("", "no list environments"),
        ("environments:\n- layer: a\n  dependencies: x\n", "not a list"),
        ("environments:\n- layer: a\n  dependencies: [[x]]\n", "no text"),
        ("environments:\n- layer: a\n  dependencies: ['New>=1']\n", "already listed"),
        ("environments:\n- layer: b\n  dependencies: &d [x]\n- layer: a\n  dependencies: *d\n", "alias"),
        ("environments:\n- layer: a\n  dependencies: &d [x]\n- layer: b\n  dependencies: *d\n", "safely"),
        ("environments: [\n", "no valid YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "no list environments"),
        ("[" * 900_000, "brackets"),
        ("environments:\n- layer: a\n" + "#" * 1_000_000, "more than"),
    ],
)
def test_what_is_not_safe_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(EditError, match=reason):
        add_dependency(text, "a", "new")
