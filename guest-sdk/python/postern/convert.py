"""JSON values to what type hints say, and back.

`reader(T)` gives a function that takes a JSON value and gives a `T`. Known are `str`, `int`, `float`,
`bool`, `None`, `Any`, `dict`, `list`, `set`, `tuple`, `Literal`, `Optional` and unions, enums,
dataclasses, `TypedDict`, `NamedTuple`, `datetime`, `date`, `UUID`, `Decimal`. Keys that a type does not
have are ignored.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import functools
import json
import math
import types
import typing
import uuid
from typing import Any, Callable

from .failure import Internal, InvalidArgument

Reader = Callable[[Any], Any]

_MISSING = dataclasses.MISSING
_UNIONS = (typing.Union, types.UnionType)
_JSON_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class Mismatch(Exception):
    """A value is not what its type says. `path` leads there, the innermost part first."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.path: list[str] = []

    def within(self, part: str) -> Mismatch:
        self.path.append(part)
        return self

    def __str__(self) -> str:
        parts = "".join(
            part if part.startswith("[") or index == 0 else "." + part
            for index, part in enumerate(reversed(self.path))
        )
        return f"`{parts}`: {self.args[0]}" if parts else str(self.args[0])


def reader(hint: Any) -> Reader:
    """The function that reads a `hint`. Raises TypeError for a type that has no form in JSON."""
    try:
        return _cached(hint)
    except TypeError:  # not hashable, or without a form in JSON: then it is raised again
        return _reader(hint, {})


@functools.lru_cache(maxsize=256)
def _cached(hint: Any) -> Reader:
    return _reader(hint, {})


def read_json(text: bytes | str, read: Reader) -> Any:
    """Reads JSON text; an empty one is `null`. Raises InvalidArgument with the place of the fault."""
    try:
        value = _decode(text if isinstance(text, str) else text.decode()) if text else None
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"the message is not UTF-8: {error.reason} at octet {error.start}") from None
    except RecursionError:
        raise InvalidArgument(_TOO_DEEP) from None
    except ValueError as error:
        raise InvalidArgument(f"the message is no JSON: {error}") from None
    try:
        return read(value)
    except Mismatch as mismatch:
        raise InvalidArgument(str(mismatch)) from None
    except RecursionError:
        raise InvalidArgument(_TOO_DEEP) from None


def write_json(value: Any) -> str:
    """A value as compact JSON text. Raises Internal when it has no form in JSON."""
    try:
        text = _ENCODER.encode(value)
        return text if text.isascii() or _is_unicode(text) else _ASCII_ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Internal(f"the value has no form in JSON: {error}") from None


