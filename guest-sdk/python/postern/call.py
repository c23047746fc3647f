"""The call that is being answered. An instance serves one call at a time, so no handle is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from . import _host


@dataclass(frozen=True)
class Peer:
    """Who is at the other end of the session."""

    #: `tcp`, `udp`, `http`, `unix`, `memory` or `plugin`; others may come.
    transport: str
    #: `address:port`, where the transport has one.
    address: str | None = None


@dataclass(frozen=True)
class Principal:
    """Who calls, as an authenticator established it."""

    name: str
    roles: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Http:
    """What HTTP says of a call beside headers and body."""

    #: `GET`, `POST`, ...
    method: str = "GET"
    #: `http` or `https`; empty where the request did not say.
    scheme: str = ""
    #: Host and port as the client named them; empty where it named none.
    authority: str = ""
    #: As the client sent it, percent-encoded.
    path: str = "/"
    #: What follows the first `?` of the target.
    query: str | None = None


class BodyKind(Enum):
    """What a body is."""

    #: One message, or none.
    MESSAGE = "message"
    #: Whole units, one after the other.
    MESSAGES = "messages"
    #: One body in pieces, whose ends mean nothing.
    OCTETS = "octets"


def header(name: str) -> str | None:
    """The first value of a request header; absent also when it is not UTF-8."""
    return _host.current.header(name)


def headers() -> list[tuple[str, bytes]]:
    """All request headers in order, duplicates included."""
    return _host.current.headers()


def http() -> Http | None:
    """What HTTP says of the call; `None` where it did not come by HTTP."""
    return _host.current.http()


def request_kind() -> BodyKind:
    """What the body of the request is, as it came; for a unary method a message always."""
    return _host.current.request_kind()


def trailers() -> list[tuple[str, bytes]]:
    """What follows the body of the request, in a streaming method once its last message was taken."""
    return _host.current.trailers()


def set_status(status: int) -> None:
    """Sets the status that a client is answered with that came by HTTP: 200 to 599, 200 unless set."""
    _host.current.set_status(status)


def set_octets() -> None:
    """Says that what is sent are pieces of one body, which goes to the client as it is."""
    _host.current.set_octets()


def add_header(name: str, value: str) -> None:
    """Adds a header to the reply. Keys are 1 to 255 octets, all headers together 65,535."""
    _host.current.add_header(name, value)


def add_trailer(name: str, value: str) -> None:
    """Adds a header that follows the reply's last message. Bounded as headers are."""
    _host.current.add_trailer(name, value)


def peer() -> Peer:
    """Who is at the other end of the session."""
    return _host.current.peer()


def principal() -> Principal | None:
    """Who calls; `None` where no authenticator has said so."""
    return _host.current.principal()


def claim(name: str) -> str | None:
    """One of the principal's claims: what an authenticator says about it beside name and roles."""
    return _host.current.claim(name)


def remaining() -> float:
    """Seconds until the caller stops waiting, in whole milliseconds."""
    return _host.current.remaining_ms() / 1000


def correlation_id() -> str:
    """Chosen by the caller, unique among what is in flight on its session."""
    return _host.current.correlation_id()


def traceparent() -> str | None:
    """W3C trace context of this call."""
    return _host.current.traceparent()
