"""Matching: exactly one place, in the file's own line ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.razar.patching.edits import by_path, new_text
from agents.razar.patching.globs import matches, reaches
from agents.razar.patching.refusal import Refusal
from agents.razar.patching.unified_diff import edits_of_diff
from agents.razar.proposals.proposal import Edit


def replaced(before: str, *pairs: tuple[str, str]) -> str:
    return new_text("f", before, [Edit(path="f", old=old, new=new) for old, new in pairs])


def test_a_single_match_is_replaced() -> None:
    assert replaced("a\nb\nc\n", ("b", "B")) == "a\nB\nc\n"


@pytest.mark.parametrize("old", ["b\nc\n", "b\r\nc\r\n"])
def test_crlf_of_the_file_is_kept_whatever_the_agent_wrote(old: str) -> None:
    assert replaced("a\r\nb\r\nc\r\n", (old, "B\nC\n")) == "a\r\nB\r\nC\r\n"
    assert replaced("a\nb\nc\n", (old, "B\r\nC\r\n")) == "a\nB\nC\n"


def test_mixed_line_ends_are_matched_as_they_are() -> None:
    assert replaced("a\r\nb\nc\r\n", ("b\nc\r\n", "x\r\n")) == "a\r\nx\r\n"
    with pytest.raises(Refusal, match="is not in"):
        replaced("a\r\nb\nc\r\n", ("a\nb\n", "x\n"))


def test_a_missing_final_newline_stays_missing() -> None:
    assert replaced("a\nb", ("b\n", "c\n")) == "a\nc"
    assert replaced("a\nb", ("b", "c")) == "a\nc"
    with pytest.raises(Refusal, match="is not in"):
        replaced("a\nxb", ("b\n", "c\n"))


def test_whole_content_keeps_line_ends_mark_and_final_newline() -> None:
    def whole(before: str, content: str) -> str:
        return new_text("f", before, [Edit(path="f", content=content)])

    assert whole("a\r\nb\r\n", "x\ny\n") == "x\r\ny\r\n"
    assert whole("a\nb", "x\ny\n") == "x\ny"
    assert whole("a\n", "x") == "x\n"
    assert whole("\ufeffa\n", "x\n") == "\ufeffx\n"
    assert new_text("f", None, [Edit(path="f", content="x\r\n")]) == "x\r\n"


def test_an_ambiguous_match_names_its_lines() -> None:
    with pytest.raises(Refusal, match=r"more than once \(lines 1, 3\)"):
        replaced("x = 1\ny\nx = 1\n", ("x = 1", "x = 2"))
    with pytest.raises(Refusal, match="more than once"):
        replaced("aaa\n", ("aa", "b"))


def test_whole_lines_do_not_match_the_end_of_a_longer_line() -> None:
    assert replaced("max = 1\nx = 1\n", ("x = 1\n", "x = 2\n")) == "max = 1\nx = 2\n"
    with pytest.raises(Refusal, match="is not in"):
        replaced("max = 1\n", ("x = 1\n", "x = 2\n"))


def test_a_missing_match_shows_the_nearest_lines() -> None:
    with pytest.raises(Refusal, match=r"nearest lines are line 2: 'return a - b'"):
        replaced("def f(a, b):\n    return a - b\n", ("    return a-b\n", "    return a + b\n"))
    with pytest.raises(Refusal, match="is there already"):
        replaced("x = 2\n", ("x = 1", "x = 2"))
    with pytest.raises(Refusal, match="no line of it comes near"):
        replaced("x = 2\n", ("quite something else", "y"))


def test_edits_refer_to_the_old_text_and_may_not_overlap() -> None:
    assert replaced("a\nb\n", ("a", "b"), ("b", "c")) == "b\nc\n"
    with pytest.raises(Refusal, match="overlap"):
        replaced("abc\n", ("ab", "x"), ("bc", "y"))


def test_empty_places_and_missing_files() -> None:
    with pytest.raises(Refusal, match="is empty"):
        replaced("a\n\nb\n", ("\n", "x"))
    with pytest.raises(Refusal, match="does not exist"):
        new_text("f", None, [Edit(path="f", old="a", new="b")])
    with pytest.raises(Refusal, match="whole and edited"):
        by_path([Edit(path="f", content="x"), Edit(path="f", old="a", new="b")])


@given(
    st.lists(st.text("ab\n", max_size=6), max_size=6), st.text("ab\n", min_size=1, max_size=4), st.booleans()
)
@settings(max_examples=300, deadline=None)
def test_a_match_is_exact_or_refused(parts: list[str], old: str, crlf: bool) -> None:
    text = "".join(parts)
    before = text.replace("\n", "\r\n") if crlf else text
    try:
        after = replaced(before, (old, "<>"))
    except Refusal:
        return
    plain = after.replace("\r\n", "\n")
    assert plain.count("<>") == 1
    assert plain.replace("<>", old) in (text, text + "\n")


DIFF = """\
diff --git a/src/app.py b/src/app.py
index 1111111..2222222 100644
--- a/src/app.py
+++ b/src/app.py
@@ -1,3 +1,3 @@ def f():
 one
