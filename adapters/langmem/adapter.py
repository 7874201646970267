"""LangMem's own tools over a LangGraph store, in memory or in SQLite.

Usage: adapter.py --store memory|sqlite
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.keys import Keys  # noqa: E402
from common.protocol import About, Adapter, installed, serve, timed  # noqa: E402

NAMESPACE = ("memories",)
# What the tool answers before the id of what it stored.
CREATED = "created memory "


class LangMem(Adapter):
    def __init__(self, store: str) -> None:
        self.kind = store

    def about(self) -> About:
        stored, durability, restart = {
            "memory": ("InMemoryStore", "nothing: the store lives in RAM alone", ()),
            "sqlite": (
                f"SqliteStore, SQLite {sqlite3.sqlite_version}",
                "the memory, synced (autocommit; SQLite's default rollback journal)",
                ("restart",),
            ),
        }[self.kind]
        return About(
            system="LangMem",
            version=installed("langmem"),
            path="its manage_memory and search_memory tools, called as an agent's tool call would",
            durability=durability,
            settings={
                "store": f"LangGraph {installed('langgraph')} {stored}",
                "search": "exact, cosine",
                "index": "field content",
            },
            capabilities=("store", "recall", "forget", *restart),
            # Both stores take calls of several threads; SqliteStore lets one at a time through.
            clients=10,
        )

    def open(self, folder: Path, memories: int) -> None:
        # LangSmith traces tool calls to a service unless told not to.
        os.environ.update(LANGSMITH_TRACING="false", LANGCHAIN_TRACING_V2="false")
        from langmem import create_manage_memory_tool, create_search_memory_tool

        self.stack = contextlib.ExitStack()
        index = {
            "dims": self.embedder.dimensions,
            "embed": self.embedder.embed,
            "fields": ["content"],
        }
        if self.kind == "sqlite":
            from langgraph.store.sqlite import SqliteStore

            file = str(folder / "memories.db")
            store = self.stack.enter_context(SqliteStore.from_conn_string(file, index=index))
            store.setup()
            # The tool keeps no metadata: its ids are all there is to know a memory by.
            self.keys = Keys(folder / "keys.jsonl")
        else:
            from langgraph.store.memory import InMemoryStore

            store = InMemoryStore(index=index)
            self.keys = Keys(None)
        self.stack.callback(self.keys.close)
        self.manage = create_manage_memory_tool(NAMESPACE, store=store)
        self.search = create_search_memory_tool(NAMESPACE, store=store)

    def store(self, key: str, text: str, time: float | None) -> None:
        with timed():
            answer = self.manage.invoke({"action": "create", "content": text})
        if not answer.startswith(CREATED):
            raise RuntimeError(f"expected {CREATED!r} and an id, received {answer!r}")
        self.keys.add(answer.removeprefix(CREATED), key)

    def recall(self, query: str, k: int) -> list[dict[str, Any]]:
        with timed():
            answer = self.search.invoke({"query": query, "limit": k})
        return [self._hit(item) for item in json.loads(answer)]

    def _hit(self, item: dict[str, Any]) -> dict[str, Any]:
        key = self.keys.key(item["key"])
        what = {"text": item["value"]["content"]} if key is None else {"key": key}
        return what if item.get("score") is None else {**what, "score": item["score"]}

    def forget(self, key: str) -> bool:
        identifier = self.keys.identifier(key)
        if identifier is None:
            return False
        with timed():
            self.manage.invoke({"action": "delete", "id": identifier})
        self.keys.remove(identifier)
        return True

    def close(self) -> None:
        self.stack.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("memory", "sqlite"), default="sqlite")
    serve(LangMem(parser.parse_args().store))
