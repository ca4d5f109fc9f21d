"""One request to a remote agent: payload, authentication, and the reply or a typed error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from agents.razar.errors import BrokenConnectionError, ConfigurationError
from agents.razar.web.endpoint import Target, parse
from agents.razar.web.own_keys import OwnKeys
from razar.utils.encoding import encode_json

__all__ = ["TIME_LIMIT", "Agent", "Provider", "Result", "call", "checked_key", "headers_for", "reply_of"]

#: Seconds for one request, from the first look-up to the last byte.
TIME_LIMIT = 60.0


class Agent:
    """Stands for the agent that was called; ``__name__`` is its name."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __repr__(self) -> str:
        return f"<agent {self.__name__}>"


Result = tuple[Agent, dict[str, Any], Any]


class Provider(Struct, frozen=True, kw_only=True):
    """A kind of remote agent and the variables that configure it.

    ``recording`` is the file of its recorded payload; ``model_variable`` names the model to ask for;
    ``suffix`` is what a base URL lacks of a full one.
    """

    name: str
    endpoint_variable: str
    key_variable: str
    recording: str
    model_variable: str | None = None
    suffix: str = "/chat/completions"


def call(
    provider: Provider,
    name: str,
    endpoint: str | None,
    payload: Any,
    token: str | None,
    *,
    time_limit: float = TIME_LIMIT,
) -> Result:
    """POST ``payload`` to ``endpoint`` as they are and return (agent, info, reply).

    A token goes into both headers, and into the body as ``auth_token`` unless the payload has one.
    A payload that is no object is sent as ``{"context": payload}``; the caller's is never changed.
    ``info`` holds ``endpoint`` (without credentials), ``service``, ``status_code``,
    ``token_provided``. The reply is the decoded JSON, or ``{"response": text}``; where it repeats
    our key it says ``[key withheld]``. Raises AgentError.
    """
    from agents.razar.web.http_post import Limits, exchange

    target = parse(endpoint, provider.endpoint_variable)
    token = checked_key(token, provider)
    content = dict(payload) if isinstance(payload, Mapping) else {"context": payload}
    if token is not None:
        content.setdefault("auth_token", token)
    given = content.get("auth_token")
    keys = OwnKeys([token, given if isinstance(given, str) else None])
    answer = exchange(
        "POST",
        target,
        headers=headers_for(target, token),
        body=_encoded(content, name),
        limits=Limits(total=time_limit),
    )
    if not 200 <= answer.status < 300:
        from agents.razar.web.error_table import explain

        raise explain(name, target.shown, answer.status, answer.headers, answer.body, keys)
    info = {
        "endpoint": target.shown,
        "service": name.lower(),
        "status_code": answer.status,
        "token_provided": token is not None,
    }
    return Agent(name), info, reply_of(answer.body, keys, f"{name} at {target.shown}")


def checked_key(token: str | None, provider: Provider) -> str | None:
    """The key without white space around it. Raises ConfigurationError for one no header can carry."""
    token = token.strip() if token else None
    if not token:
        return None
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigurationError(f"{provider.key_variable} holds a character that no HTTP header can carry")
    return token


def headers_for(target: Target, token: str | None) -> dict[str, str]:
    """The headers of a request with this key, else with the credentials of the URL."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "razar"}
    if token is not None:
        headers |= {"Authorization": f"Bearer {token}", "X-API-Key": token}
    elif target.basic is not None:
        headers["Authorization"] = target.basic
    return headers


def _encoded(content: dict[str, Any], name: str) -> bytes:
    try:
        return encode_json(content)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        # Not the exception's own words: they may quote the payload.
        raise ConfigurationError(f"the payload for {name} holds what JSON cannot carry") from None


def reply_of(body: bytes, keys: OwnKeys, who: str) -> Any:
    """Decode a body: JSON, else ``{"response": text}``; where it repeats our key it says so."""
    try:
        return keys.value(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"response": keys.text(body.decode("utf-8", "replace"))}
    except RecursionError:
        raise BrokenConnectionError(f"{who}: the answer is nested too deeply") from None
