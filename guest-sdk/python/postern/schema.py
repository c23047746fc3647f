"""JSON Schema (2020-12) of type hints, docstrings included."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import inspect
import types
import typing
import uuid
from typing import Any

from .convert import name_of

_SIMPLE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    None: {"type": "null"},
    type(None): {"type": "null"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    decimal.Decimal: {"type": "string"},
}


def schema(hint: Any) -> dict[str, Any]:
    """The schema of one type. Types that it is made of stand in its own `$defs`."""
    definitions: dict[str, Any] = {}
    top = _schema(hint, definitions, is_top=True)
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name_of(hint) or "null", **top}
    if definitions:
        found["$defs"] = definitions
    return found


def _schema(hint: Any, definitions: dict[str, Any], is_top: bool = False) -> dict[str, Any]:
    if isinstance(hint, collections.abc.Hashable) and hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _schema(args[0], definitions, is_top)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(part, definitions) for part in args]}
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin is tuple and not (len(args) == 2 and args[1] is ...):
        parts = [_schema(part, definitions) for part in args]
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    if origin is dict or origin in (collections.abc.Mapping, collections.abc.MutableMapping):
        return {"type": "object", "additionalProperties": _schema(args[1], definitions)}
    if origin is not None and args:
        found = {"type": "array", "items": _schema(args[0], definitions)}
        return {**found, "uniqueItems": True} if origin in (set, frozenset) else found
    if hint is dict:
        return {"type": "object"}
    if hint in (list, set, frozenset, tuple):
        return {"type": "array"}
    if isinstance(hint, type) and hint not in (Any, object):
        return _named(hint, definitions, is_top)
    return {}


def _named(hint: Any, definitions: dict[str, Any], is_top: bool) -> dict[str, Any]:
    if is_top:
        return _class(hint, definitions)
    name = hint.__name__
    if name not in definitions:
        definitions[name] = {}  # a type may name itself
        definitions[name] = _class(hint, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _class(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if issubclass(hint, enum.Enum):
        return {**_described(hint), "enum": [member.value for member in hint]}
    if dataclasses.is_dataclass(hint):
        names = [field.name for field in dataclasses.fields(hint) if field.init]
        has_default = {
            field.name
            for field in dataclasses.fields(hint)
            if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        }
        required = [name for name in names if name not in has_default]
    elif typing.is_typeddict(hint):
        names = list(typing.get_type_hints(hint))
        required = [name for name in names if name in hint.__required_keys__]
    else:
        names = list(hint._fields)
        required = [name for name in names if name not in hint._field_defaults]
    hints = typing.get_type_hints(hint)
    properties = {name: _schema(hints.get(name, Any), definitions) for name in names}
    found = {**_described(hint), "type": "object", "properties": properties}
    return {**found, "required": required} if required else found


def _described(hint: Any) -> dict[str, Any]:
    text = inspect.cleandoc(hint.__dict__.get("__doc__") or "")
    # Dataclasses and named tuples without a docstring get their signature for one.
    if not text or text.startswith(f"{hint.__name__}(") or text.startswith("An enumeration"):
        return {}
    return {"description": text}
