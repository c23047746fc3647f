"""Role `frame-extension`: sees VSTP frames below the calls, in both directions.

    @frame_extension
    class Stamp:
        def should_handle(self, head: FrameHead) -> bool:
            return head.direction == "inbound"

        def handle_frame(self, frame: Frame) -> Verdict | None:
            frame.set_header("x-stamp", "edge")
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from . import _host
from .roles import registered

KINDS = ("hello", "welcome", "data", "ping", "pong", "bye", "ack", "err")
DIRECTIONS = ("inbound", "outbound")


@dataclass(frozen=True)
class FrameHead:
    """A frame without its headers and payload."""

    #: One of `KINDS`.
    kind: str
    #: `inbound`, from a peer to the gateway, or `outbound`.
    direction: str
    #: `0x01` wants an ACK, `0x10` one part of a message, `0x20` compressed payload.
    flag_bits: int = 0
    #: Octets of the header section.
    header_bytes: int = 0
    #: Octets of the payload.
    payload_bytes: int = 0


class Verdict(Enum):
    """What happens to a frame."""

    #: It goes on, with what was changed; `None` means the same.
    PASS = "pass"
    #: It is forgotten.
    DROP = "drop"


class Frame:
    """The frame in hand."""

    def header(self, name: str) -> str | None:
        """The first value of a header; absent also when it is not UTF-8."""
        return _host.current.frame_header(name)

    def headers(self) -> list[tuple[str, bytes]]:
        """All headers in order, duplicates included."""
        return _host.current.frame_headers()

    def set_header(self, name: str, value: str) -> None:
        """Puts a header in the place of all of that name."""
        _host.current.frame_set_header(name, value)

    def add_header(self, name: str, value: str) -> None:
        """Adds a header beside those of that name."""
        _host.current.frame_add_header(name, value)

    def remove_header(self, name: str) -> None:
        """Takes all headers of that name away."""
        _host.current.frame_remove_header(name)

    def payload(self) -> bytes:
        """The payload. Only here does it cross into the component."""
        return _host.current.frame_payload()

    def set_payload(self, payload: bytes) -> None:
        """Puts another payload in place."""
        _host.current.frame_set_payload(payload)


def frame_extension(cls: type) -> type:
    """Sees frames: a class with `should_handle(head)`, whether it is to see this frame, and
    `handle_frame(frame)`, which gives a `Verdict` or nothing; a Failure refuses the frame. There is one
    object for each instance."""
    for name in ("should_handle", "handle_frame"):
        if not callable(getattr(cls, name, None)):
            raise TypeError(f"the frame extension {cls.__name__} has no function `{name}`")
    return registered.put("frame_extension", cls)
