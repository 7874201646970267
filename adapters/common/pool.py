"""Database connections of several clients: one each, handed out as calls come."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator
from typing import Any

from .protocol import Adapter, timed


class Pool:
    """`size` connections, all opened at once; each serves one call at a time, whatever the
    thread. Taking one is no part of a system's call: do it outside `timed()`."""

    def __init__(self, connect: Callable[[], Any], size: int) -> None:
        self._all: list[Any] = []
        # Last in, first out: a single client always meets the same connection, with its
        # prepared statements and caches.
        self._free: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(size):
            self._all.append(connect())
            self._free.put(self._all[-1])

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        connection = self._free.get()
        try:
            yield connection
        finally:
            self._free.put(connection)

    def close(self) -> None:
        for connection in self._all:
            connection.close()
        self._all.clear()


class TableAdapter(Adapter):
    """A database with one table of memories, by key, and a pool of connections to it."""

    pool: Pool
    # Takes the key.
    FORGET: str
    COUNT = "SELECT count(*) FROM memories"

    def forget(self, key: str) -> bool:
        with self.pool.connection() as connection, timed():
            return connection.execute(self.FORGET, (key,)).rowcount > 0

    def count(self) -> int:
        with self.pool.connection() as connection:
            return connection.execute(self.COUNT).fetchone()[0]
