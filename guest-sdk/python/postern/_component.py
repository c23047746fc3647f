"""The seam to the real host. Loaded only where `componentize-py` made the modules `wit_world`.

A class stands for each exported interface; componentize-py makes an object for every function of it, so
that none has a state of its own.
"""

from __future__ import annotations

import importlib
import random
import sys
from typing import Any, Callable

from componentize_py_types import Err, Ok
from wit_world import exports, imports
from wit_world.imports import call, config, log, types

from . import _host, entry
from ._text import text, text_pairs
from .call import BodyKind, Http, Peer, Principal
from .directory import Listing, ServiceInstance
from .failure import Failure, Kind
from .frame import FrameHead, Verdict
from .log import LEVELS, HostHandler, LineWriter
from .roles import Credentials, Event, Instance
from .service import services, type_name


class _Left:
    """Stands for an import that the build has left out, since the source does not name it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, function: str) -> Any:
        if function.endswith("_text"):
            raise AttributeError(function)
        raise RuntimeError(f"`{self.name}` is not in this component: import it by its name, `from postern import {self.name}`")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(f"{imports.__name__}.{name}")
    except ImportError:
        return _Left(name)


kv, client, events = _imported("kv"), _imported("client"), _imported("events")
metrics, directory = _imported("metrics"), _imported("directory")
_TO_WIT = {kind: getattr(types.Kind, kind.name) for kind in Kind}
_FROM_WIT = {getattr(types.Kind, kind.name): kind for kind in Kind}
_LEVELS = {level: getattr(log.Level, level.upper()) for level in LEVELS}
_BODY_KINDS = {getattr(call.BodyKind, kind.name): kind for kind in BodyKind}

# Text twins of functions for octets. An older interface has none, and then text is sent as octets.
_send_text = getattr(call, "send_text", None)
_set_text = getattr(kv, "set_text", None)
_call_text = getattr(client, "call_text", None)
_publish_text = getattr(events, "publish_text", None)
_add_header = getattr(call, "add_header", None) or call.set_header
_add_trailer = getattr(call, "add_trailer", None) or call.set_trailer


def _wit(failure: Failure) -> types.Failure:
    return types.Failure(_TO_WIT[failure.kind], text(str(failure.message)), failure.details_json())


def _raised(error: Err) -> Failure:
    """A failure of an import, as the plugin sees it."""
    found = error.value
    failure = Failure.of(_FROM_WIT[found.kind], found.message)
    if found.details is not None:
        failure.details = _json(found.details)
    return failure


def _json(details: str) -> Any:
    import json

    try:
        return json.loads(details)
    except ValueError:
        return details


def _octets(message: bytes | str) -> bytes:
    return text(message).encode() if isinstance(message, str) else message


def _try(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Err as error:
        raise _raised(error) from None


class ComponentHost:
    """The imports. `turn` is the call of a batch about which nothing was asked so far."""

    def __init__(self) -> None:
        self.turn: int | None = None
        self.is_octets = False

    def _take_turn(self) -> None:
        if self.turn is not None:
            index, self.turn = self.turn, None
            call.turn(index)

    def header(self, name: str) -> str | None:
        self._take_turn()
        return call.header(text(name))

    def headers(self) -> list[tuple[str, bytes]]:
        self._take_turn()
        return call.headers()

    def http(self) -> Http | None:
        self._take_turn()
        found = call.http()
        return found and Http(found.method, found.scheme, found.authority, found.path, found.query)

    def request_kind(self) -> BodyKind:
        self._take_turn()
        return _BODY_KINDS[call.request_kind()]

    def trailers(self) -> list[tuple[str, bytes]]:
        self._take_turn()
        return call.trailers()

    def set_status(self, status: int) -> None:
        self._take_turn()
        _try(call.set_status, status)

    def set_octets(self) -> None:
        _try(call.set_octets)
        self.is_octets = True

    def replies_in_octets(self) -> bool:
        """Whether `set_octets` was called; the async role begins each call without."""
        return self.is_octets

    def add_header(self, name: str, value: str) -> None:
        self._take_turn()
        _try(_add_header, text(name), text(value))

    def add_trailer(self, name: str, value: str) -> None:
        self._take_turn()
        _try(_add_trailer, text(name), text(value))

    def peer(self) -> Peer:
        self._take_turn()
        found = call.peer()
        return Peer(found.transport, found.address)

    def principal(self) -> Principal | None:
        self._take_turn()
        found = call.principal()
        return found and Principal(found.name, found.roles)

    def claim(self, name: str) -> str | None:
        self._take_turn()
        return call.claim(text(name))

    def remaining_ms(self) -> int:
        self._take_turn()
        return call.remaining_ms()

    def correlation_id(self) -> str:
        self._take_turn()
        return call.correlation_id()

    def traceparent(self) -> str | None:
        self._take_turn()
        return call.traceparent()

    def next(self) -> bytes | None:
        return _try(call.next)

    def send(self, message: bytes | str) -> None:
        # Octets that go out are never given back to the instance's memory; text is.
        if _send_text and isinstance(message, str):
            _try(_send_text, text(message))
        else:
            _try(call.send, _octets(message))

    def log_enabled(self, level: str) -> bool:
        return log.enabled(_LEVELS[level])

    def log_write(self, level: str, message: str, fields: list[tuple[str, str]]) -> None:
        self._take_turn()
        log.write(_LEVELS[level], text(message), text_pairs(fields))

    def config_get(self, key: str) -> str | None:
        return config.get(text(key))

    def config_all(self) -> list[tuple[str, str]]:
        return config.all()

    def kv_get(self, key: str) -> bytes | None:
        return _try(kv.get, text(key))

    def kv_set(self, key: str, value: bytes | str) -> None:
        if _set_text and isinstance(value, str):
            _try(_set_text, text(key), text(value))
        else:
            _try(kv.set, text(key), _octets(value))

    def kv_delete(self, key: str) -> bool:
        return _try(kv.delete, text(key))

    def kv_swap(self, key: str, expected: bytes | None, value: bytes | None) -> bool:
        return _try(kv.swap, text(key), expected, value)

    def kv_keys(self, prefix: str, after: str | None, limit: int) -> list[str]:
        return _try(kv.keys, text(prefix), None if after is None else text(after), limit)

    def client_call(
        self, service: str, method: str, body: bytes | str, headers: list[tuple[str, str]], timeout_ms: int | None
    ) -> bytes:
        options = client.Options(text_pairs(headers), timeout_ms) if headers or timeout_ms is not None else None
        if _call_text and isinstance(body, str):
            return _octets(_try(_call_text, text(service), text(method), text(body), options))
        return _try(client.call, text(service), text(method), _octets(body), options)

    def publish(self, topic: str, content_type: str | None, payload: bytes | str) -> int:
        topic, content_type = text(topic), None if content_type is None else text(content_type)
        if _publish_text and isinstance(payload, str):
            return _try(_publish_text, topic, content_type, text(payload))
        return _try(events.publish, topic, content_type, _octets(payload))

    def metric_declare(self, name: str, kind: str, help: str, bounds: list[float]) -> None:
        _try(metrics.declare, text(name), getattr(metrics.MetricKind, kind.upper()), text(help), bounds)

    def metric_change(self, change: str, name: str, labels: list[tuple[str, str]], value: float) -> None:
        _try(getattr(metrics, change), text(name), text_pairs(labels), value)

    def directory_discover(self, service: str) -> Listing:
        self._take_turn()
        return _listing(_try(directory.discover, text(service)))

    def directory_next_change(self, service: str, revision: str, timeout_ms: int) -> Listing | None:
        self._take_turn()
        listing = _try(directory.next_change, text(service), text(revision), timeout_ms)
        return listing and _listing(listing)


def _listing(found: Any) -> Listing:
    def instance(one: Any) -> ServiceInstance:
        metadata = dict(one.metadata)
        return ServiceInstance(one.id, one.addresses, one.version, one.zone, one.weight, metadata, one.healthy, one.stale)

    return Listing(found.revision, [instance(one) for one in found.instances])


_real = ComponentHost()
_is_seeded = False


def _enter() -> None:
    """Before every entry. The first seeds what was seeded when the component was built: without that,
    all instances would draw the same numbers."""
    global _is_seeded
    if not _is_seeded:
        _is_seeded = True
        _host.put(_real)
        random.seed()
        sys.stdout, sys.stderr = LineWriter("info"), LineWriter("warn")


class Handler:
    def handle(self, service: str, method: str, body: bytes) -> bytes:
        if not _is_seeded:
            _enter()
        try:
            return entry.handle(service, method, body)
        except Failure as failure:
            raise Err(_wit(failure)) from None


class BatchHandler:
    def handle_batch(self, service: str, method: str, bodies: bytes, lengths: list[int]) -> list[Any]:
        if not _is_seeded:
            _enter()
        try:
            call = entry.unary(service, method)
        except Failure as failure:
            refused = Err(_wit(failure))
            return [refused for _ in lengths]
        answers: list[Any] = []
        start = index = 0
        for length in lengths:
            end = start + length
            _real.turn = index
            try:
                answers.append(Ok(call(method, bodies[start:end])))
            except BaseException as error:  # noqa: BLE001: every exception is a failure of its call
                answers.append(Err(_wit(entry.broken(error))))
            start = end
            index += 1
        _real.turn = None
        return answers


class StreamHandler:
    def handle_stream(self, service: str, method: str) -> None:
        _enter()
        try:
            entry.handle_stream(service, method)
        except Failure as failure:
            raise Err(_wit(failure)) from None


class EventHandler:
    def on_event(self, topic: str, content_type: str | None, payload: bytes) -> None:
        _enter()
        try:
            entry.on_event(Event(topic, payload, content_type))
        except Failure as failure:
            raise Err(_wit(failure)) from None


class Health:
    def check(self) -> Any:
        _enter()
        found = entry.check()
        made = exports.health
        status = getattr(made, "Status", None) or types.HealthStatus
        return made.Report(status[found.status.upper().replace("-", "_")], found.message)


class Describe:
    def services(self) -> list[Any]:
        _enter()
        made = exports.describe
        kinds = getattr(made, "CallKind", None) or types.CallKind

        def method(found: Any) -> Any:
            return made.Method(
                found.name,
                found.summary,
                kinds[found.kind.upper().replace("-", "_")],
                type_name(found.request),
                type_name(found.response),
                found.idempotent,
            )

        return [
            made.Service(each.name, each.version, each.summary, [method(found) for found in each.all_methods()])
            for each in services()
        ]


class Schemas:
    def schemas(self) -> list[tuple[str, str]]:
        _enter()
        found: dict[str, str] = {}
        for each in services():
            found.update(each.schemas())
        return list(found.items())


class Balancer:
    def update(self, instances: list[Any]) -> None:
        _enter()
        entry.update([Instance(i.id, i.weight, i.zone, i.version, dict(i.metadata)) for i in instances])

    def pick(self, key: int) -> int | None:
        _enter()
        return entry.pick(key)

    def done(self, index: int, outcome: Any, micros: int) -> None:
        _enter()
        entry.done(index, outcome.name.lower(), micros)


class RequestInterceptor:
    def on_request(self) -> Any:
        _enter()
        actions = getattr(getattr(exports, "request_interceptor", None), "Action", None) or types.Action
        try:
            return actions.ANSWER if entry.on_request() else actions.PROCEED
        except Failure as failure:
            raise Err(_wit(failure)) from None


class ResponseInterceptor:
    def on_response(self) -> None:
        _enter()
        try:
            entry.on_response()
        except Failure as failure:
            raise Err(_wit(failure)) from None


class FrameExtension:
    def should_handle(self, head: Any) -> bool:
        _enter()
        return entry.should_handle(
            FrameHead(head.kind.name.lower(), head.direction.name.lower(), head.flag_bits, head.header_bytes, head.payload_bytes)
        )

    def handle_frame(self) -> Any:
        _enter()
        try:
            return types.Verdict.DROP if entry.handle_frame() is Verdict.DROP else types.Verdict.PASS
        except Failure as failure:
            raise Err(_wit(failure)) from None


class Authenticator:
    def authenticate(self, credentials: Any) -> Any:
        _enter()
        try:
            found = entry.authenticate(Credentials(credentials.scheme, credentials.token))
        except Failure as failure:
            raise Err(_wit(failure)) from None
        if found is None:
            return None
        valid_ms = None if found.valid is None else round(found.valid * 1000)
        return exports.authenticator.Identity(found.name, found.roles, list(found.claims.items()), valid_ms)


class Authorizer:
    def authorize(self, service: str, method: str) -> None:
        _enter()
        try:
            entry.authorize(service, method)
        except Failure as failure:
            raise Err(_wit(failure)) from None


def _link_roles() -> None:
    """Adds the imports of interceptors, balancers and frame extensions, where the world has them."""
    for side in ("request", "response", "frame"):
        module = _imported(side)
        if isinstance(module, _Left):
            continue
        setattr(ComponentHost, f"{side}_headers", staticmethod(module.headers))
        for name in ("header", "set_header", "add_header", "remove_header", "payload"):
            setattr(ComponentHost, f"{side}_{name}", _tried(getattr(module, name)))
        setattr(ComponentHost, f"{side}_set_payload", _payload_setter(module))
        for name in ("service", "method", "elapsed_micros"):
            if hasattr(module, name):
                setattr(ComponentHost, f"{side}_{name}", staticmethod(getattr(module, name)))
        if side == "response":
            ComponentHost.response_failed = staticmethod(_failing(module.failed))
    candidates = _imported("candidates")
    if not isinstance(candidates, _Left):
        ComponentHost.usable = staticmethod(candidates.usable)
        ComponentHost.random = staticmethod(candidates.random)


def _failing(failed: Callable[[], Any]) -> Callable[[], Failure | None]:
    def found() -> Failure | None:
        why = failed()
        return None if why is None else _raised(Err(why))

    return found


def _tried(function: Callable[..., Any]) -> Any:
    return staticmethod(lambda *texts: _try(function, *map(text, texts)))


def _payload_setter(module: Any) -> Any:
    set_text = getattr(module, "set_payload_text", None)

    def put(payload: bytes | str) -> None:
        if set_text and isinstance(payload, str):
            _try(set_text, text(payload))
        else:
            _try(module.set_payload, _octets(payload))

    return staticmethod(put)


def prepare() -> None:
    """Runs when the component is built: what is made here is in every instance from its beginning."""
    import logging

    _link_roles()
    logging.getLogger().addHandler(HostHandler())
    for each in services():
        each.all_methods()
