"""The table of asynchronous streams: `tests/vectors/async-streams.json` says what each method does."""

import json

from postern import AsyncRequest, Failure, NotFound, async_stream_handler, call, config, kv
from postern.failure import Cancelled, Kind


@async_stream_handler
async def answer(service: str, method: str, request: AsyncRequest):
    found = METHODS.get(method)
    if found is None:
        raise NotFound(f"no method `{method}`")
    try:
        async for reply in found(request):
            yield reply
    except Cancelled:
        # Raised where this function yields. What it iterates over is not told.
        kv.set("left", "told")
        raise


async def only(request: AsyncRequest):
    """The one message."""
    async for message in request:
        return json.loads(message)
    return None


async def echo(request: AsyncRequest):
    async for message in request:
        yield message


async def collect(request: AsyncRequest):
    numbers = [json.loads(message)["value"] async for message in request]
    yield json.dumps({"sum": sum(numbers), "count": len(numbers)})


async def count(request: AsyncRequest):
    asked = await only(request)
    call.add_header("x-first", "1")
    for number in range(asked["to"]):
        yield json.dumps({"value": number + 1})
    if "then" in asked:
        raise Failure.of(Kind(asked["then"]), f"ended after {asked['to']}")
    call.add_trailer("x-count", str(asked["to"]))


async def chat(request: AsyncRequest):
    async for message in request:
        text = json.loads(message)["text"]
        if text == "throw":
            raise RuntimeError(text)
        yield json.dumps({"text": text.upper()})


async def fill(request: AsyncRequest):
    asked = await only(request)
    piece = b"\x07" * 65536
    for _ in range(asked["pieces"]):
        yield piece


async def measure(request: AsyncRequest):
    octets = 0
    async for piece in request:
        octets += len(piece)
    yield json.dumps({"octets": octets})


async def copy(request: AsyncRequest):
    call.set_status(201)
    call.add_header("content-type", "application/octet-stream")
    call.set_octets()
    async for piece in request:
        yield piece


async def spin(request: AsyncRequest):
    yield "begun"
    while True:
        pass


async def leave(request: AsyncRequest):
    """Sends until the caller has left."""
    while True:
        yield b"x" * 65536


async def left(request: AsyncRequest):
    yield json.dumps({"value": kv.get("left", str)})


async def setting(request: AsyncRequest):
    asked = await only(request)
    yield json.dumps({"value": config.get(asked["key"])})


METHODS = {
    "Echo": echo,
    "Collect": collect,
    "Count": count,
    "Chat": chat,
    "Fill": fill,
    "Measure": measure,
    "Copy": copy,
    "Spin": spin,
    "Leave": leave,
    "Left": left,
    "Setting": setting,
}
