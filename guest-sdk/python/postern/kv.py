"""A persistent key/value store, private to the plugin unless the manifest grants a shared one.

Values are JSON, typed by a hint; `get_octets` and `set_octets` are for what is none. Keys are 1 to
1,024 octets, values up to 1 MiB. A call that returned has been written to disk.
"""

from __future__ import annotations

from typing import Any, Callable

from . import _host
from .convert import read_json, reader, write_json
from .failure import Aborted, DataLoss, InvalidArgument

_TRIES_MAX = 100


def get(key: str, hint: Any = Any) -> Any:
    """The value as the hint says; `None` where there is none. Raises DataLoss when it is of another type."""
    octets = _host.current.kv_get(key)
    return None if octets is None else _read(key, octets, hint)


def set(key: str, value: Any) -> None:
    """Puts a value in the place of the one before."""
    _host.current.kv_set(key, write_json(value))


def delete(key: str) -> bool:
    """Takes a key away. Whether there was such a key."""
    return _host.current.kv_delete(key)


def insert(key: str, value: Any) -> bool:
    """Sets a key that is absent, in one step. Whether it was absent."""
    return _host.current.kv_swap(key, None, write_json(value).encode())


def update(key: str, change: Callable[[Any], Any], hint: Any = Any) -> Any:
    """Reads, changes and writes in one step; gives what was written.

    `change` gets the value or `None` and gives the new one, `None` to delete the key. It may be called
    again when somebody else was faster; raises Aborted after 100 tries.
    """
    for _ in range(_TRIES_MAX):
        before = _host.current.kv_get(key)
        after = change(None if before is None else _read(key, before, hint))
        octets = None if after is None else write_json(after).encode()
        if _host.current.kv_swap(key, before, octets):
            return after
    raise Aborted(f"key `{key}` was changed by others {_TRIES_MAX} times")


def keys(prefix: str = "", *, after: str | None = None, limit: int = 1000) -> list[str]:
    """Up to `limit` (at most 1,000) keys that begin with `prefix` and come after `after`, in order."""
    return _host.current.kv_keys(prefix, after, limit)


def get_octets(key: str) -> bytes | None:
    """The value as it was stored."""
    return _host.current.kv_get(key)


def set_octets(key: str, value: bytes | str) -> None:
    """Stores octets, or text, as they are."""
    _host.current.kv_set(key, value)


def swap_octets(key: str, expected: bytes | None, value: bytes | None) -> bool:
    """Sets or deletes (`value` None) the key if its value is `expected` (None: absent), in one step."""
    return _host.current.kv_swap(key, expected, value)


def _read(key: str, octets: bytes, hint: Any) -> Any:
    try:
        return read_json(octets, reader(hint))
    except InvalidArgument as failure:
        raise DataLoss(f"the value of key `{key}` cannot be read: {failure.message}") from None
