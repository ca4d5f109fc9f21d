"""Checks of everything RAZAR connects to: one row each, whatever the other side does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Struct

from agents.razar.connectors.crown import check_crown
from agents.razar.connectors.settings import Connector, configured, metrics_url, token_variable
from agents.razar.errors import AgentError, UnreachableError
from agents.razar.providers import airstar, kimi2, rstar
from agents.razar.providers.call import Provider, call
from agents.razar.web.endpoint import completed, parse
from agents.razar.web.http_post import Limits, exchange
from razar.utils.redaction import one_line

__all__ = ["LOGGER", "REMOTE", "Row", "check_all", "cost", "decode_recording", "exit_code", "report"]

#: Alerting rules and log shippers know it by this name.
LOGGER = "monitoring.alerts.razar_failover"
REMOTE: tuple[Provider, ...] = (kimi2.PROVIDER, airstar.PROVIDER, rstar.PROVIDER)
#: Every mission exports this one, so another program's endpoint is told apart.
_OURS = b"razar_quarantined_components"
_CONNECTOR_LIMIT = 256 * 1024

Kind = Literal["crown", "metrics", "connector", "agent"]


class Row(Struct, frozen=True, kw_only=True):
    """The outcome of one check. ``latency`` is in seconds; ``endpoint`` is without credentials."""

    name: str
    kind: Kind
    endpoint: str | None
    status: Literal["healthy", "unhealthy", "skipped"]
    http_code: int | None = None
    latency: float | None = None
    hint: str = ""


class _Verdict(Struct, frozen=True, kw_only=True):
    endpoint: str | None
    code: int | None = None
    fault: str | None = None
    skipped: bool = False


def check_all(
    environ: Mapping[str, str],
    *,
    timeout: float,
    recordings: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Check Crown, metrics and connectors, all at once; ``timeout`` is seconds for each.

    With ``recordings`` (the payload of each of ``REMOTE`` by its name) the remote agents too, each of
    which is a completion that may be charged. Raises SettingsError for connectors that cannot be read.
    """
    from concurrent.futures import ThreadPoolExecutor

    checks: list[tuple[str, Kind, Callable[[], _Verdict]]] = [
        ("crown", "crown", partial(_crown, environ, timeout)),
        ("metrics", "metrics", partial(_metrics, environ, timeout)),
    ]
    for connector in configured(environ):
        checks.append((connector.name, "connector", partial(_connector, connector, timeout)))
    for provider in REMOTE if recordings is not None else ():
        payload = (recordings or {}).get(provider.name)
        checks.append((provider.name.lower(), "agent", partial(_remote, provider, payload, environ, timeout)))
    with ThreadPoolExecutor(max_workers=min(len(checks), 16)) as pool:
        return list(pool.map(_row, checks))


def exit_code(rows: list[Row]) -> int:
    """0 all healthy, 1 any unhealthy, 2 nothing configured."""
    if any(row.status == "unhealthy" for row in rows):
        return 1
    return 0 if any(row.status == "healthy" for row in rows) else 2


def report(rows: list[Row]) -> None:
    """Tell the logger: unhealthy ones as warnings."""
    logger = logging.getLogger(LOGGER)
    for row in rows:
        level = logging.WARNING if row.status == "unhealthy" else logging.INFO
        latency = "-" if row.latency is None else f"{row.latency:.3f}"
        text = "connector=%s kind=%s status=%s http_code=%s latency=%s endpoint=%s hint=%s"
        code = "-" if row.http_code is None else row.http_code
        logger.log(level, text, row.name, row.kind, row.status, code, latency, row.endpoint or "-", row.hint)


