"""Edits made of what an agent did to a text: they do the same to the real file, and quote no secret."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.razar.errors import ProposalRefusedError
from agents.razar.local.text_changes import Shown, edits_between, merged
from agents.razar.patching.edits import by_path, new_text

SECRET = "hunter2hunter2"


def mask(text: str) -> str:
    return text.replace(SECRET, "***")


def shown(real: str) -> Shown:
    return Shown(path="a.py", real=real, text=mask(real))


def applied(real: str, after: str) -> str:
    edits = edits_between(shown(real), after)
    assert SECRET not in "".join(text for edit in edits for text in edit.texts)
    return new_text("a.py", real, by_path(edits)["a.py"]) if edits else real


LINES = st.lists(
    st.sampled_from(["a = 1\n", "b = 2\n", "\n", "    pass\n", "x\r\n", "c = '***'\n"]), max_size=12
)


@given(LINES, LINES, st.booleans(), st.booleans())
def test_edits_make_of_the_old_text_the_new_one(
    before: list[str], after: list[str], open_before: bool, open_after: bool
) -> None:
    old, new = "".join(before), "".join(after)
    old, new = (
        (old.removesuffix("\n") if open_before else old),
        (new.removesuffix("\n") if open_after else new),
    )
    try:
        edits = edits_between(Shown(path="a.py", real=old, text=old), new)
    except ProposalRefusedError:
        return  # Said so: never something else.
    found = new_text("a.py", old, edits) if edits else old
    assert found.replace("\r\n", "\n").removesuffix("\n") == new.replace("\r\n", "\n").removesuffix("\n")


MASKED = st.lists(st.sampled_from(["a = 1\n", "b = 2\n", f"key = '{SECRET}'\n", "\n", "end\n"]), max_size=12)


@given(MASKED, st.data())
def test_a_secret_is_never_quoted_and_never_lost(before: list[str], data: st.DataObject) -> None:
    seen = [mask(line) for line in before]
    at = data.draw(st.integers(0, len(seen)))
    gone = data.draw(st.integers(0, 2))
    after = [
        *seen[:at],
        *data.draw(st.lists(st.sampled_from(["new\n", "a = 1\n"]), max_size=2)),
        *seen[at + gone :],
    ]
    real = "".join(before)
    try:
        found = applied(real, "".join(after))
    except ProposalRefusedError:
        return
    assert mask(found) == "".join(after) and found.count(SECRET) == real.count(SECRET)


def test_a_change_far_from_a_secret_goes_through() -> None:
    real = f"a = 1\nkey = '{SECRET}'\nb = 2\nc = 3\n"
    assert applied(real, mask(real).replace("c = 3", "c = 4")) == real.replace("c = 3", "c = 4")
    assert applied(real, mask(real).replace("b = 2\n", "b = 2\nd = 5\n")) == real.replace(
        "b = 2\n", "b = 2\nd = 5\n"
    )


@pytest.mark.parametrize(
    "change",
    [
        ("key = '***'", "key = 'mine'"),
        ("key = '***'\n", ""),
        ("b = 2\n", "b = 2\ncopy = '***'\n"),
        ("a = 1\nkey = '***'\n", "key = '***'\na = 1\n"),
    ],
)
def test_a_change_of_what_is_masked_is_refused(change: tuple[str, str]) -> None:
    real = f"a = 1\nkey = '{SECRET}'\nb = 2\n"
    with pytest.raises(ProposalRefusedError, match="touches a place where a secret is withheld"):
        applied(real, mask(real).replace(*change))


def test_masks_that_take_lines_away() -> None:
    real = "a = 1\nkey = '''one\ntwo\nthree'''\nb = 2\nc = 3\n"
    seen = Shown(path="a.py", real=real, text=re.sub(r"one\ntwo\nthree", "***", real))
    [edit] = edits_between(seen, seen.text.replace("c = 3", "c = 4"))
    assert new_text("a.py", real, [edit]) == real.replace("c = 3", "c = 4") and "two" not in (edit.old or "")


def test_the_same_line_many_times_gets_lines_around_it() -> None:
    real = "".join(f"def f{number}():\n    pass\n" for number in range(40))
    after = real.replace("def f7():\n    pass", "def f7():\n    return 1")
    [edit] = edits_between(shown(real), after)
    assert new_text("a.py", real, [edit]) == after and len(edit.old or "") < 60


def test_a_place_that_text_cannot_name() -> None:
    real = "x\n" * 30_000 + "y\n" + "x\n" * 30_000
    with pytest.raises(ProposalRefusedError, match="no place that can be named"):
        edits_between(shown(real), "x\n" * 10_000 + "z\n" + "x\n" * 19_999 + "y\n" + "x\n" * 30_000)


def test_line_ends_of_another_kind_are_no_change() -> None:
    real = "a = 1\r\nb = 2\r\n"
    assert edits_between(shown(real), real.replace("\r\n", "\n")) == []
    assert applied(real, "a = 1\nb = 3\n") == "a = 1\r\nb = 3\r\n"


def test_two_changes_of_one_text_are_put_together() -> None:
    base = "a\nb\nc\nd\ne\n"
    assert merged("p", base, "A\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\n") == "A\nb\nc\nd\nE\n"
    assert merged("p", base, "A\nb\nc\nd\ne\n", "A\nb\nc\nd\nE\n") == "A\nb\nc\nd\nE\n"
    assert merged("p", base, base, "x\n") == merged("p", base, "x\n", base) == "x\n"
    for other in ("a\nB2\nc\nd\ne\n", "a\nc\nd\ne\n"):
        with pytest.raises(ProposalRefusedError, match="edits the same lines of 'p' twice"):
            merged("p", base, "a\nB\nc\nd\ne\n", other)
