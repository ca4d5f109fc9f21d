"""No secrets and no control characters, at a cost that a stranger cannot drive up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from razar.utils import redaction
from razar.utils.redaction import Redactor, neutralise, one_line, strip_userinfo
from razar.utils.times import file_stamp, parse_utc, utc, utc_micro


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:pass@host/x", "http://host/x"),
        ("http://user@host", "http://host"),
        ("ws://u:p@ss@host:80/", "ws://host:80/"),
        ("postgres://u:pa/ss?w@host/db", "postgres://host/db"),
        ("see https://a:b@c/ and https://d:e@f/", "see https://c/ and https://f/"),
        ("http://host:8000/path@x", "http://host:8000/path@x"),
        ("http://host/?q=a@b", "http://host/?q=a@b"),
        ("mail me@example.org", "mail me@example.org"),
        ("http://[::1]:80/", "http://[::1]:80/"),
    ],
)
def test_user_info_is_removed_and_nothing_else(text: str, expected: str) -> None:
    assert strip_userinfo(text) == expected


@pytest.mark.parametrize(
    "name",
    ["KIMI2_API_KEY", "AIRSTAR_API_KEY", "RSTAR_API_KEY", "CROWN_TOKEN", "DB_PASSWORD", "GITHUB_TOKEN"],
)
def test_values_of_secret_variables_are_masked(name: str) -> None:
    redactor = Redactor({name: "v4lue-of-it", "PATH": "/usr/bin"})
    assert redactor("found v4lue-of-it in /usr/bin") == "found *** in /usr/bin"


def test_a_secret_that_begins_with_another_is_masked_whole() -> None:
    assert Redactor({"A_TOKEN": "secret1", "B_TOKEN": "secret123"})("secret123") == "***"


def test_short_values_are_no_secrets_and_learnt_ones_are() -> None:
    redactor = Redactor({"A_TOKEN": "1", "B_TOKEN": ""})
    assert redactor("1 of 10") == "1 of 10"
    redactor.learn(["from-a-file"])
    assert redactor("key from-a-file") == "key ***"


def test_what_several_threads_learn_at_once_is_masked() -> None:
    redactor = Redactor({})
    values = [[f"{thread}-secret-{number}-value" for number in range(300)] for thread in "abcd"]

    def learn(own: list[str]) -> None:
        for value in own:
            redactor.learn([value])
            assert value not in redactor(f"found {value}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(learn, values))
    text = redactor(" ".join(value for own in values for value in own))
    assert set(text.split()) == {"***"}


def test_the_secrets_of_a_component_are_masked_from_when_they_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redaction, "_of_process", None)
    monkeypatch.setenv("CROWN_TOKEN", "of-the-process")
    assert one_line("of-the-process of-a-component") == "*** of-a-component"
    redaction.learn({"DB_PASSWORD": "of-a-component", "PORT": "8000-8010"})
    assert one_line("of-the-process of-a-component 8000-8010") == "*** *** 8000-8010"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer sekretsekret",
        "authorization: basic sekretsekret==",
        "https://h/x?token=sekretsekret&a=1",
        "https://h/x?a=1&api_key=sekretsekret",
        '{"auth_token": "sekretsekret"}',
        "X-API-Key: sekretsekret",
        "password=sekretsekret",
        "sk-sekret1sekretsekretsekret",
        "ghp_sekretsekretsekret2sekret",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    assert "sekret" not in Redactor({})(text)


@pytest.mark.parametrize(
    "text", ["the token was refused", "password prompt", "unknown key: layer", "hf_hub_download_the_model"]
)
def test_words_about_secrets_stay(text: str) -> None:
    assert Redactor({})(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("a\nb\r", "a\\nb\\r"),
        ("tab\there", "tab    here"),
        ("bell\x07 csi\x9b", "bell\\x07 csi\\x9b"),
        ("\u202eevil\u2028", "\\u202eevil\\u2028"),
        ("no\u00a0break", "no break"),
        ("grüße 漢字", "grüße 漢字"),
        ("\udcff", "\\udcff"),
    ],
)
def test_control_characters_are_shown_not_obeyed(text: str, expected: str) -> None:
    assert neutralise(text) == expected


@given(st.text())
def test_any_text_becomes_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    line.encode("utf-8")


def test_a_long_text_is_cut_and_no_secret_is_cut_in_two() -> None:
    line = one_line("x" * 95 + " Bearer sekretsekretsekret" + "y" * 20_000, 110)
    assert "sekret" not in line and line.endswith("… (20121 characters)")


@pytest.mark.parametrize(
    "text",
    [
        "a://b:" * 50_000,
        "?token" * 200_000,
        "\x1b]" * 200_000,
        "bearer " * 200_000,
        "://" + "x" * 1_000_000,
        "?" + "a" * 1_000_000,
    ],
    ids=["urls", "query", "ansi", "bearer", "authority", "word"],
)
def test_hostile_texts_of_a_megabyte_are_redacted_in_time(text: str) -> None:
    redactor = Redactor({"A_TOKEN": "secret1"})
    assert len(redactor(text)) > 1000
    assert neutralise(text).isprintable()


def test_forms_of_time() -> None:
    assert utc(1758412805.9) == "2025-09-21T00:00:05Z"
    assert utc_micro(1758412805.1) == "2025-09-21T00:00:05.100000Z"
    assert utc_micro(1796052067.7930014) == "2026-11-30T15:21:07.793001Z"
    assert utc_micro(-0.25) == "1969-12-31T23:59:59.750000Z"
    assert utc_micro(0.9999999) == "1970-01-01T00:00:01.000000Z"
    assert file_stamp(1758412805) == "2025-09-21T00-00-05Z"
    assert parse_utc("2025-09-21T00:00:05Z") == parse_utc("2025-09-21T02:00:05+02:00") == 1758412805.0
    assert parse_utc("2025-09-21T00:00:05") == 1758412805.0
    assert parse_utc(utc_micro(1758412805.125)) == 1758412805.125


@pytest.mark.parametrize("at", [float("nan"), float("inf"), 1e300, -1e300])
def test_an_instant_outside_the_calendar_is_no_error(at: float) -> None:
    assert utc(at) == utc_micro(at) == "0000-00-00T00:00:00Z"
