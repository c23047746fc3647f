"""Tells subscribers that something has happened. The manifest grants topics by pattern:
`[grants] events = ["orders.*"]`.

Nobody is waited for. Delivery is at most once: a subscriber whose queue is full misses it, but for
topics that the gateway makes durable: those are stored when the function returns. Both functions
give how many subscribers there were.
"""

from __future__ import annotations

from typing import Any

from . import _host
from .convert import write_json


def publish(topic: str, value: Any) -> int:
    """Publishes a value as JSON. Raises PermissionDenied without a grant."""
    return _host.current.publish(topic, "application/json", write_json(value))


def publish_octets(topic: str, payload: bytes | str, content_type: str | None = None) -> int:
    """Publishes octets, or text, as they are."""
    return _host.current.publish(topic, content_type, payload)
