"""Our keys in the text of others."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from agents.razar.web.own_keys import WITHHELD, OwnKeys

KEY = "sk->>>???>>>/b+c=d&e f"


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
def test_base64_is_seen_through_at_every_offset(before: int, after: int) -> None:
    data = b"\xffx" * before + KEY.encode() + b"\xff" * after
    keys = OwnKeys([KEY])
    assert {"-", "_"} & set(base64.urlsafe_b64encode(data).decode())
    for coded in (
        base64.b64encode(data),
        base64.urlsafe_b64encode(data),
        base64.b64encode(data).rstrip(b"="),
    ):
        assert keys.found(f"see {coded.decode()} there")


def test_other_forms() -> None:
    keys = OwnKeys([KEY, None, "  "])
    for form in (KEY, quote(KEY, safe=""), KEY.encode().hex(), KEY.encode().hex().upper()):
        assert keys.text(f"<{form}>") == f"<{WITHHELD}>"
    assert keys.value({KEY: [KEY, 1, None, {"a": f"x{KEY}"}]}) == {
        WITHHELD: [WITHHELD, 1, None, {"a": f"x{WITHHELD}"}]
    }


def test_short_keys_and_none_mask_nothing() -> None:
    for keys in (OwnKeys([]), OwnKeys([None]), OwnKeys(["key"])):
        assert keys.text("the key is key") == "the key is key" and not keys.found("key")


def test_a_longer_key_is_masked_whole() -> None:
    assert OwnKeys(["abcdef", "abcdef-ghijkl"]).text("abcdef-ghijkl") == WITHHELD


def test_nothing_shows_them() -> None:
    assert KEY not in repr(OwnKeys([KEY]))
