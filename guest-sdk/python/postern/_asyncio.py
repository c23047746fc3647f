"""An event loop of the standard library without sockets."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import base_events
from typing import Any

from ._loop import Sleeper
from .failure import Internal


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
        """Runs until this one is done; what it left behind waits for the next or for `cancel_all`."""
        asyncio.set_event_loop(self)
        return self.run_until_complete(_awaited(awaitable))

    def cancel_all(self) -> int:
        """Cancels the tasks that are left, runs what they do about it, and forgets their callbacks. Gives
        how many there were. A task that then waits for what nothing completes is left where it stands."""
        left = asyncio.all_tasks(self)
        for task in left:
            task.cancel()
        if left:
            with contextlib.suppress(Internal):  # a task that waits for something that nothing completes
                self.run_until_complete(asyncio.wait(left))
        for handle in [*self._ready, *self._scheduled]:
            handle.cancel()
        self._ready.clear()
        self._scheduled.clear()
        return len(left)


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
