"""Breaks every limit that Python can, one method each: the methods of tests/guests/misbehave."""

import time
from dataclasses import dataclass
from typing import Iterator

from postern import Service, client, config, log

misbehave = Service("misbehave-python", version="0.1.0", summary="Breaks every limit.")


@dataclass
class Number:
    value: int


@misbehave.method(idempotent=True)
def echo(body: bytes) -> bytes:
    """Behaves."""
    return body


@misbehave.method
def loop() -> None:
    while True:
        pass


@misbehave.method
def allocate() -> None:
    held = []
    while True:
        held.append(b"\xa5" * (1 << 20))


@misbehave.method
def recurse() -> int:
    def deeper(depth: int) -> int:
        return deeper(depth + 1) * 31 + depth

    return deeper(1)


@misbehave.method
def flood_log(lines: int, bytes: int) -> int:
    text = "x" * bytes
    for _ in range(lines):
        log.info(text)
    return lines


@misbehave.method
def flood_print() -> None:
    while True:
        print("a line of some forty octets, again and again")


@misbehave.method
def big_output(asked: dict[str, int]) -> bytes:
    return b"x" * asked["bytes"]


@misbehave.method
def host_calls(asked: dict[str, int]) -> int:
    return sum(config.get("absent") is None for _ in range(asked["count"]))


@misbehave.method
def call_itself() -> int:
    return len(client.call_octets("misbehave-python", "CallItself", "null"))


@misbehave.method
def loop_after() -> Iterator[Number]:
    yield Number(1)
    while True:
        pass


@misbehave.method
def drip(asked: dict[str, int]) -> Iterator[Number]:
    value = 0
    while True:
        time.sleep(asked["ms"] / 1000)
        yield Number(value)
        value += 1
