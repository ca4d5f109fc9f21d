"""Fifty secrets in environment, configuration, logs and source; none leaves the machine or is written down."""

from __future__ import annotations

import base64
import json
import os
import random
import string
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from agents.razar.handover import Exhausted
from razar.utils import redaction
from razar.utils.redaction import Redactor, redact_source
from tests.handover.support import APP, Agent, FileMemory, House, Server, edit, failure, proposal

#: The same in every run.
chance = random.Random(20250921)


def word(length: int = 24) -> str:
    """A random value with a digit in it."""
    return "".join(chance.choices(string.ascii_letters + string.digits, k=length - 1)) + "7"


def upper(length: int) -> str:
    return "".join(chance.choices(string.ascii_uppercase + string.digits, k=length))


#: In the environment of RAZAR, by name.
ENVIRONMENT = (
    "KIMI2_API_KEY AIRSTAR_API_KEY RSTAR_API_KEY CROWN_TOKEN HF_TOKEN GITHUB_TOKEN DB_PASSWORD PGPASSWORD MAIL_PASSWD "
    "SIGNING_SECRET AWS_SECRET_ACCESS_KEY COOKIE_SIGNING_KEY MYSQL_PWD SMTP_PASS GPG_PASSPHRASE CI_CREDENTIALS "
    "SENTRY_AUTH_KEY"
).split()
#: In the ``env`` of a component.
COMPONENT = (
    "SERVICE_TOKEN CACHE_PASSWORD TLS_PRIVATE_KEY VAULT_SECRET LICENSE_API_KEY DISK_ENCRYPTION_KEY".split()
)


class Planted:
    """The secrets, each in its place. ``values`` are what must be found nowhere."""

    def __init__(self) -> None:
        self.environ = {name: word() for name in ENVIRONMENT}
        self.environ["DATABASE_URL"] = f"postgres://app:{word()}@db.internal/app"
        self.env = {name: word() for name in COMPONENT}
        self.env["BROKER_URL"] = f"amqp://razar:{word()}@mq:5672/"
        url_passwords = [
            redaction._secrets({"URL": url})[0]
            for url in (self.environ["DATABASE_URL"], self.env["BROKER_URL"])
        ]
        held = (
            list(self.environ.values())[: len(ENVIRONMENT)]
            + list(self.env.values())[: len(COMPONENT)]
            + url_passwords
        )
        #: By form alone: RAZAR has never seen them before.
        bearer, basic, query, assigned, header, user = (word() for _ in range(6))
        self.in_log = {
            f"Authorization: Bearer {bearer}": bearer,
            f"authorization: basic {basic}": basic,
            f"GET https://api.internal/x?token={query}&page=2": query,
            f"retrying with password={assigned}": assigned,
            f"X-API-Key: {header}": header,
            f"cannot reach https://svc:{user}@api.internal/": user,
            **{
                key: key
                for key in (f"sk-{word(40)}", f"ghp_{word(36)}", f"hf_{word(34)}", f"glpat-{word(20)}")
            },
            **{
                key: key
                for key in (f"AKIA{upper(16)}", f"AIza{word(35)}", f"xoxb-{word(40)}", f"npm_{word(36)}")
            },
            (jwt := f"eyJ{word(20)}.eyJ{word(40)}.{word(40)}"): jwt,
        }
        literal, keyword, mapping, token, constant = (word() for _ in range(5))
        pem = "\n".join(word(64) for _ in range(6))
        self.source = (
            f'password = "{literal}"\n'
            f'connect(host="db", password="{keyword}", port=5432)\n'
            f"SETTINGS = {{'api_key': '{mapping}'}}\n"
            f'AUTH_TOKEN: str = "{token}"\n'
            f'KEY = "sk-{constant}"\n'
            f'PEM = """-----BEGIN RSA PRIVATE KEY-----\n{pem}\n-----END RSA PRIVATE KEY-----"""\n'
        )
        in_source = [literal, keyword, mapping, token, constant, *pem.splitlines()]
        # What is held is also written out by the component, in the forms in which that happens.
        some = [self.environ["KIMI2_API_KEY"], self.env["SERVICE_TOKEN"], self.environ["DB_PASSWORD"]]
        encoded = [
            base64.b64encode(f"{pad}{value}".encode()).decode() for value in some for pad in ("", "u:", "x")
        ]
        self.echo = [f"config dump: {value}" for value in held] + [f"basic header {text}" for text in encoded]
        self.echo += [f"callback {quote(f'{value}/+ {value}')}" for value in some]
        self.values = [*held, *self.in_log.values(), *in_source]
        self.encoded = encoded

    def found_in(self, data: bytes) -> list[str]:
        """The secrets in some bytes, also in base64 at each offset."""
        text = data.decode("utf-8", "replace")
        cores = [text_[4:-4] for text_ in self.encoded]
        return [value for value in (*self.values, *cores) if value in text]


