"""Calls other services through the gateway. The manifest grants them by name:
`[grants] services = ["users"]`.
"""

from __future__ import annotations

from typing import Any

from . import _host
from .convert import read_json, reader, write_json
from .failure import Internal, InvalidArgument


def call(
    service: str,
    method: str,
    value: Any = None,
    hint: Any = Any,
    *,
    headers: dict[str, str] | None = None,
    timeout: float | None = None,
) -> Any:
    """Calls with a value as JSON and reads the reply as the hint says.

    `timeout` in seconds shortens what is left of this call's own deadline; it never extends it.
    Raises what the service fails with, PermissionDenied without a grant, Internal when the reply is not
    what the hint says.
    """
    reply = call_octets(service, method, write_json(value), headers=headers, timeout=timeout)
    try:
        return read_json(reply, reader(hint))
    except InvalidArgument as failure:
        raise Internal(f"the reply of `{service}/{method}` cannot be read: {failure.message}") from None


def call_octets(
    service: str,
    method: str,
    body: bytes | str = b"",
    *,
    headers: dict[str, str] | None = None,
    timeout: float | None = None,
) -> bytes:
    """The same with a message as it is, octets or text."""
    timeout_ms = None if timeout is None else max(0, round(timeout * 1000))
    return _host.current.client_call(service, method, body, list((headers or {}).items()), timeout_ms)
