"""The role `async-stream-handler` as a component exports it. Loaded only where the world has it."""

from __future__ import annotations

from typing import Any

import wit_world
from componentize_py_async_support import spawn
from wit_world import exports
from wit_world.imports import async_call

from . import _component, async_stream
from .failure import Failure


def _fail(self: Any, failure: Failure) -> None:
    async_call.fail(_component._wit(failure))


def _request_failure(self: Any) -> Failure | None:
    return _component._failing(async_call.request_failure)()


_component.ComponentHost.fail = _fail
_component.ComponentHost.request_failure = _request_failure


class AsyncStreamHandler(exports.AsyncStreamHandler):
    """Inherits what begins a task of the component for each call."""

    async def handle_async(self, service: str, method: str, request: Any) -> Any:
        _component._enter()
        _component._real.is_octets = False
        writer, reader = wit_world.byte_stream()
        spawn(_answer(service, method, request, writer))
        return reader


async def _answer(service: str, method: str, request: Any, writer: Any) -> None:
    """Both ends are closed by the end of the call, whatever becomes of it."""

    async def write(octets: bytes) -> bool:
        await writer.write_all(octets)
        return not writer.reader_dropped

    with request, writer:
        await async_stream.answer(service, method, request.read, write)
