"""The imports as a test's host offers them; `_component.py` has the same functions for the real one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterator

from ._fake_capabilities import FakeDirectory, FakeMetrics
from ._text import text, text_pairs
from .call import BodyKind, Http, Peer, Principal
from .convert import write_json
from .directory import Listing
from .failure import Cancelled, FailedPrecondition, Failure, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted
from .log import LEVELS

#: wit, interface `kv`.
KEY_BYTES_MAX = 1024
VALUE_BYTES_MAX = 1 << 20
KEYS_MAX = 1000
#: wit, interface `call`.
HEADER_NAME_BYTES_MAX = 255
HEADERS_BYTES_MAX = 65_535
#: The longest value that fits in one header entry.
TOPIC_BYTES_MAX = 255
#: `plugins.limits.output` of the gateway, unless it is configured.
OUTPUT_BYTES_MAX = 8 << 20


@dataclass(frozen=True)
class Line:
    """A line that the plugin wrote."""

    level: str
    message: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientCall:
    """A call that the plugin made. `timeout` in seconds."""

    service: str
    method: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None


@dataclass(frozen=True)
class Published:
    """An event that the plugin published."""

    topic: str
    payload: bytes
    content_type: str | None = None


class FakeHost:
    """What the plugin can ask for and change, and the functions that do it."""

    def __init__(self) -> None:
        self.config: dict[str, str] = {}
        self.store: dict[str, bytes] = {}
        self.kv_failure: Failure | None = None
        self.lines: list[Line] = []
        self.level = "trace"
        self.answers: dict[tuple[str, str], Any] = {}
        self.client_calls: list[ClientCall] = []
        self.topics: dict[str, int] = {}
        self.published: list[Published] = []
        self.metrics = FakeMetrics()
        self.directory = FakeDirectory()
        self.call_headers: list[tuple[str, bytes]] = []
        self.request_trailers: list[tuple[str, bytes]] = []
        self.http_info: Http | None = None
        self.kind = BodyKind.MESSAGE
        self.peer_info = Peer("memory")
        self.principal_info: Principal | None = None
        self.claims: dict[str, str] = {}
        self.left_ms = 1000
        self.correlation = "1"
        self.trace: str | None = None
        self.usable_instances: dict[int, bool] = {}
        self.random_number = 0
        self.leaves_after: int | None = None
        self.exchange: Any = None
        self.frame: Any = None
        self.may_change_request = False
        self.begin_call(None)

    def begin_call(self, messages: Iterator[bytes | Failure] | None) -> None:
        """Forgets what the last call replied. `messages` makes it a stream."""
        self.incoming = messages
        self.has_ended = messages is None
        self.sent: list[bytes] = []
        self.reply_headers: list[tuple[str, str]] = []
        self.reply_trailers: list[tuple[str, str]] = []
        self.reply_status: int | None = None
        self.replies_octets = False
        self.request_ends_with: Failure | None = None
        self.reply_failure: Failure | None = None

    def begin_exchange(self, exchange: Any, is_request: bool) -> None:
        self.exchange = exchange
        self.may_change_request = is_request

    # call

    def header(self, name: str) -> str | None:
        return _first(self.call_headers, name)

    def headers(self) -> list[tuple[str, bytes]]:
        return list(self.call_headers)

    def http(self) -> Http | None:
        return self.http_info

    def request_kind(self) -> BodyKind:
        return self.kind

    def trailers(self) -> list[tuple[str, bytes]]:
        return list(self.request_trailers) if self.has_ended else []

    def set_status(self, status: int) -> None:
        if not 200 <= status <= 599:
            raise InvalidArgument(f"http status {status} is not within 200 to 599")
        self._check_unsent("the status")
        self.reply_status = status

    def set_octets(self) -> None:
        if self.incoming is None:
            raise FailedPrecondition("the call is not a stream")
        self._check_unsent("the kind of the reply")
        self.replies_octets = True

    def replies_in_octets(self) -> bool:
        return self.replies_octets

    def request_failure(self) -> Failure | None:
        return self.request_ends_with

    def fail(self, failure: Failure) -> None:
        self.reply_failure = failure

    def add_header(self, name: str, value: str) -> None:
        self._check_unsent("the header")
        self.reply_headers = _with_header(self.reply_headers, name, value)

    def add_trailer(self, name: str, value: str) -> None:
        self.reply_trailers = _with_header(self.reply_trailers, name, value)

    def peer(self) -> Peer:
        return self.peer_info

    def principal(self) -> Principal | None:
        return self.principal_info

    def claim(self, name: str) -> str | None:
        return self.claims.get(name)

    def remaining_ms(self) -> int:
        return self.left_ms

    def correlation_id(self) -> str:
        return self.correlation

    def traceparent(self) -> str | None:
        return self.trace

    def next(self) -> bytes | None:
        self._check_present()
        message = next(self.incoming, None) if self.incoming is not None else None
        if isinstance(message, Failure):
            raise message
        self.has_ended = message is None
        return message

    def send(self, message: bytes | str) -> None:
        self._check_present()
        self.sent.append(_octets(message))

    def _check_unsent(self, what: str) -> None:
        if self.sent:
            raise FailedPrecondition(f"{what} cannot be set once a message was sent")

    def _check_present(self) -> None:
        if self.leaves_after is not None and len(self.sent) >= self.leaves_after:
            raise Cancelled("the caller has left")

    # log, config

    def log_enabled(self, level: str) -> bool:
        return LEVELS.index(level) >= LEVELS.index(self.level)

    def log_write(self, level: str, message: str, fields: list[tuple[str, str]]) -> None:
        if self.log_enabled(level):
            self.lines.append(Line(level, text(message), dict(text_pairs(fields))))

    def config_get(self, key: str) -> str | None:
        return self.config.get(key)

    def config_all(self) -> list[tuple[str, str]]:
        return sorted(self.config.items())

    # kv

    def kv_get(self, key: str) -> bytes | None:
        return self.store.get(self._check_kv(key))

    def kv_set(self, key: str, value: bytes | str) -> None:
        self.store[self._check_kv(key)] = _checked_value(_octets(value))

    def kv_delete(self, key: str) -> bool:
        return self.store.pop(self._check_kv(key), None) is not None

    def kv_swap(self, key: str, expected: bytes | None, value: bytes | None) -> bool:
        key = self._check_kv(key)
        if self.store.get(key) != expected:
            return False
        if value is None:
            self.store.pop(key, None)
        else:
            self.store[key] = _checked_value(value)
        return True

    def kv_keys(self, prefix: str, after: str | None, limit: int) -> list[str]:
        if limit > KEYS_MAX:
            raise InvalidArgument(f"limit {limit} exceeds the limit of {KEYS_MAX} keys")
        if self.kv_failure:
            raise self.kv_failure
        found = sorted(key for key in self.store if key.startswith(prefix))
        return [key for key in found if after is None or key > after][:limit]

    def _check_kv(self, key: str) -> str:
        """The key as the store has it."""
        if self.kv_failure:
            raise self.kv_failure
        key = text(key)
        length = len(key.encode())
        if not 1 <= length <= KEY_BYTES_MAX:
            raise InvalidArgument(f"key of {length} octets is not 1 to {KEY_BYTES_MAX}")
        return key

    # client, events

    def client_call(
        self, service: str, method: str, body: bytes | str, headers: list[tuple[str, str]], timeout_ms: int | None
    ) -> bytes:
        timeout = None if timeout_ms is None else timeout_ms / 1000
        call = ClientCall(service, method, _octets(body), dict(text_pairs(headers)), timeout)
        self.client_calls.append(call)
        if all(granted != service for granted, _ in self.answers):
            raise PermissionDenied(f"service `{service}` is not granted to this plugin")
        if (service, method) not in self.answers:
            raise NotFound(f"service `{service}` has no method `{method}`")
        reply = self.answers[service, method]
        if callable(reply):
            reply = reply(call)
        if isinstance(reply, Failure):
            raise reply
        return reply if isinstance(reply, bytes) else write_json(reply).encode()

    def publish(self, topic: str, content_type: str | None, payload: bytes | str) -> int:
        topic = text(topic)
        length = len(topic.encode())
        if not 1 <= length <= TOPIC_BYTES_MAX:
            raise InvalidArgument(f"topic of {length} octets is not 1 to {TOPIC_BYTES_MAX}")
        if topic not in self.topics:
            raise PermissionDenied(f"topic `{topic}` is not granted to this plugin")
        self.published.append(Published(topic, _octets(payload), content_type))
        return self.topics[topic]

    # metrics, directory

    def metric_declare(self, name: str, kind: str, help: str, bounds: list[float]) -> None:
        self.metrics.declare(name, kind, help, bounds)

    def metric_change(self, change: str, name: str, labels: list[tuple[str, str]], value: float) -> None:
        self.metrics.change(change, name, labels, value)

    def directory_discover(self, service: str) -> Listing:
        return self.directory.discover(service)

    def directory_next_change(self, service: str, revision: str, timeout_ms: int) -> Listing | None:
        return self.directory.next_change(service, revision)

    # request, response

    def request_service(self) -> str:
        return self.exchange.service

    def request_method(self) -> str:
        return self.exchange.method

    def request_header(self, name: str) -> str | None:
        return self.exchange.headers.get(name)

    def request_headers(self) -> list[tuple[str, bytes]]:
        return [(name, value.encode()) for name, value in self.exchange.headers.items()]

    def request_set_header(self, name: str, value: str) -> None:
        self._check_changeable()
        self.exchange.headers = dict(_with_header([*self.exchange.headers.items()], name, value))

    def request_remove_header(self, name: str) -> None:
        self._check_changeable()
        self.exchange.headers.pop(name, None)

    def request_payload(self) -> bytes:
        self._check_changeable()
        self.exchange.crossings += 1
        return self.exchange.payload

    def request_set_payload(self, payload: bytes | str) -> None:
        self._check_changeable()
        self.exchange.crossings += 1
        self.exchange.payload = _octets(payload)

    def _check_changeable(self) -> None:
        if not self.may_change_request:
            raise FailedPrecondition("the request is no longer there")

    def response_failed(self) -> Failure | None:
        return self.exchange.failure

    def response_elapsed_micros(self) -> int:
        return round(self.exchange.elapsed * 1_000_000)

    def response_header(self, name: str) -> str | None:
        return self.exchange.reply_headers.get(name)

    def response_headers(self) -> list[tuple[str, bytes]]:
        return [(name, value.encode()) for name, value in self.exchange.reply_headers.items()]

    def response_set_header(self, name: str, value: str) -> None:
        self._check_reply("headers")
        self.exchange.reply_headers = dict(_with_header([*self.exchange.reply_headers.items()], name, value))

    def response_remove_header(self, name: str) -> None:
        self._check_reply("headers")
        self.exchange.reply_headers.pop(name, None)

    def response_payload(self) -> bytes:
        self._check_reply("payload")
        self.exchange.crossings += 1
        return self.exchange.reply or b""

    def response_set_payload(self, payload: bytes | str) -> None:
        self.exchange.crossings += 1
        self.exchange.reply, self.exchange.failure = _octets(payload), None

    def _check_reply(self, what: str) -> None:
        if self.exchange.failure:
            raise FailedPrecondition(f"a failure has no {what}")

    # frame

    def frame_header(self, name: str) -> str | None:
        return _first(self.frame_headers(), name)

    def frame_headers(self) -> list[tuple[str, bytes]]:
        return [(name, value.encode()) for name, value in self.frame.headers] if self.frame else []

    def frame_set_header(self, name: str, value: str) -> None:
        frame = self._frame_in_hand()
        frame.headers = _with_header(_without_header(frame.headers, name), name, value)

    def frame_add_header(self, name: str, value: str) -> None:
        frame = self._frame_in_hand()
        frame.headers = _with_header(frame.headers, name, value)

    def frame_remove_header(self, name: str) -> None:
        frame = self._frame_in_hand()
        frame.headers = _without_header(frame.headers, name)

    def frame_payload(self) -> bytes:
        if not self.frame:
            return b""
        self.frame.crossings += 1
        return self.frame.payload

    def frame_set_payload(self, payload: bytes) -> None:
        frame = self._frame_in_hand()
        if len(payload) > OUTPUT_BYTES_MAX:
            raise ResourceExhausted(f"payload of {len(payload)} octets exceeds the limit of {OUTPUT_BYTES_MAX}")
        frame.crossings += 1
        frame.payload = bytes(payload)

    def _frame_in_hand(self) -> Any:
        if not self.frame:
            raise FailedPrecondition("no frame is handled")
        return self.frame

    # candidates

    def usable(self, index: int) -> bool:
        return self.usable_instances.get(index, False)

    def random(self) -> int:
        return self.random_number


def _first(headers: list[tuple[str, bytes]], name: str) -> str | None:
    for key, value in headers:
        if key == name:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
    return None


def _octets(message: bytes | str) -> bytes:
    return text(message).encode() if isinstance(message, str) else bytes(message)


def _checked_value(value: bytes) -> bytes:
    if len(value) > VALUE_BYTES_MAX:
        raise InvalidArgument(f"value of {len(value)} octets exceeds the limit of {VALUE_BYTES_MAX}")
    return value


def _without_header(headers: list[tuple[str, str]], name: str) -> list[tuple[str, str]]:
    return [(key, value) for key, value in headers if key != name]


def _with_header(headers: list[tuple[str, str]], name: str, value: str) -> list[tuple[str, str]]:
    """The headers with one more, within the limits."""
    headers = [*headers, (text(name), text(value))]
    length = len(headers[-1][0].encode())
    if not 1 <= length <= HEADER_NAME_BYTES_MAX:
        raise InvalidArgument(f"header name of {length} octets is not 1 to {HEADER_NAME_BYTES_MAX}")
    total = sum(len(name.encode()) + len(value.encode()) for name, value in headers)
    if total > HEADERS_BYTES_MAX:
        raise InvalidArgument(f"headers of {total} octets exceed the limit of {HEADERS_BYTES_MAX}")
    return headers
