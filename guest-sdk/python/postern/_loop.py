"""Runs `async` functions to their end within the call, with the standard library's `asyncio`.

There are no sockets to wait for: what an `async` function may await is what `asyncio` does by itself
(`sleep`, tasks, queues, locks). The host's own functions block only this instance.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any, Iterator

from . import _host
from .failure import Internal

_loop: Any = None


def prepare() -> None:
    """Makes the loop; `asyncio` is loaded here and not by plugins that have no async function."""
    global _loop
    if _loop is None:
        from ._asyncio import Loop

        _loop = Loop()


def run(coroutine: Any) -> Any:
    """The result of a coroutine. Tasks that it has left behind are cancelled: the next call is another
    caller's."""
    try:
        return _step(coroutine)
    finally:
        _finish()


def _step(coroutine: Any) -> Any:
    prepare()
    return _loop.run(coroutine)


def _finish() -> None:
    count = _loop.cancel_all()
    if count and _host.current.log_enabled("debug"):
        _host.current.log_write("debug", f"{count} tasks were still waiting when the call ended; they are cancelled", [])


def iterate(generator: Any) -> Iterator[Any]:
    """The items of an async generator, each when it is asked for."""
    try:
        while True:
            try:
                item = _step(generator.__anext__())
            except StopAsyncIteration:
                return
            try:
                yield item
            except Exception as error:  # told by the one who takes the items
                with contextlib.suppress(StopAsyncIteration):
                    _step(generator.athrow(error))
                raise
    finally:
        run(generator.aclose())


class Sleeper:
    """Where a selector would wait for sockets: sleeps, or says that nothing will ever happen."""

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Internal("an async function awaits something that nothing completes")
        if timeout > 0:
            time.sleep(timeout)
        return []