-two
+2
 three
"""


def test_a_strict_diff_becomes_edits() -> None:
    assert edits_of_diff(DIFF) == (Edit(path="src/app.py", old="one\ntwo\nthree\n", new="one\n2\nthree\n"),)
    new = "--- /dev/null\n+++ b/n.py\n@@ -0,0 +1,2 @@\n+a\n+b\n"
    assert edits_of_diff(new) == (Edit(path="n.py", content="a\nb\n"),)
    no_newline = (
        "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"
    )
    assert edits_of_diff(no_newline) == (Edit(path="f", old="a", new="b"),)
    assert len(edits_of_diff(DIFF + new)) == 2


@pytest.mark.parametrize(
    "diff",
    [
        DIFF.replace("-1,3 +1,3", "-1,4 +1,3"),
        DIFF.replace("-1,3 +1,3", "-1,3 +1,4"),
        DIFF.replace("-1,3 +1,3", "-1,2 +1,2"),
        DIFF.replace("@@ -1,3 +1,3 @@ def f():", "@@ ... @@"),
        DIFF.replace("@@ -1,3 +1,3 @@ def f():", "@@"),
        DIFF.replace(" three\n", ""),
        DIFF.replace(" one", "one"),
        "Here is the patch:\n" + DIFF,
        DIFF + "Hope this helps!\n",
        "```diff\n" + DIFF + "```\n",
        DIFF.replace("index 1111111..2222222 100644", "old mode 100644\nnew mode 100755"),
        DIFF.replace("index 1111111..2222222 100644", "new file mode 120000"),
        DIFF.replace("index 1111111..2222222 100644", "new file mode 100755"),
        DIFF.replace("index 1111111..2222222 100644", "new file mode 160000"),
        DIFF.replace("index 1111111..2222222 100644", "deleted file mode 100644"),
        DIFF.replace("index 1111111..2222222 100644", "rename from a\nrename to b"),
        DIFF.replace("index 1111111..2222222 100644", "GIT binary patch"),
        DIFF.replace("+++ b/src/app.py", "+++ /dev/null"),
        DIFF.replace("+++ b/src/app.py", "+++ b/src/other.py"),
        DIFF.replace("+++ b/src/app.py", '+++ "b/src/\\303\\244.py"'),
        "--- a/f\n+++ b/f\n@@ -1,0 +2,1 @@\n+x\n",
        "--- a/f\n+++ b/f\n@@ -1 +1 @@\n a\n",
        "--- a/f\n+++ b/f\n",
        "",
        "no diff at all",
    ],
)
def test_whatever_is_not_plainly_a_change_of_text_is_refused(diff: str) -> None:
    with pytest.raises(Refusal):
        edits_of_diff(diff)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("src/*.py", "src/a.py", "src/x/a.py"),
        ("src/**", "src/x/y/a.py", "src2/a.py"),
        ("src/**/a.py", "src/a.py", "src/b.py"),
        ("**/a.py", "a.py", "ba.py"),
        ("src", "src/x/a.py", "srcs/a.py"),
        ("src/", "src/a.py", "src.py"),
        ("./src/a.py", "src/a.py", "src/a.pyc"),
        ("src/a?.py", "src/ab.py", "src/a/.py"),
        ("src/[ab].py", "src/a.py", "src/c.py"),
        ("src/[!ab].py", "src/c.py", "src/a.py"),
        ("src/a.b", "src/a.b", "src/axb"),
        ("*.py", "a.py", "src/a.py"),
    ],
)
def test_globs(pattern: str, yes: str, no: str) -> None:
    assert matches(yes, pattern) and not matches(no, pattern)


NAMES = st.sampled_from(["a", "b", "src", "a.py", "[ab]"])
PARTS = st.sampled_from(["a", "src", "*", "**", "?", "[ab]", "s*", "a.py", "*.py", "a**", "[!a]"])


@settings(max_examples=1000, deadline=None)
@given(names=st.lists(NAMES, min_size=2, max_size=4), parts=st.lists(PARTS, min_size=1, max_size=4))
def test_every_folder_on_the_way_to_a_file_that_is_covered_is_reached(
    names: list[str], parts: list[str]
) -> None:
    pattern = "/".join(parts)
    if matches("/".join(names), pattern):
        for end in range(1, len(names)):
            assert reaches("/".join(names[:end]), [pattern])


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("src/*.py", "src", "src/x"),
        ("src/**/a.py", "src/x/y", "srcs"),
        ("src", "src/x", "sr"),
        ("./src/", "src", "x"),
        (".", "x/y", ""),
        ("*/a/b.py", "x/a", "x/b"),
    ],
)
def test_folders_that_no_file_can_be_covered_in_are_not_reached(pattern: str, yes: str, no: str) -> None:
    assert reaches(yes, [pattern]) and not (no and reaches(no, [pattern]))
