"""A host for unit tests: no gateway, no component.

    def test_a_note_is_found_again():
        with Host() as host:
            host.call(notes, "Put", {"key": "a", "text": "b"})
            assert host.call(notes, "Find", "a") == {"key": "a", "text": "b"}

It keeps the limits that the gateway has for keys, values, topics and headers. Messages take the path
that they take in a component, octets in and octets out.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any, Iterable, Iterator

from . import _host, _streams, entry
from ._fake import ClientCall, FakeHost, Line, Published
from .call import BodyKind, Http, Peer, Principal
from .convert import write_json
from .directory import ServiceInstance
from .failure import Failure
from .frame import FrameHead, Verdict
from .log import HostHandler
from .roles import Credentials, Event, Health, Identity, Instance
from .service import Service

__all__ = ["Balancing", "ClientCall", "Exchange", "Framed", "Host", "Line", "Published"]


def _octets(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return write_json(value).encode()


class Host:
    """An empty host: no config, no keys, nothing granted, 1,000 ms left for the call, transport `memory`,
    every log level kept. `with` puts it in place; a new one is a new instance of the plugin."""

    def __init__(self, *, config: dict[str, Any] | None = None) -> None:
        self._fake = FakeHost()
        self._before: Any = None
        self._logging = HostHandler()
        for key, value in (config or {}).items():
            self._fake.config[key] = value if isinstance(value, str) else write_json(value)

    def __enter__(self) -> Host:
        entry.reset()
        self._before = _host.put(self._fake)
        root = logging.getLogger()
        root.addHandler(self._logging)
        return self

    def __exit__(self, *_: Any) -> None:
        logging.getLogger().removeHandler(self._logging)
        _host.put(self._before)
        entry.reset()

    # Before a call.

    def answer(self, service: str, method: str, reply: Any) -> Host:
        """Answers calls that the plugin makes: with a value as JSON, with `bytes`, with a Failure, or with
        what a function of the ClientCall gives. This also grants the service."""
        self._fake.answers[service, method] = reply
        return self

    def topic(self, topic: str, subscribers: int = 1) -> Host:
        """Grants a topic and says how many subscribers it has."""
        self._fake.topics[topic] = subscribers
        return self

    def service(self, service: str, instances: list[ServiceInstance]) -> Host:
        """Says who answers for a service; this also grants looking it up. A watch sees the difference the next
        time that it is asked."""
        self._fake.directory.services[service] = list(instances)
        return self

    def fail_kv(self, failure: Failure | None) -> Host:
        """Lets every use of `kv` fail, or with `None` succeed again."""
        self._fake.kv_failure = failure
        return self

    def log_level(self, level: str) -> Host:
        """Keeps only log lines of this level and above."""
        self._fake.level = level
        return self

    def context(
        self,
        *,
        headers: dict[str, str | bytes] | None = None,
        http: Http | None = None,
        peer: Peer | None = None,
        principal: Principal | None = None,
        claims: dict[str, str] | None = None,
        remaining: float | None = None,
        request_kind: BodyKind | None = None,
        trailers: dict[str, str | bytes] | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
    ) -> Host:
        """Says what the calls that follow know of their caller; what is left out stays as it is.
        `remaining` in seconds."""
        fake = self._fake
        if headers is not None:
            fake.call_headers = [(name, _text(value)) for name, value in headers.items()]
        if trailers is not None:
            fake.request_trailers = [(name, _text(value)) for name, value in trailers.items()]
        fake.http_info = http or fake.http_info
        fake.peer_info = peer or fake.peer_info
        fake.principal_info = principal or fake.principal_info
        fake.claims = claims if claims is not None else fake.claims
        fake.kind = request_kind or fake.kind
        fake.correlation = correlation_id or fake.correlation
        fake.trace = traceparent or fake.trace
        if remaining is not None:
            fake.left_ms = round(remaining * 1000)
        return self

    # Calls.

    def call(self, service: Service, method: str, value: Any = None) -> Any:
        """Calls a unary method with a value as JSON and gives the reply as JSON. Raises what it fails with."""
        return json.loads(self.call_octets(service, method, _octets(value)))

    def call_octets(self, service: Service, method: str, body: bytes = b"") -> bytes:
        """The same with octets."""
        self._fake.begin_call(None)
        return entry.handle(service, method, body)

    def stream(self, service: Service, method: str, messages: Iterable[Any] = ()) -> list[Any]:
        """Calls with many messages as JSON and gives the replies as JSON. A message that is a Failure is
        what the request ends with. Raises what the method fails with; `sent` has what was sent before."""
        return [json.loads(octets) for octets in self.stream_octets(service, method, messages)]

    def stream_octets(self, service: Service, method: str, messages: Iterable[Any] = ()) -> list[bytes]:
        """The same with `bytes` out; in as they are where they are `bytes`."""
        self._fake.begin_call(_encoded(messages))
        entry.handle_stream(service, method)
        return list(self._fake.sent)

    def async_stream(self, service: str, method: str, messages: Iterable[Any] = ()) -> list[bytes]:
        """Calls the handler of asynchronous streams, with messages that are `bytes` or values as JSON; a
        Failure is what the request ends with. Gives the messages of the reply, or the pieces of a body of
        octets. Raises what the handler fails with; `sent` has what was sent before."""
        return _streams.call(self._fake, service, method, _encoded(messages))

    def leave_after(self, messages: int) -> Host:
        """The caller of the next stream leaves after so many replies: what is sent or asked for then fails
        with `cancelled`."""
        self._fake.leaves_after = messages
        return self

    def event(self, topic: str, payload: Any, content_type: str | None = "application/json") -> None:
        """Hands the event handler an event: a value as JSON, `bytes` as they are."""
        self._fake.begin_call(None)
        entry.on_event(Event(topic, _octets(payload), content_type))

    def health(self) -> Health:
        """How the plugin is."""
        return entry.check()

    def exchange(
        self, service: str, method: str, payload: Any = None, *, headers: dict[str, str] | None = None
    ) -> Exchange:
        """A call for the interceptors."""
        return Exchange(self._fake, service, method, _octets(payload), headers or {})

    def frame(
        self,
        kind: str = "data",
        direction: str = "inbound",
        *,
        headers: dict[str, str] | None = None,
        payload: bytes = b"",
        flag_bits: int = 0,
    ) -> Framed:
        """A frame for the frame extension."""
        return Framed(self._fake, kind, direction, list((headers or {}).items()), payload, flag_bits)

    def balancing(self, instances: list[Instance]) -> Balancing:
        """Tells the balancer of the instances; what it gives places calls."""
        return Balancing(self._fake, instances)

    def authenticate(self, scheme: str, token: str) -> Identity | None:
        """Asks the authenticator."""
        return entry.authenticate(Credentials(scheme, token))

    def authorize(self, service: str, method: str) -> None:
        """Asks the authorizer. Raises what it refuses with."""
        entry.authorize(service, method)

    # After a call.

    @property
    def log(self) -> list[Line]:
        """The lines that the plugin wrote so far."""
        return self._fake.lines

    @property
    def kv(self) -> dict[str, bytes]:
        """The store; a test may change it."""
        return self._fake.store

    @property
    def client_calls(self) -> list[ClientCall]:
        """The calls that the plugin made so far, answered or not."""
        return self._fake.client_calls

    @property
    def published(self) -> list[Published]:
        """The events that the plugin published so far."""
        return self._fake.published

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of a counter or a gauge, of a histogram the sum; `None` where nothing was counted."""
        series = self._fake.metrics.series(name, labels)
        return None if series is None else series.value

    def observed(self, name: str, **labels: str) -> list[float]:
        """The values that a histogram was told, in order."""
        series = self._fake.metrics.series(name, labels)
        return [] if series is None else list(series.observed)

    @property
    def sent(self) -> list[bytes]:
        """The messages of the last stream."""
        return self._fake.sent

    @property
    def reply_headers(self) -> list[tuple[str, str]]:
        """The headers that the last call added to its reply."""
        return self._fake.reply_headers

    @property
    def reply_trailers(self) -> list[tuple[str, str]]:
        """The trailers that the last call added to its reply."""
        return self._fake.reply_trailers

    @property
    def reply_status(self) -> int | None:
        """The status that the last call set for its reply."""
        return self._fake.reply_status

    @property
    def replies_octets(self) -> bool:
        """Whether the last call said that its replies are pieces of one body."""
        return self._fake.replies_octets