def _is_unicode(text: str) -> bool:
    """Whether the text has no half of a surrogate pair, which JSON can only write as an escape."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checker(hint: Any) -> Callable[[Any], bool] | None:
    """Whether a value is of the type, seen from outside: elements are not looked at. `None`: anything is."""
    if hint in (Any, object, typing.Optional[Any]) or isinstance(hint, typing.TypeVar):
        return None
    if hint is None or hint is type(None):
        return lambda value: value is None
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return checker(hint.__origin__)
    if origin in _UNIONS:
        checks = [checker(part) for part in typing.get_args(hint)]
        if None in checks:
            return None
        return lambda value: any(check(value) for check in checks if check)
    if origin is typing.Literal:
        values = typing.get_args(hint)
        return lambda value: value in values
    if typing.is_typeddict(hint):
        required = hint.__required_keys__
        return lambda value: isinstance(value, dict) and required <= value.keys()
    if hint is float:
        return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    kind = origin or hint
    return (lambda value: isinstance(value, kind)) if isinstance(kind, type) else None


def name_of(hint: Any) -> str:
    """How a type is called in a schema: a class by its name, `list[Note]` as `ListOfNote`."""
    if hint is None or hint is type(None):
        return ""
    if hint is Any or hint is object:
        return "any"
    simple = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}
    if hint in simple:
        return simple[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return name_of(args[0])
    if origin in _UNIONS:
        return "Or".join(_capital(name_of(part) or "null") for part in args)
    if origin is typing.Literal:
        return "OneOf" + "".join(_capital(str(value)) for value in args)
    if origin is not None:
        base = _capital(getattr(origin, "__name__", str(origin)))
        return base + "Of" + "And".join(_capital(name_of(part) or "null") for part in args if part is not ...)
    return getattr(hint, "__name__", str(hint))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _found(value: Any) -> str:
    return _JSON_NAMES.get(type(value), type(value).__name__)


def _expected(what: str, value: Any) -> Mismatch:
    return Mismatch(f"expected {what}, found {_found(value)}")


def _reader(hint: Any, known: dict[Any, Reader]) -> Reader:
    """`known` has the readers that are being made: a type may name itself."""
    try:
        if hint in known:
            return known[hint]
    except TypeError:  # a hint that cannot be hashed names nothing twice
        pass
    simple = _SIMPLE.get(hint) if isinstance(hint, collections.abc.Hashable) else None
    if simple:
        return simple
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _reader(args[0], known)
    if origin in _UNIONS:
        return _union(args, known)
    if origin is typing.Literal:
        return _literal(args)
    if origin in (list, set, frozenset, collections.abc.Sequence, collections.abc.Collection):
        return _list(args, known, origin if origin in (set, frozenset) else list)
    if origin is tuple:
        return _tuple(args, known)
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        return _dict(args, known)
    if isinstance(hint, type):
        return _class(hint, known)
    if isinstance(hint, typing.TypeVar):
        return _anything
    raise TypeError(f"{hint!r} has no form in JSON")


def _class(hint: type, known: dict[Any, Reader]) -> Reader:
    if issubclass(hint, enum.Enum):
        return _enum(hint)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, known)
    if typing.is_typeddict(hint):
        return _typed_dict(hint, known)
    if issubclass(hint, tuple) and hasattr(hint, "_fields"):
        return _named_tuple(hint, known)
    if hint in (list, set, frozenset, tuple):
        return _list((Any,), known, hint)
    if hint is dict:
        return _dict((str, Any), known)
    raise TypeError(f"{hint.__name__} has no form in JSON: make it a dataclass, a TypedDict or an Enum")


def _anything(value: Any) -> Any:
    return value


def _nothing(value: Any) -> None:
    if value is not None and value != {}:
        raise _expected("null", value)


def _string(value: Any) -> str:
    if type(value) is not str:
        raise _expected("a string", value)
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise _expected("a boolean", value)
    return value


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise Mismatch(f"expected an integer, found {value}") if type(value) is float else _expected("an integer", value)


def _number(value: Any) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise Mismatch("the number is too large") from None
    raise Mismatch("the number is too large") if type(value) is float else _expected("a number", value)


def _parsed(what: str, parse: Callable[[str], Any]) -> Reader:
    def read(value: Any) -> Any:
        text = _string(value)
        try:
            return parse(text)
        except (ValueError, ArithmeticError):
            raise Mismatch(f"`{text}` is not {what}") from None

    return read


def _datetime(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)


_SIMPLE: dict[Any, Reader] = {
    Any: _anything,
    object: _anything,
    None: _nothing,
    type(None): _nothing,
    str: _string,
    bool: _boolean,
    int: _integer,
    float: _number,
    datetime.datetime: _parsed("a date and time of RFC 3339", _datetime),
    datetime.date: _parsed("a date", datetime.date.fromisoformat),
    uuid.UUID: _parsed("a UUID", uuid.UUID),
    decimal.Decimal: _parsed("a decimal number", decimal.Decimal),
}


def _union(args: tuple[Any, ...], known: dict[Any, Reader]) -> Reader:
    is_optional = type(None) in args
    readers = [_reader(part, known) for part in args if part is not type(None)]

    def read(value: Any) -> Any:
        if value is None and is_optional:
            return None
        first = None
        for each in readers:
            try:
                return each(value)
            except Mismatch as mismatch:
                first = first or mismatch
        if len(readers) == 1 and first:
            raise first
        names = ", ".join(name_of(part) or "null" for part in args)
        raise Mismatch(f"expected one of {names}, found {_found(value)}")

    return read


def _literal(values: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        for known in values:
            if value == known and type(value) is type(known):
                return value
        raise Mismatch(f"`{value}` is none of " + ", ".join(f"`{known}`" for known in values))

    return read


def _enum(hint: type[enum.Enum]) -> Reader:
    def read(value: Any) -> Any:
        try:
            return hint(value)
        except ValueError:
            known = ", ".join(f"`{member.value}`" for member in hint)
            raise Mismatch(f"`{value}` is none of {known}") from None

    return read


def _list(args: tuple[Any, ...], known: dict[Any, Reader], make: Callable[[list[Any]], Any]) -> Reader:
    each = _reader(args[0], known) if args else _anything

    def read(value: Any) -> Any:
        if type(value) is not list:
            raise _expected("a list", value)
        items = []
        for item in value:
            try:
                items.append(each(item))
            except Mismatch as mismatch:
                raise mismatch.within(f"[{len(items)}]") from None
        try:
            return items if make is list else make(items)
        except TypeError:  # lists and objects have no hash
            raise Mismatch("a list or an object cannot be an element of a set") from None

    return read


def _tuple(args: tuple[Any, ...], known: dict[Any, Reader]) -> Reader:
    if len(args) == 2 and args[1] is ...:
        return _list(args[:1], known, tuple)
    readers = [_reader(part, known) for part in args]

    def read(value: Any) -> Any:
        if type(value) is not list:
            raise _expected("a list", value)
        if len(value) != len(readers):
            raise Mismatch(f"expected {len(readers)} values, found {len(value)}")
        return tuple(each(item) for each, item in zip(readers, value))

    return read


def _dict(args: tuple[Any, ...], known: dict[Any, Reader]) -> Reader:
    key_hint, value_hint = args or (str, Any)
    if key_hint not in (str, Any):
        raise TypeError(f"dict keys of type {name_of(key_hint)} have no form in JSON: they are strings")
    each = _reader(value_hint, known)

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise _expected("an object", value)
        return {key: _within(each, item, key) for key, item in value.items()}

    return read


def _within(read: Reader, value: Any, part: str) -> Any:
    try:
        return read(value)
    except Mismatch as mismatch:
        raise mismatch.within(part) from None


def _members(
    hint: type, known: dict[Any, Reader], required: set[str], names: list[str]
) -> Callable[[Any], dict[str, Any]]:
    """Reads an object's members by name; what is absent and not required is left out."""
    hints = typing.get_type_hints(hint)
    fields = [(name, _reader(hints.get(name, Any), known), name in required) for name in names]

    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            if value is not None or required:
                raise _expected("an object", value)
            value = {}
        found = {}
        for name, each, is_required in fields:
            if name in value:
                found[name] = _within(each, value[name], name)
            elif is_required:
                raise Mismatch(f"field `{name}` is missing")
        return found

    return read


