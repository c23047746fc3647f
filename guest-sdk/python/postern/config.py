"""The table `config` of the plugin's manifest."""

from __future__ import annotations

import json
from typing import Any, TypeVar, overload

from . import _host
from .convert import Mismatch, name_of, reader
from .failure import FailedPrecondition

T = TypeVar("T")
D = TypeVar("D")


@overload
def get(key: str) -> str | None: ...
@overload
def get(key: str, hint: type[T]) -> T | None: ...
@overload
def get(key: str, hint: type[T], default: D) -> T | D: ...
def get(key: str, hint: Any = str, default: Any = None) -> Any:
    """A value as the type says, text unless it says otherwise; `default` where the key is absent.

    Raises FailedPrecondition that names key and value when it is of another type.
    """
    text = _host.current.config_get(key)
    return default if text is None else _read(key, text, hint)


def require(key: str, hint: type[T] = str) -> T:  # type: ignore[assignment]
    """The same for a key that has to be there. Raises FailedPrecondition when it is not."""
    text = _host.current.config_get(key)
    if text is None:
        raise FailedPrecondition(f"config key `{key}` is missing")
    return _read(key, text, hint)


def all() -> dict[str, str]:
    """All keys and values in the order of their keys: text as it is, everything else as JSON."""
    return dict(_host.current.config_all())


def _read(key: str, text: str, hint: Any) -> Any:
    if hint is str:
        return text
    read = reader(hint)
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    try:
        return read(value)
    except Mismatch as mismatch:
        fault = str(mismatch)
    if value is not text:  # text that looks like a number
        try:
            return read(text)
        except Mismatch:
            pass
    raise FailedPrecondition(f"config key `{key}` has value `{text}`, not {name_of(hint)}: {fault}")