def cost(recordings: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """What asking the configured agents may cost, in words; None if none is configured."""
    parts = [
        f"{provider.name.lower()} at most {recordings[provider.name]['max_tokens']} tokens of answer"
        for provider in REMOTE
        if environ.get(provider.endpoint_variable, "").strip() and provider.name in recordings
    ]
    if not parts:
        return None
    return f"asking remote agents: one completion each, which may be charged ({', '.join(parts)})"


def _row(check: tuple[str, Kind, Callable[[], _Verdict]]) -> Row:
    name, kind, run = check
    began = time.monotonic()
    try:
        verdict = run()
    except Exception as fault:
        # A fault of ours must not hide the rows of the others.
        verdict = _Verdict(endpoint=None, fault=f"the check itself failed: {type(fault).__name__}")
    latency = time.monotonic() - began
    status: Literal["healthy", "unhealthy", "skipped"] = "unhealthy" if verdict.fault else "healthy"
    return Row(
        name=name,
        kind=kind,
        endpoint=verdict.endpoint,
        status="skipped" if verdict.skipped else status,
        http_code=verdict.code,
        latency=None if verdict.skipped else round(latency, 6),
        hint=one_line(verdict.fault or "", 400),
    )


def _crown(environ: Mapping[str, str], timeout: float) -> _Verdict:
    url = environ.get("CROWN_WS_URL", "").strip()
    if not url:
        hint = "CROWN_WS_URL is not set: missions use the embedded Crown, which lives as long as their boot"
        return _Verdict(endpoint="embedded", fault=hint, skipped=True)
    endpoint, code, fault = check_crown(url, environ, timeout)
    return _Verdict(endpoint=endpoint, code=code, fault=fault)


def _metrics(environ: Mapping[str, str], timeout: float) -> _Verdict:
    place = metrics_url(environ)
    if place is None:
        hint = "RAZAR_METRICS_PORT is 0: the port is chosen at the start of a mission"
        return _Verdict(endpoint=None, fault=hint, skipped=True)
    url, explicit = place
    shown = None
    try:
        target = parse(url, "the address of RAZAR_METRICS_HOST and RAZAR_METRICS_PORT")
        shown = target.shown
        answer = exchange("GET", target, headers={"User-Agent": "razar"}, limits=Limits(total=timeout))
    except UnreachableError as error:
        hint = f"{_without(error, shown)}: no mission runs here, or its metrics are off"
        return _Verdict(endpoint=shown, fault=hint, skipped=not explicit)
    except AgentError as error:
        return _Verdict(endpoint=shown, fault=_without(error, shown))
    fault = None
    if answer.status != 200:
        fault = "something else than RAZAR answers there: check RAZAR_METRICS_PORT"
    elif _OURS not in answer.body:
        fault = "what is exported there is not RAZAR's: check RAZAR_METRICS_PORT"
    return _Verdict(endpoint=shown, code=answer.status, fault=fault)


def _connector(connector: Connector, timeout: float) -> _Verdict:
    shown = None
    try:
        target = parse(connector.url, f"the URL of {connector.name}")
        shown = target.shown
        headers = {"User-Agent": "razar"}
        if connector.token and (token := connector.token.strip()):
            if not (token.isascii() and token.isprintable()):
                hint = f"{token_variable(connector.name)} holds a character that no HTTP header can carry"
                return _Verdict(endpoint=shown, fault=hint)
            headers |= {"Authorization": f"Bearer {token}", "X-API-Key": token}
        elif target.basic is not None:
            headers["Authorization"] = target.basic
        limits = Limits(total=timeout, answer=_CONNECTOR_LIMIT)
        answer = exchange("GET", target, headers=headers, limits=limits)
    except AgentError as error:
        return _Verdict(endpoint=shown, fault=_without(error, shown))
    return _Verdict(endpoint=shown, code=answer.status, fault=_health(answer.status, connector.name))


def _health(status: int, name: str) -> str | None:
    if 200 <= status < 300:
        return None
    if status in (401, 403):
        return f"it does not accept the key: check {token_variable(name)}"
    if 300 <= status < 400:
        return "it answers with a redirect, and none is followed: configure its target"
    if status == 404:
        return "there is no such path: the URL must be that of its health endpoint"
    return "it says that it is not healthy: look at its own log"


def _remote(provider: Provider, payload: Any, environ: Mapping[str, str], timeout: float) -> _Verdict:
    endpoint = completed(environ.get(provider.endpoint_variable), provider.suffix)
    if not endpoint:
        return _Verdict(endpoint=None, fault=f"{provider.endpoint_variable} is not set", skipped=True)
    if not isinstance(payload, dict):
        hint = f"its recorded payload, {provider.recording}, is not there"
        return _Verdict(endpoint=None, fault=hint, skipped=True)
    key = environ.get(provider.key_variable)
    shown = None
    try:
        shown = parse(endpoint, provider.endpoint_variable).shown
        content = _fitted(payload, provider, environ)
        _, info, reply = call(provider, provider.name, endpoint, content, key, time_limit=timeout)
    except AgentError as error:
        return _Verdict(endpoint=shown, code=error.status, fault=_advice(error, provider, shown))
    choices = reply.get("choices") if isinstance(reply, dict) else None
    fault = None if choices else "it answers, but not with a completion: is this the URL of the API?"
    return _Verdict(endpoint=shown, code=info["status_code"], fault=fault)


def _fitted(payload: dict[str, Any], provider: Provider, environ: Mapping[str, str]) -> dict[str, Any]:
    """The recorded payload for the configured model, if that is another one than was recorded."""
    model = environ.get(provider.model_variable or "", "").strip()
    if not model or model == payload.get("model"):
        return payload
    # The sampling belongs to the recorded model; others refuse it.
    return {key: value for key, value in payload.items() if key != "temperature"} | {"model": model}


def _advice(error: AgentError, provider: Provider, shown: str | None) -> str:
    text = _without(error, shown)
    match error.status:
        case 401 | 403:
            return f"{text}; check {provider.key_variable}"
        case 404 if provider.model_variable:
            return f"{text}; check {provider.endpoint_variable} and {provider.model_variable}"
        case 404:
            return f"{text}; check {provider.endpoint_variable}"
        case _:
            return text


def _without(error: AgentError, shown: str | None) -> str:
    """An error's words without the endpoint, which has a column of its own."""
    text = str(error).replace(f" at {shown}", "", 1)
    return text.replace(f"{shown}: ", "", 1).replace(f"{shown} ", "", 1)


def decode_recording(data: bytes) -> dict[str, Any] | None:
    """The request of a recorded exchange; None if the file is none."""
    try:
        recording = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    request = recording.get("request") if isinstance(recording, dict) else None
    return request if isinstance(request, dict) else None
