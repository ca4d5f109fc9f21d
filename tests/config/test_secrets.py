"""No message, in any form, shows a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from razar.config.faults import ConfigurationError, quote, redact

from .support import ENVIRON, component, load

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"http://user:{SECRET}@host:1/x", "http://host:1/x"),
        (f"http://{SECRET}@host", "http://host"),
        (f"http://user:a/{SECRET}@host", "http://host"),
        (f"http://user:a@{SECRET}@host", "http://host"),
        (f"user:{SECRET}@host", "host"),
        (f"http:/user:{SECRET}@host", "host"),
        (f"http://host/?token={SECRET}#x", "http://host/?…"),
        (f"curl -H {SECRET} http://host/x -d {SECRET}", "http://host/x …"),
        ("plain text", "plain text"),
    ],
)
def test_user_info_and_query_are_taken_out(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_control_characters_never_reach_a_terminal() -> None:
    assert quote("a\x1b[31m\n\u202e") == '"a\\u001b[31m\\u000a\\u202e"'


def test_long_texts_are_shortened() -> None:
    assert len(quote("x" * 10_000)) < 100
    assert len(quote("x" * 1_000_000)) < 100


@pytest.mark.parametrize(
    "changes",
    [
        {"health": f"htp://user:{SECRET}@host/"},
        {"health": f"http://user:{SECRET}@host:99999/"},
        {"health": {"http": f"http://user:{SECRET}@host:x/"}},
        {"health": {"http": f"http://host:0/?key={SECRET}"}},
        {"health": {"tcp": f"{SECRET}@h"}},
        {"health": "http://${USERINFO}host:0/"},
        {"health": "tcp://${TOKEN}"},
        {"health": "${TOKEN}"},
        {"health": f"cmd: curl -H 'X: {SECRET}"},
        {"health": f"cmd: no-such-program --token {SECRET}"},
        {"health": f"curl -H 'X: {SECRET}' http://host/"},
        {"health": f"curl -H 'X: {SECRET}' host"},
        {"env": {"TOKEN": [SECRET]}},
        {"env": {"TOKEN": {SECRET + "x": 1}}},
        {"env": SECRET},
        {"env": [f"TOKEN={SECRET}"]},
        {"env": {"TOKEN": f"${{{SECRET}"}},
        {"entrypoint": f"python --token '{SECRET}"},
        {"entrypoint": f"TOKEN={SECRET} python"},
        {"entrypoint": ["${TOKEN}"]},
        {"entrypoint": ["/nowhere/${TOKEN}"]},
        {"cwd": "${TOKEN}"},
        {"env_file": "${TOKEN}"},
    ],
)
def test_faults_of_components(tmp_path: Path, changes: dict[str, Any]) -> None:
    environ = ENVIRON | {"TOKEN": SECRET, "USERINFO": f"u:{SECRET}@"}
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, component(**changes), environ=environ)
    error = caught.value
    assert SECRET not in str(error)
    assert SECRET not in repr(error)
    assert SECRET not in error.to_json().decode()
    assert error.__cause__ is None


@pytest.mark.parametrize(
    "url", [f"http://u:{SECRET}@h", f"ws://u:{SECRET}@h:0", SECRET], ids=["scheme", "port", "text"]
)
def test_the_url_of_crown(tmp_path: Path, url: str) -> None:
    settings: list[dict[str, Any]] = [
        {"crown": {"url": "${URL}"}, "environ": {"URL": url}},
        {"environ": {"CROWN_WS_URL": url}},
        {"crown": {"url": url if "@" in url else "x"}},
    ]
    for setting in settings:
        with pytest.raises(ConfigurationError) as caught:
            load(tmp_path, **setting)
        assert SECRET not in str(caught.value)


def test_where_the_url_of_crown_comes_from(tmp_path: Path) -> None:
    environ = {"CROWN_WS_URL": "wss://u:p@crown/x"}
    assert load(tmp_path, environ=environ).crown.url == "wss://u:p@crown/x"
    assert load(tmp_path, environ=environ, crown={"url": "ws://h"}).crown.url == "ws://h"
    assert load(tmp_path, environ={"CROWN_WS_URL": " "}).crown.url is None
    off = load(tmp_path, environ={"CROWN_WS_URL": "nonsense"}, crown={"policy": "off"})
    assert off.crown.url is None
