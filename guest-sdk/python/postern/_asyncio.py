"""An event loop of the standard library without sockets."""

from __future__ import annotations

import asyncio
from asyncio import base_events
from typing import Any

from ._loop import Sleeper


class Loop(base_events.BaseEventLoop):
    """Timers and tasks; nothing else wakes it."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = Sleeper()

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing comes from outside."""

    def _write_to_self(self) -> None:
        """There is no other thread to wake it."""

    def run(self, awaitable: Any) -> Any:
        """Runs until this one is done; what it left behind goes on with the next."""
        asyncio.set_event_loop(self)
        return self.run_until_complete(_awaited(awaitable))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
