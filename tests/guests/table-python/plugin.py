"""The calls of tests/vectors/guests.json in Python."""

import random
import time
import uuid
from dataclasses import dataclass
from typing import Any, Iterator

from postern import Event, Failure, NotFound, Service, call, client, config, event_handler, events, kv

table = Service("table-python", version="0.1.0", summary="Answers the table of calls.")


@dataclass
class Refusal:
    kind: str
    message: str
    details: Any = None


@dataclass
class Sum:
    sum: int
    count: int


@dataclass
class Number:
    value: int


@dataclass
class Found:
    value: str | None


@dataclass
class Line:
    text: str


@dataclass
class Drawn:
    random: float
    id: str
    now: float
    clock: float


@table.method(idempotent=True)
def echo(body: bytes) -> bytes:
    """Gives back what it got."""
    return body


@table.method
def sum(values: list[int], unit: str = "") -> Sum:
    """Adds numbers."""
    return _sum(values)


def _sum(values: list[int]) -> Sum:
    total = 0
    for value in values:
        total += value
    return Sum(total, len(values))


@table.method
def draw() -> Drawn:
    """What differs each time."""
    return Drawn(random.random(), str(uuid.uuid4()), time.time(), time.monotonic())


@table.method
def fail(refusal: Refusal) -> None:
    """Fails as it is told."""
    raise Failure.of(refusal.kind, refusal.message, details=refusal.details)


@table.method
def throw(line: dict[str, str]) -> None:
    """Raises an ordinary exception."""
    raise RuntimeError(line["message"])


@table.method
def header(asked: dict[str, str]) -> Found:
    """Reads a header and sets one."""
    value = call.header(asked["name"])
    if value is not None:
        call.add_header("x-out", value)
    return Found(value)


@table.method
def setting(asked: dict[str, str]) -> Found:
    """Reads a key of the manifest."""
    return Found(config.get(asked["key"]))


@table.method
def store(key: str, value: str) -> dict[str, str]:
    """Keeps a text."""
    kv.set_octets(key, value)
    return {"stored": key}


@table.method
def find(asked: dict[str, str]) -> Found:
    """Finds a text."""
    octets = kv.get_octets(asked["key"])
    if octets is None:
        raise NotFound(f"no value `{asked['key']}`")
    return Found(octets.decode())


@table.method
def relay(method: str, text: str, service: str = "table-python") -> dict[str, str]:
    """Calls a service."""
    return {"reply": client.call_octets(service, method, text).decode()}


@table.method
def publish(topic: str, payload: Any) -> dict[str, int]:
    """Publishes an event."""
    return {"subscribers": events.publish(topic, payload)}


@table.method
def collect(numbers: Iterator[Number]) -> Sum:
    """Adds numbers as they come."""
    return _sum([number.value for number in numbers])


@table.method
def count(to: int, then: str = "") -> Iterator[Number]:
    """Counts up, and may fail at the end."""
    call.add_header("x-first", "1")
    for value in range(1, to + 1):
        yield Number(value)
    if then:
        raise Failure.of(then, f"ended after {to}")
    call.add_trailer("x-count", str(to))


@table.method
def chat(lines: Iterator[Line]) -> Iterator[Line]:
    """Answers each line in capitals."""
    for line in lines:
        if line.text == "throw":
            raise RuntimeError("throw")
        yield Line(line.text.upper())


@table.method(name="Pass")
def pass_on(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Gives back each message."""
    yield from chunks


@table.method
def spin() -> None:
    """Never ends."""
    while True:
        pass


@event_handler
def took(event: Event) -> None:
    kv.set_octets(f"event:{event.topic}", event.payload)
