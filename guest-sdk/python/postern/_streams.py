"""Both ends of an asynchronous call for a test: octets as they cross in a component."""

from __future__ import annotations

import asyncio
from typing import Iterator

from . import async_stream
from ._fake import FakeHost
from .call import BodyKind
from .failure import Failure


class Ends:
    """What the handler reads from and writes to."""

    def __init__(self, fake: FakeHost, messages: Iterator[bytes | Failure]) -> None:
        self._fake = fake
        self._messages = messages
        #: What was not read of the message that was begun.
        self._unread = b""
        #: What was written of a message that has not ended.
        self._written = b""

    async def read(self, count: int) -> bytes:
        while not self._unread:
            message = next(self._messages, None)
            if message is None or isinstance(message, Failure):
                self._fake.request_ends_with = message
                self._fake.has_ended = True
                return b""
            self._unread = message if self._fake.kind is BodyKind.OCTETS else async_stream._framed(message)
        found, self._unread = self._unread[:count], self._unread[count:]
        return found

    async def write(self, octets: bytes) -> bool:
        fake = self._fake
        if fake.leaves_after is not None and len(fake.sent) >= fake.leaves_after:
            return False
        if fake.replies_octets:
            fake.sent.append(octets)
            return True
        self._written += octets
        while len(self._written) >= 4 and len(self._written) >= (end := 4 + int.from_bytes(self._written[:4], "big")):
            fake.sent.append(self._written[4:end])
            self._written = self._written[end:]
        return True


def call(fake: FakeHost, service: str, method: str, messages: Iterator[bytes | Failure]) -> list[bytes]:
    """Runs the handler to its end."""
    fake.begin_call(iter(()))
    ends = Ends(fake, messages)
    asyncio.run(async_stream.answer(service, method, ends.read, ends.write))
    if fake.reply_failure is not None:
        raise fake.reply_failure
    return list(fake.sent)
