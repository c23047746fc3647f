"""Role `async-stream-handler`: a call of many messages, answered without waiting in the host.

    @async_stream_handler
    async def shout(service: str, method: str, request: AsyncRequest):
        async for message in request:
            yield message.upper()

A component enters `answer` with the ends of its streams (`_async_component.py`), a test with lists
(`testing.py`).
"""

from __future__ import annotations

import inspect
from typing import Any, AsyncIterator, Awaitable, Callable

from . import _host, entry
from ._text import text
from .call import BodyKind
from .failure import Cancelled, DataLoss, Internal
from .roles import registered

#: Octets of the length before each message. wit, interface `async-stream-handler`.
_LENGTH_BYTES = 4
#: Octets that are asked for at once.
_READ_BYTES = 64 * 1024

#: Gives at least one octet and so many at most; none at the end.
Read = Callable[[int], Awaitable[bytes]]
#: Takes all of it. Whether there is still somebody who reads.
Write = Callable[[bytes], Awaitable[bool]]
AsyncHandler = Callable[[str, str, "AsyncRequest"], AsyncIterator[bytes | str]]


class AsyncRequest:
    """The body of the request: `async for` gives its messages as `bytes`, or the pieces of a body of octets,
    whose ends mean nothing. One message is there at a time."""

    def __init__(self, read: Read, is_octets: bool) -> None:
        self._read = read
        self._is_octets = is_octets
        #: What was read and not given.
        self._rest = b""

    def __aiter__(self) -> AsyncRequest:
        return self

    async def __anext__(self) -> bytes:
        found = await self._piece() if self._is_octets else await self._message()
        if found is None:
            raise StopAsyncIteration
        return found

    async def _piece(self) -> bytes | None:
        piece = await self._read(_READ_BYTES)
        if not piece:
            self._check_end()
        return piece or None

    async def _message(self) -> bytes | None:
        length = await self._exactly(_LENGTH_BYTES)
        if length is None:
            return None
        message = await self._exactly(int.from_bytes(length, "big"))
        if message is None:
            raise DataLoss("the request has ended within a message")
        return message

    async def _exactly(self, count: int) -> bytes | None:
        """So many octets; `None` where the request ends before the first of them."""
        parts, missing = [], count
        while missing:
            if not self._rest:
                self._rest = await self._read(max(missing, _READ_BYTES))
                if not self._rest:
                    self._check_end()
                    if parts:
                        raise DataLoss("the request has ended within a message")
                    return None
            part, self._rest = self._rest[:missing], self._rest[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _check_end(self) -> None:
        failure = _host.current.request_failure()
        if failure is not None:
            raise failure


def async_stream_handler(function: AsyncHandler) -> AsyncHandler:
    """Answers every streaming call of the component: an `async` generator of messages, `bytes` or `str`. Once
    `call.set_octets()` was called before the first, they are pieces of one body.

    The next item is asked for when there is room for it. Where the caller has left, `Cancelled` is raised at
    the `yield`."""
    if not inspect.isasyncgenfunction(function):
        raise TypeError(f"`{function.__name__}` has the role async-stream-handler and is no async generator")
    return registered.put("async_stream_handler", function)


async def answer(service: str, method: str, read: Read, write: Write) -> None:
    """Runs the handler from its first to its last message. What it fails with is told to the host."""
    host = _host.current
    try:
        entry.start()
        handler = registered.async_stream_handler
        if handler is None:
            raise Internal("the plugin has nothing with the role async_stream_handler")
        request = AsyncRequest(read, host.request_kind() is BodyKind.OCTETS)
        await _send_all(handler(service, method, request), write)
    except BaseException as error:  # noqa: BLE001: every exception is a failure of its call
        host.fail(entry.broken(error))


async def _send_all(replies: Any, write: Write) -> None:
    try:
        async for reply in replies:
            octets = _octets(reply)
            framed = octets if _host.current.replies_in_octets() else _framed(octets)
            if framed and not await write(framed):
                await _tell(replies, Cancelled("the caller has left"))
    finally:
        await replies.aclose()


async def _tell(replies: Any, failure: Cancelled) -> None:
    """Raises it where the handler yields, so that it can clean up; and here."""
    try:
        await replies.athrow(failure)
    except StopAsyncIteration:
        pass
    raise failure


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(_LENGTH_BYTES, "big") + message


def _octets(reply: Any) -> bytes:
    if isinstance(reply, bytes):
        return reply
    if isinstance(reply, str):
        return text(reply).encode()
    if isinstance(reply, (bytearray, memoryview)):
        return bytes(reply)
    raise TypeError(f"the handler gave {type(reply).__name__}: a message is bytes or str")
