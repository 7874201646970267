"""Graphiti, the engine of Zep: a memory is the fact of an edge, recalled by its hybrid search.

Usage: adapter.py --store falkordb|kuzu
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from backends import FalkorDb, Kuzu  # noqa: E402
from common.event_loop import EventLoop  # noqa: E402
from common.protocol import About, Adapter, installed, serve, timed  # noqa: E402

# In FalkorDB a group is a graph of this name.
GROUP = "memories"
# The two ends of every edge.
WHO, WHAT = "user", "memory"
BACKENDS = {"falkordb": FalkorDb, "kuzu": Kuzu}


class Graphiti(Adapter):
    def __init__(self, store: str) -> None:
        self.backend = BACKENDS[store]()
        self.stack = contextlib.ExitStack()

    def about(self) -> About:
        return About(
            system="Zep (Graphiti)",
            version=installed("graphiti-core"),
            path="EntityEdge.save with the memory as its fact, Graphiti.search (full text and "
            "cosine, rank fusion): Zep's engine without the language model that extracts facts",
            settings={"index": "full text; exact scan, cosine", **self.backend.settings()},
            durability=self.backend.durability,
            clients=self.backend.clients,
        )

    def open(self, folder: Path, memories: int) -> None:
        # Graphiti reads these when it is imported.
        os.environ["EMBEDDING_DIM"] = str(self.embedder.dimensions)
        os.environ["GRAPHITI_TELEMETRY_ENABLED"] = "false"
        self.loop = EventLoop()
        self.stack.callback(self.loop.close)
        self.stack.callback(self.backend.stop)
        self.backend.start(folder)
        self.graph = self.loop.run(self._connect(folder))
        self.stack.callback(lambda: self.loop.run(self.graph.close()))

    async def _connect(self, folder: Path) -> Any:
        from models import without_models

        driver = await self.backend.connect(folder, GROUP)
        graph = without_models(driver, self.embedder)
        await self.backend.make_indices(graph)
        await self._make_ends(graph)
        return graph

    async def _make_ends(self, graph: Any) -> None:
        """An edge needs two nodes. Without a model nobody knows who a sentence is about, so
        all share one pair, which costs a store one write instead of three."""
        from graphiti_core.nodes import EntityNode

        for name in (WHO, WHAT):
            node = EntityNode(uuid=name, name=name, group_id=GROUP)
            await node.generate_name_embedding(graph.embedder)
            await node.save(graph.driver)

    def store(self, key: str, text: str, time: float | None) -> None:
        from graphiti_core.edges import EntityEdge

        edge = EntityEdge(
            # Graphiti takes any string for an id, so the key needs no map beside it.
            uuid=key,
            group_id=GROUP,
            source_node_uuid=WHO,
            target_node_uuid=WHAT,
            # The relation's name is searched as well: one that all share finds nothing.
            name="",
            fact=text,
            created_at=datetime.datetime.now(datetime.timezone.utc),
            valid_at=_moment(time),
        )
        with timed():
            self.loop.run(self._save(edge))

    async def _save(self, edge: Any) -> None:
        await edge.generate_embedding(self.graph.embedder)
        await edge.save(self.graph.driver)

    def recall(self, query: str, k: int) -> list[dict[str, Any]]:
        with timed():
            edges = self.loop.run(self.graph.search(query, group_ids=[GROUP], num_results=k))
        return [{"key": edge.uuid} for edge in edges]

    def forget(self, key: str) -> bool:
        from graphiti_core.edges import EntityEdge
        from graphiti_core.errors import EdgeNotFoundError

        async def delete() -> bool:
            try:
                edge = await EntityEdge.get_by_uuid(self.graph.driver, key)
            except EdgeNotFoundError:
                return False
            await edge.delete(self.graph.driver)
            return True

        with timed():
            return self.loop.run(delete())

    def count(self) -> int | None:
        rows, _, _ = self.loop.run(self.graph.driver.execute_query(self.backend.COUNT))
        return rows[0]["memories"]

    def processes(self) -> list[int]:
        return self.backend.processes()

    def close(self) -> None:
        self.stack.close()


def _moment(time: float | None) -> datetime.datetime | None:
    if time is None:
        return None
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=tuple(BACKENDS), default="falkordb")
    serve(Graphiti(parser.parse_args().store))
