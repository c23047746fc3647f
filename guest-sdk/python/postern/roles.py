"""Roles beside services: health, events, interceptors, the balancer, who calls and what they may.

Each decorator marks what has the role; a component has each role once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

from . import _host
from .convert import read_json, reader, write_json
from .failure import Failure


@dataclass(frozen=True)
class Health:
    """How well the plugin is. `serving()`, `degraded(why)` or `not_serving(why)`."""

    status: str
    message: str | None = None

    @classmethod
    def serving(cls) -> Health:
        """Takes traffic."""
        return cls("serving")

    @classmethod
    def degraded(cls, why: str) -> Health:
        """Takes traffic, and someone should look."""
        return cls("degraded", why)

    @classmethod
    def not_serving(cls, why: str) -> Health:
        """Takes no traffic."""
        return cls("not-serving", why)


@dataclass(frozen=True)
class Event:
    """Something has happened. Its other headers are asked of `call`."""

    topic: str
    payload: bytes
    content_type: str | None = None

    def json(self, hint: Any = Any) -> Any:
        """The payload as the hint says. Raises InvalidArgument."""
        return read_json(self.payload, reader(hint))


@dataclass(frozen=True)
class Reply:
    """What an interceptor answers with; a value is sent as JSON, `bytes` as they are."""

    value: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def payload(self) -> bytes | str:
        return self.value if isinstance(self.value, bytes) else write_json(self.value)


class _Exchanged:
    """What `Request` and `Response` have in common. `_side` names the functions of the host."""

    _side = ""

    def header(self, name: str) -> str | None:
        """The first value of a header; absent also when it is not UTF-8."""
        return getattr(_host.current, f"{self._side}_header")(name)

    def headers(self) -> list[tuple[str, bytes]]:
        """All headers in order, duplicates included."""
        return getattr(_host.current, f"{self._side}_headers")()

    def set_header(self, name: str, value: str) -> None:
        """Puts a header in the place of all of that name."""
        getattr(_host.current, f"{self._side}_set_header")(name, value)

    def remove_header(self, name: str) -> None:
        """Takes all headers of that name away."""
        getattr(_host.current, f"{self._side}_remove_header")(name)

    def octets(self) -> bytes:
        """The message of a unary call as it is. Only here does it cross into the component."""
        return getattr(_host.current, f"{self._side}_payload")()

    def payload(self, hint: Any = Any) -> Any:
        """The message as the hint says. Raises InvalidArgument."""
        return read_json(self.octets(), reader(hint))

    def set_payload(self, value: Any) -> None:
        """Puts another message in place: a value as JSON, `bytes` as they are."""
        octets = value if isinstance(value, bytes) else write_json(value)
        getattr(_host.current, f"{self._side}_set_payload")(octets)


class Request(_Exchanged):
    """The call on its way to its handler. Changes are for interceptors of requests."""

    _side = "request"

    @property
    def service(self) -> str:
        return _host.current.request_service()

    @property
    def method(self) -> str:
        return _host.current.request_method()


class Response(_Exchanged):
    """What the call came to."""

    _side = "response"

    @property
    def failed(self) -> Failure | None:
        """Why the call failed; `None` when it did not."""
        return _host.current.response_failed()

    @property
    def elapsed(self) -> float:
        """Seconds since the call came in, in whole microseconds."""
        return _host.current.response_elapsed_micros() / 1_000_000


@dataclass(frozen=True)
class Instance:
    """One thing that can answer for the service."""

    #: Its name in the directory; the same for as long as it lives.
    id: str
    #: Its share relative to the others; 100 is the usual one, 0 means no new calls.
    weight: int = 100
    #: Where it stands: a region or a data centre.
    zone: str | None = None
    #: A semantic version.
    version: str | None = None
    #: What its owner says about it.
    metadata: dict[str, str] = field(default_factory=dict)


class Candidates:
    """What the gateway knows of the instances while it asks for a pick."""

    def usable(self, index: int) -> bool:
        """Whether the instance may get this call."""
        return _host.current.usable(index)

    def random(self) -> int:
        """A random number of 64 bits, new at every pick."""
        return _host.current.random()


@dataclass(frozen=True)
class Identity:
    """Who calls. `valid` in seconds: for how long the gateway may remember it."""

    name: str
    roles: list[str] = field(default_factory=list)
    claims: dict[str, str] = field(default_factory=dict)
    valid: float | None = None


@dataclass(frozen=True)
class Credentials:
    """What a caller shows: the scheme, `bearer` or `api-key`, and the token."""

    scheme: str
    token: str


class Roles:
    """What was marked so far."""

    def __init__(self) -> None:
        self.on_start: Callable[[], None] | None = None
        self.health: Callable[[], Health | None] | None = None
        self.event_handler: Callable[[Event], None] | None = None
        self.request_interceptor: Callable[[Request], Reply | None] | None = None
        self.response_interceptor: Callable[[Request, Response], None] | None = None
        self.balancer: type | None = None
        self.frame_extension: type | None = None
        self.authenticator: Callable[[Credentials], Identity | None] | None = None
        self.authorizer: Callable[[str, str], None] | None = None
        #: An async generator function; `async_stream.py`.
        self.async_stream_handler: Any = None

    def put(self, role: str, value: Any) -> Any:
        if getattr(self, role) is not None:
            raise ValueError(f"two functions or classes have the role {role}")
        setattr(self, role, value)
        return value


registered = Roles()


def on_start(function: Callable[[], None]) -> Callable[[], None]:
    """Runs once in each instance, before its first call. Where it raises, calls fail with what it raised
    and health is not-serving."""
    return registered.put("on_start", function)


def health(function: Callable[[], Health | None]) -> Callable[[], Health | None]:
    """Says whether the plugin can serve. Asked before it takes traffic, and then periodically."""
    return registered.put("health", function)


def event_handler(function: Callable[[Event], None]) -> Callable[[Event], None]:
    """Takes events of the topics that the manifest names."""
    return registered.put("event_handler", function)


def request_interceptor(function: Callable[[Request], Reply | None]) -> Callable[[Request], Reply | None]:
    """Sees calls on their way in. `None` lets it go on, a `Reply` answers it, a Failure refuses it."""
    return registered.put("request_interceptor", function)


def response_interceptor(function: Callable[[Request, Response], None]) -> Callable[[Request, Response], None]:
    """Sees what became of calls, on their way out. A Failure takes the place of the outcome."""
    return registered.put("response_interceptor", function)


def balancer(cls: type) -> type:
    """Places calls: a class with `update(instances)`, `pick(key, candidates)` and, if it wants to be told
    how calls ended, `done(index, outcome, micros)`. There is one object per worker thread and service."""
    for name in ("update", "pick"):
        if not callable(getattr(cls, name, None)):
            raise TypeError(f"the balancer {cls.__name__} has no function `{name}`")
    return registered.put("balancer", cls)


def authenticator(function: Callable[[Credentials], Identity | None]) -> Callable[[Credentials], Identity | None]:
    """Says who calls; `None`: not mine to judge."""
    return registered.put("authenticator", function)


def authorizer(function: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """Says what callers may do: gets service and method, and raises PermissionDenied."""
    return registered.put("authorizer", function)