@dataclass
class Exchange:
    """A call on its way through interceptors."""

    _fake: FakeHost
    service: str
    method: str
    payload: bytes
    headers: dict[str, str]
    #: The answer or the reply; `None` as long as there is none.
    reply: bytes | None = None
    reply_headers: dict[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    elapsed: float = 0.0
    #: How often the payload of the request or the response crossed.
    crossings: int = 0

    def on_request(self) -> bool:
        """Enters the interceptor of requests. Whether it answered; raises what it refuses with."""
        self._fake.begin_exchange(self, is_request=True)
        return entry.on_request()

    def on_response(self, reply: Any = None, *, failure: Failure | None = None, elapsed: float = 0.0) -> Any:
        """Enters the interceptor of responses with an outcome; gives the caller's, or raises it."""
        self.reply = None if failure else _octets(reply)
        self.failure, self.elapsed = failure, elapsed
        self._fake.begin_exchange(self, is_request=False)
        entry.on_response()
        if self.failure:
            raise self.failure
        return json.loads(self.reply or b"null")


@dataclass
class Framed:
    """A frame on its way through a frame extension."""

    _fake: FakeHost
    kind: str
    direction: str
    headers: list[tuple[str, str]]
    payload: bytes
    flag_bits: int
    #: Whether the frame extension wanted to see it.
    is_seen: bool = False
    #: How often the payload crossed.
    crossings: int = 0

    def enter(self) -> Verdict:
        """Asks by the head, and hands the frame over when it is wanted. Raises what it is refused with."""
        self._fake.begin_call(None)
        header_bytes = sum(2 + len(name.encode()) + len(value.encode()) for name, value in self.headers)
        head = FrameHead(self.kind, self.direction, self.flag_bits, header_bytes, len(self.payload))
        self.is_seen = entry.should_handle(head)
        if not self.is_seen:
            return Verdict.PASS
        self._fake.frame = self
        try:
            return entry.handle_frame()
        finally:
            self._fake.frame = None


class Balancing:
    """A balancer that was told of instances."""

    def __init__(self, fake: FakeHost, instances: list[Instance]) -> None:
        self._fake = fake
        fake.usable_instances = {index: True for index in range(len(instances))}
        entry.update(instances)

    def pick(self, key: int, *, unusable: Iterable[int] = (), random: int = 0) -> int | None:
        """The index that it picks for a call."""
        for index in self._fake.usable_instances:
            self._fake.usable_instances[index] = index not in set(unusable)
        self._fake.random_number = random
        return entry.pick(key)

    def done(self, index: int, outcome: str = "success", micros: int = 0) -> None:
        """Tells how a call ended: `success`, `failure` or `timeout`."""
        entry.done(index, outcome, micros)


def _text(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _encoded(messages: Iterable[Any]) -> Iterator[bytes | Failure]:
    """One by one: a test may look at what was sent before it gives the next."""
    return (message if isinstance(message, Failure) else _octets(message) for message in messages)

