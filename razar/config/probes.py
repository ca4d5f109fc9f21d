"""Health probes: the short and the object form to one :class:`razar.config.model.Probe`."""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import UNSET

from razar.config.collector import Pointer
from razar.config.context import Context
from razar.config.endpoints import check_host_port, check_url
from razar.config.faults import Problem, quote
from razar.config.model import Probe, ProbeKind
from razar.config.wire import ProbeEntry

__all__ = ["normalise_probe"]

_KINDS: tuple[ProbeKind, ...] = ("http", "tcp", "grpc", "ws", "file", "cmd", "log", "notify", "exit")
#: Kinds whose probe gets an answer that an expression can look at.
_ANSWERING = frozenset({"http", "grpc", "ws", "cmd"})
#: What an expression can look at.
_ANSWER = ("status", "headers", "body", "json", "elapsed")
_LONGEST_PATTERN = 10_000
_SCHEMES: dict[str, ProbeKind] = {
    "http": "http",
    "https": "http",
    "tcp": "tcp",
    "grpc": "grpc",
    "ws": "ws",
    "wss": "ws",
}
_FORMS = (
    '"http://…", "https://…", "tcp://host:port", "grpc://host:port", "ws://…", a path that starts with / '
    'or ./, "cmd: …", "log: REGEX", "notify" or "exit"'
)


def normalise_probe(
    entry: str | ProbeEntry, at: Pointer, context: Context, *, kind: Literal["service", "task"]
) -> Probe | None:
    """Turn a probe as written into the one form that is carried out; note faults and return None.

    The program of a ``cmd`` probe is not looked up here.
    """
    try:
        probe = _short(entry, at, context) if isinstance(entry, str) else _object(entry, at, context)
    except Problem as problem:
        context.faults.add_problem(at, problem)
        return None
    if (
        probe is not None
        and probe.kind == "exit"
        and kind != "task"
        and not context.faults.within((*at[:-1], "kind"))
    ):
        context.faults.add(at, 'the probe "exit" of a service', 'another probe, or "kind": "task"')
        return None
    return probe


def _short(text: str, at: Pointer, context: Context) -> Probe | None:
    if text == "notify":
        return Probe(kind="notify")
    if text == "exit":
        return Probe(kind="exit")
    # A pattern is full of "$", and a command is expanded word by word.
    if text.startswith("log:"):
        return Probe(kind="log", target=_pattern(text[4:].lstrip(" ")))
    if text.startswith("cmd:"):
        argv = context.command(at, text[4:])
        return None if argv is None else Probe(kind="cmd", argv=argv)
    target = context.text(at, text)
    if target is None:
        return None
    scheme, separator, rest = target.partition("://")
    if separator:
        found = _SCHEMES.get(scheme.lower())
        if found is None:
            near = context.faults.suggest(scheme.lower(), [f"{known}://" for known in _SCHEMES])
            raise Problem(quote(text), _FORMS, near)
        return Probe(kind=found, target=_target(found, target if found in ("http", "ws") else rest, text))
    if target.startswith(("/", "./", "../")):
        path = context.path(at, text)
        return None if path is None else Probe(kind="file", target=path)
    # Of a command without "cmd:" only the program is shown.
    words = text.split(maxsplit=1)
    shown = quote(words[0]) + (" …" if len(words) > 1 else "") if words else "an empty text"
    raise Problem(shown, _FORMS, _advice(target, text, context))


def _advice(target: str, text: str, context: Context) -> str | None:
    if re.fullmatch(r"[A-Za-z0-9.-]+:[0-9]{1,5}", target):
        return f'did you mean "tcp://{text}"?'
    if "/" in target and ":" not in target and "@" not in target:
        return "a path starts with / or ./"
    head, separator, rest = target.partition(":")
    word = head + ("://" if rest.startswith("/") else separator)
    forms = ["notify", "exit", "cmd:", "log:", *[f"{scheme}://" for scheme in _SCHEMES]]
    return context.faults.suggest(word, forms)


def _object(entry: ProbeEntry, at: Pointer, context: Context) -> Probe | None:
    given = [kind for kind in _KINDS if getattr(entry, kind) is not UNSET]
    if len(given) != 1 and not context.faults.within(at):
        found = f"a probe with {' and '.join(given)}" if given else "a probe without a kind"
        context.faults.add(at, found, f"exactly one of {', '.join(_KINDS)}")
    timing: dict[str, float] = {
        name: context.duration((*at, name), getattr(entry, name), above_zero=True)
        for name in ("interval", "timeout", "deadline")
    }
    expect = None
    if entry.expect is not UNSET:
        expect = context.expression((*at, "expect"), entry.expect, _ANSWER)
        if given and given[0] not in _ANSWERING:
            found = f"an expression for {given[0]}, which has no answer to look at"
            context.faults.add((*at, "expect"), found, f"expect with one of {', '.join(sorted(_ANSWERING))}")
    if len(given) != 1:
        return None
    kind = given[0]
    try:
        target, argv = _value(kind, getattr(entry, kind), (*at, kind), context)
    except Problem as problem:
        context.faults.add_problem((*at, kind), problem)
        return None
    if target is None:
        return None
    return Probe(
        kind=kind,
        target=target,
        argv=argv,
        expect=expect,
        failures=entry.failures,
        successes=entry.successes,
        **timing,
    )


def _value(kind: ProbeKind, value: Any, at: Pointer, context: Context) -> tuple[str | None, tuple[str, ...]]:
    """Return target and words of a probe in object form; a target of None stands for a fault."""
    if kind in ("notify", "exit"):
        if value is not True:
            raise Problem("false", "true, or no such key")
        return "", ()
    if kind == "cmd":
        words = context.command(at, value)
        return ("", words) if words is not None else (None, ())
    if kind == "log":
        return _pattern(value), ()
    if kind == "file":
        return context.path(at, value), ()
    text = context.text(at, value)
    if text is None:
        return None, ()
    scheme, separator, rest = text.partition("://")
    if separator and _SCHEMES.get(scheme.lower()) != kind:
        raise Problem(quote(value), _form(kind))
    return _target(kind, rest if separator and kind in ("tcp", "grpc") else text, value), ()


def _target(kind: ProbeKind, text: str, written: str) -> str:
    if kind in ("tcp", "grpc"):
        check_host_port(text, written, _form(kind))
    else:
        check_url(text, written, _form(kind))
    return text


def _form(kind: ProbeKind) -> str:
    if kind in ("tcp", "grpc"):
        return f"{kind}://host:port"
    return "http://host:port/path" if kind == "http" else "ws://host:port/path"


def _pattern(text: str) -> str:
    """Check that a pattern of a log probe compiles."""
    import warnings

    if not 0 < len(text) <= _LONGEST_PATTERN:
        raise Problem(f"a pattern of {len(text)} characters", f"1 to {_LONGEST_PATTERN}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Patterns that a later Python may read differently.
            re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise Problem(f"the pattern {quote(text)} ({error})", "a regular expression") from None
    return text