async def test_fifty_secrets_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = Planted()
    assert len(planted.values) >= 50
    for name, value in planted.environ.items():
        monkeypatch.setenv(name, value)
    house = House(
        tmp_path, env=planted.env, test="import app\nprint(open('src/app.py').read())\nassert False\n"
    )
    house.app.write_text(planted.source + APP)
    (house.root / "src" / "settings.yaml").write_text(
        "".join(f"{k}: {v}\n" for k, v in planted.environ.items())
    )
    (house.root / "src" / ".env").write_text("".join(f"{k}={v}\n" for k, v in planted.environ.items()))
    tail = (
        *planted.in_log,
        *planted.echo,
        '  File "src/app.py", line 2, in add',
        "AssertionError: add gave -1",
    )
    error = f"Health check failed: {next(iter(planted.in_log))} {planted.environ['CROWN_TOKEN']}"
    memory = FileMemory(tmp_path / "memory.json")

    def answer(number: int, body: Any) -> Any:
        if number == 1:
            return 503, {}
        if number == 2:  # An agent that prints what it was never shown, to see where it ends up.
            text = f"    return a * b  # {planted.environ['KIMI2_API_KEY']}\n"
            return msgspec.to_builtins(proposal(edit(new=text)))
        return msgspec.to_builtins(proposal())

    with Server(answer) as server:
        handovers = house.handovers(
            Agent("kimi2", server.url),
            environ=dict(os.environ),
            memory=lambda: memory,
            attempts=3,
            long_task=False,
        )
        context = {
            "history": [{"attempt": 1, "error": error, "reason": planted.echo[0]}],
            "note": planted.echo[1],
        }
        try:
            for _ in range(3):
                attempt = await handovers.attempt(failure(error=error, tail=tail), context)
                assert planted.found_in(repr(attempt.reason).encode()) == []
                if attempt:
                    await handovers.settle(attempt, False, f"it said {error}")
            with pytest.raises(Exhausted) as end:
                await handovers.attempt(failure(error=error, tail=tail), context)
            assert planted.found_in(str(end.value).encode()) == []
            handovers.packet("adder")
        finally:
            await handovers.close()
        assert len(server.requests) == 3
        for request in server.requests:
            assert planted.found_in(request) == []
            assert b"def add" in request  # Something useful did leave.
    places = 0
    for folder, _, names in os.walk(house.logs):
        for name in names:
            path = Path(folder) / name
            if path.parent.name in ("original", "patched"):
                # The files themselves, as they must be to be restored: for their owner alone.
                assert path.stat().st_mode & 0o077 == 0
                continue
            assert planted.found_in(path.read_bytes()) == [], path
    assert planted.found_in(memory.path.read_bytes() if memory.path.exists() else b"") == []
    assert planted.found_in("\n".join(text for _, text in house.said).encode()) == []
    for path in (house.logs / "repairs" / "handovers").glob("*.json"):
        places += json.loads(path.read_text())["masked"]
    assert places > 3 * 50


