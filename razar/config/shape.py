"""Every fault of shape in a decoded value, explained from the types of :mod:`razar.config.wire`.

Decoding stops at the first fault; this is the walk that is taken when it has failed.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec.inspect as types
from msgspec import UNSET

from razar.config.collector import Collector, Pointer
from razar.config.faults import describe, quote

__all__ = ["expectation", "salvage"]

#: What a union or field accepts, told by the type of the decoded value.
_KINDS: dict[type, tuple[type[types.Type], ...]] = {
    str: (types.StrType, types.LiteralType),
    bool: (types.BoolType,),
    int: (types.IntType, types.FloatType),
    float: (types.FloatType,),
    list: (types.ListType,),
    dict: (types.StructType, types.DictType),
    type(None): (types.NoneType,),
}


def salvage(value: object, shape: type, faults: Collector, at: Pointer = ()) -> Any:
    """Note every fault of ``value`` and return what can be used of it as ``shape``.

    Fields that are missing or wrong hold their default, or UNSET if they have none; so does an
    item of a list. The result is UNSET if nothing can be used. The nesting of ``shape`` bounds
    the recursion.
    """
    return _walk(value, types.type_info(shape), faults, at, False)


def expectation(shape: types.Type) -> str:
    """Say in words what a type accepts."""
    shape, expected, _ = _unwrap(shape)
    if expected is not None:
        return expected
    if isinstance(shape, types.UnionType):
        return " or ".join([expectation(member) for member in shape.types])
    if isinstance(shape, types.LiteralType):
        return " or ".join([f'"{choice}"' for choice in shape.values])
    if isinstance(shape, types.StructType):
        required = [field.encode_name for field in shape.fields if field.required]
        return f"an object with {', '.join(required)}" if required else "an object"
    if isinstance(shape, types.ListType):
        return f"a list, each item {expectation(shape.item_type)}"
    if isinstance(shape, (types.IntType, types.FloatType)):
        number = "a whole number" if isinstance(shape, types.IntType) else "a number"
        bounds = [("above", shape.gt), ("at least", shape.ge), ("below", shape.lt), ("at most", shape.le)]
        return ", ".join([number, *(f"{word} {bound}" for word, bound in bounds if bound is not None)])
    if isinstance(shape, types.BoolType):
        return "true or false"
    if isinstance(shape, types.StrType):
        return "a text"
    return "null" if isinstance(shape, types.NoneType) else "an object"


def _unwrap(shape: types.Type) -> tuple[types.Type, str | None, bool]:
    """Take a type out of its metadata: the type, the words for what it expects, whether it is secret."""
    expected, secret = None, False
    while isinstance(shape, types.Metadata):
        extra = shape.extra or {}
        expected = expected or extra.get("expected")
        secret = secret or bool(extra.get("secret"))
        shape = shape.type
    return shape, expected, secret


def _walk(value: object, outer: types.Type, faults: Collector, at: Pointer, secret: bool) -> Any:
    shape, _, is_secret = _unwrap(outer)
    secret = secret or is_secret
    members = shape.types if isinstance(shape, types.UnionType) else (shape,)
    for member in members:
        inner = _unwrap(member)[0]
        if isinstance(inner, types.UnionType):
            members = (*members, *inner.types)
    for member in members:
        inner = _unwrap(member)[0]
        if not isinstance(inner, _KINDS.get(type(value), ())):
            continue
        if isinstance(inner, types.StructType) and isinstance(value, dict):
            return _walk_struct(value, inner, faults, at, secret)
        if isinstance(inner, types.DictType) and isinstance(value, dict):
            return _walk_dict(value, inner, faults, at, secret)
        if isinstance(inner, types.ListType) and isinstance(value, list):
            if len(value) >= (inner.min_length or 0):
                return _walk_list(value, inner, faults, at, secret)
        elif _fits(value, inner):
            return value
    hint = None
    choices = [str(c) for m in members if isinstance(m, types.LiteralType) for c in m.values]
    if isinstance(value, str) and choices and not secret:
        hint = faults.suggest(value, choices)
    faults.add(at, describe(value, secret=secret), expectation(outer), hint)
    return UNSET


def _walk_struct(
    value: dict[str, object], shape: types.StructType, faults: Collector, at: Pointer, secret: bool
) -> Any:
    known = {field.encode_name: field for field in shape.fields}
    usable: dict[str, Any] = {}
    for name, item in value.items():
        if faults.full:
            break
        field = known.get(name)
        if field is not None:
            usable[field.name] = _walk(item, field.type, faults, (*at, name), secret)
        elif shape.forbid_unknown_fields:
            hint = faults.suggest(name, [n for n in known if n not in value])
            faults.add(
                (*at, name), f"the unknown key {quote(name)}", f"one of {', '.join(known)}", hint, key=True
            )
    for field in shape.fields:
        if field.required and field.encode_name not in value:
            faults.add(at, f'no key "{field.encode_name}"', expectation(field.type))
        if usable.get(field.name, UNSET) is UNSET:
            usable.pop(field.name, None)
            if field.required:
                usable[field.name] = UNSET
    return shape.cls(**usable)


def _walk_list(
    value: list[object], shape: types.ListType, faults: Collector, at: Pointer, secret: bool
) -> list[Any]:
    usable = []
    for number, item in enumerate(value):
        if faults.full:
            break
        usable.append(_walk(item, shape.item_type, faults, (*at, number), secret))
    return usable


def _walk_dict(
    value: dict[str, object], shape: types.DictType, faults: Collector, at: Pointer, secret: bool
) -> dict[str, Any]:
    usable = {}
    for name, item in value.items():
        if faults.full:
            break
        if not _fits(name, _unwrap(shape.key_type)[0]):
            faults.add((*at, name), f"the key {quote(name)}", expectation(shape.key_type), key=True)
        result = _walk(item, shape.value_type, faults, (*at, name), secret)
        if result is not UNSET:
            usable[name] = result
    return usable


def _fits(value: Any, shape: types.Type) -> bool:
    """Check the limits of a type that is known to be of the value's kind."""
    if isinstance(shape, types.LiteralType):
        return value in shape.values
    if isinstance(shape, types.StrType):
        return shape.pattern is None or re.search(shape.pattern, value) is not None
    if isinstance(shape, (types.IntType, types.FloatType)):
        return (
            (shape.gt is None or value > shape.gt)
            and (shape.ge is None or value >= shape.ge)
            and (shape.lt is None or value < shape.lt)
            and (shape.le is None or value <= shape.le)
        )
    return True
