"""Asynchronous libraries behind the protocol's synchronous calls."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Coroutine


class EventLoop:
    """An event loop on a thread of its own: connections of such libraries belong to one loop,
    and the calls of several clients overlap on it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Waits for the result; the way there and back costs some 50 us. The work inherits the
        caller's context, so that what it embeds is charged to the caller's request."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel(self) -> None:
        """What a library still has running in the background."""
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_default_executor()