def _later(hint: Any, known: dict[Any, Reader]) -> list[Reader]:
    """Makes a type known before its members are read; the reader is put in place afterwards."""
    place: list[Reader] = []
    known[hint] = lambda value: place[0](value)
    return place


def _dataclass(hint: type, known: dict[Any, Reader]) -> Reader:
    place = _later(hint, known)
    fields = [field for field in dataclasses.fields(hint) if field.init]
    required = {f.name for f in fields if f.default is _MISSING and f.default_factory is _MISSING}
    members = _members(hint, known, required, [field.name for field in fields])

    def read(value: Any) -> Any:
        found = members(value)
        try:
            return hint(**found)
        except (ValueError, TypeError) as error:  # what `__post_init__` refuses
            raise Mismatch(str(error)) from None

    place.append(read)
    return read


def _typed_dict(hint: Any, known: dict[Any, Reader]) -> Reader:
    place = _later(hint, known)
    names = list(typing.get_type_hints(hint))
    read = _members(hint, known, set(hint.__required_keys__), names)
    place.append(read)
    return read


def _named_tuple(hint: Any, known: dict[Any, Reader]) -> Reader:
    place = _later(hint, known)
    required = {name for name in hint._fields if name not in hint._field_defaults}
    members = _members(hint, known, required, list(hint._fields))
    place.append(lambda value: hint(**members(value)))
    return place[0]


def _plain(value: Any) -> Any:
    """What `json` does not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


_TOO_DEEP = "the message is nested too deeply"
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
_ASCII_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_plain)