async def test_a_masked_place_is_not_overwritten(tmp_path: Path) -> None:
    house = House(tmp_path, test=None)
    house.app.write_text('password = "hunter2-of-the-database"\n' + APP)
    edits = [
        edit(old='password = "***"\n', new='password = "***"  # kept\n'),
        edit(new="    return a + b  # ***\n"),
    ]
    whole = {"path": "src/app.py", "content": "def add(a, b):\n    return a + b\n"}
    answers = [
        *(msgspec.to_builtins(proposal(one)) for one in edits),
        msgspec.to_builtins(proposal()) | {"edits": [whole]},
    ]
    with Server(lambda number, body: answers[number - 1]) as server:
        handovers = house.handovers(Agent("kimi2", server.url))
        reasons = [(await handovers.attempt(failure())).reason for _ in answers]
    assert "touches a place that was masked" in reasons[0] and "masked" in reasons[1]
    assert "cannot be replaced as a whole" in reasons[2]
    assert "hunter2" in house.app.read_text()
    assert not house.records("razar_ai_patches.json")


async def test_a_patch_with_a_secret_in_it_is_not_remembered(tmp_path: Path) -> None:
    house, memory = House(tmp_path, test=None), FileMemory(tmp_path / "memory.json")
    secret = word(30)
    bad = edit(new=f'    password = "{secret}"\n    return a + b\n')
    with Server(lambda number, body: msgspec.to_builtins(proposal(bad))) as server:
        handovers = house.handovers(Agent("kimi2", server.url), memory=lambda: memory)
        attempt = await handovers.attempt(failure())
        assert attempt and attempt.repair is None and secret in house.app.read_text()
        assert secret not in attempt.diff
        await handovers.settle(attempt, True)
    assert not memory.path.exists()
    for path in house.logs.rglob("*"):
        if path.is_file() and path.parent.name not in ("original", "patched"):
            assert secret not in path.read_text(), path


@pytest.mark.parametrize(
    "text",
    [
        "api_key = os.environ['API_KEY']\n",
        "password = getpass.getpass()\n",
        "def connect(password: str, token: str | None = None) -> None:\n",
        'headers = {"Authorization": f"Bearer {token}"}\n',
        "token = tokens[0]\nsecret = self.secret\n",
        "max_tokens = 2048\n",
        "Basic authentication is used here.\n",
    ],
)
def test_programs_that_only_handle_secrets_stay_readable(text: str) -> None:
    assert redact_source(text, "src/app.py") == text


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("password: hunter2hunter2\n", "settings.yaml"),
        ("API_KEY=hunter2hunter2\n", "settings.ini"),
        ('{"client_secret": "hunter2hunter2"}\n', "settings.json"),
        ('token = "hunter2hunter2"\n', "app.py"),
        ("const secret = 'hunter2hunter2';\n", "app.ts"),
        ('password := "hunter2hunter2"\n', "main.go"),
    ],
)
def test_secrets_that_are_written_out_are_masked(text: str, path: str) -> None:
    assert "hunter2" not in redact_source(text, path)


def test_encoded_forms_of_what_is_known_are_masked() -> None:
    secret = 'p@ss/word+1=x"y'
    redactor = Redactor({"DB_PASSWORD": secret})
    for pad in ("", "a", "ab", "abc"):
        coded = base64.b64encode(f"{pad}{secret}{pad}".encode()).decode()
        assert coded[6:-6] not in redactor(f"sent {coded} to it")
        assert base64.urlsafe_b64encode(f"{pad}{secret}{pad}".encode()).decode()[6:-6] not in redactor(coded)
    assert quote(secret, safe="") not in redactor(f"?x={quote(secret, safe='')}")
    assert json.dumps(secret)[1:-1] not in redactor(json.dumps({"k": secret}))


def test_each_line_of_a_key_is_masked_alone() -> None:
    key = "-----BEGIN KEY-----\n" + "\n".join(word(64) for _ in range(3)) + "\n-----END KEY-----"
    redactor = Redactor({"TLS_PRIVATE_KEY": key})
    for line in key.splitlines():
        assert line not in redactor(f"read: {line}")


@pytest.mark.parametrize("text", ["p%40ss%2Fword", "p@ss/word"])
def test_the_password_of_a_url_is_masked_alone_too(text: str) -> None:
    redactor = Redactor({"DATABASE_URL": "postgres://app:p%40ss%2Fword@db/app", "PORT": "8000"})
    assert redactor(f"login with {text} on 8000") == "login with *** on 8000"
