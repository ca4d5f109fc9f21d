"""JSON text to plain values, once decoding has failed; whatever is not JSON is a fault with its place."""

from __future__ import annotations

import re
from typing import NoReturn

import msgspec

from razar.config.document import MAX_DEPTH, not_utf8, reject, reject_at
from razar.config.faults import printable

__all__ = ["decode_json"]

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_STRUCTURE = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_BARE = re.compile(_STRING + rb'|[^\s{}\[\],:"]+', re.DOTALL)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def decode_json(data: bytes, file: str) -> object:
    """Decode a JSON text whose depth is not known; raise ConfigurationError if it is not valid."""
    if not data.strip():
        reject(file, "an empty file", "a JSON object")
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        reject_at(data, 0, file, "a byte order mark", "UTF-8 without one", "save the file without BOM")
    if b"\0" in data:
        reject_at(data, data.index(b"\0"), file, "a NUL byte", "JSON text in UTF-8")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        not_utf8(data, error, file)
    _refuse_depth(data, file)
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        _reject_malformed(data, file)


def _refuse_depth(data: bytes, file: str) -> None:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _STRUCTURE.finditer(data):
        if match.group() in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                found = f"more than {MAX_DEPTH} nested lists and objects"
                reject_at(data, match.start(), file, found, f"at most {MAX_DEPTH}")
        elif match.group() in (b"]", b"}"):
            depth -= 1


def _reject_malformed(data: bytes, file: str) -> NoReturn:
    """Find out where a text stops being JSON, and what would have been right there."""
    import json

    for match in _BARE.finditer(data):
        token = match.group()
        # json takes these for numbers; JSON does not have them.
        if token in (b"NaN", b"Infinity", b"-Infinity"):
            reject_at(data, match.start(), file, token.decode(), "a number that JSON has")
        # What msgspec says of these does not tell where they stand.
        if token[:1] in b"-0123456789" or b"\\u" in token:
            try:
                msgspec.json.decode(token)
            except msgspec.ValidationError:
                reject_at(data, match.start(), file, "a number out of range", "a smaller number")
            except msgspec.DecodeError:
                if not _HALF.search(token):
                    break
                reject_at(
                    data, match.start(), file, "half of a surrogate pair", "escapes of whole characters"
                )
    try:
        json.loads(data)
    except json.JSONDecodeError as error:
        offset = len(error.doc[: error.pos].encode())
        found, expected = _explain(error.msg, error.doc[error.pos :])
        reject_at(data, offset, file, found, expected, _advice(error.doc, error.pos))
    except (ValueError, RecursionError):
        pass
    reject(file, "text that is not JSON", "valid JSON")


def _explain(message: str, rest: str) -> tuple[str, str]:
    """Turn the words of json for a fault, and the text from there on, into found and expected."""
    found = "the end of the file"
    if rest.strip():
        found = 'a "' if rest[0] == '"' else f'"{printable(rest[0])}"'
    if message.startswith("Unterminated string"):
        return "a text without an end", 'a closing "'
    if message.startswith("Invalid control character"):
        return found, "an escape such as \\n or \\t in its place"
    if message.startswith("Invalid \\"):
        return found, 'an escape that JSON has, such as \\n, \\" or \\\\'
    if message.startswith("Expecting "):
        expected = message.removeprefix("Expecting ")
        return found, expected.replace("property name enclosed in", "a key in").replace("value", "a value")
    return found, "nothing after the value" if message == "Extra data" else "valid JSON"


def _advice(text: str, at: int) -> str | None:
    if text.startswith(("//", "/*", "#"), at):
        return "JSON has no comments"
    if text.startswith("'", at):
        return "JSON uses double quotes"
    if text.startswith(("}", "]"), at) and text[:at].rstrip().endswith(","):
        return "remove the comma before it"
    if at >= len(text.rstrip()):
        return "the file ends too early; a bracket or a quote is not closed"
    return None
