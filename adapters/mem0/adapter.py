"""mem0's open source library over a local vector store.

Usage: adapter.py --store qdrant|faiss
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.protocol import About, Adapter, installed, serve, timed  # noqa: E402

USER = "user"
# Never called: `infer=False` stores what it is given. mem0 wants the settings all the same.
NO_MODEL = {"provider": "openai", "config": {"api_key": "unused"}}


class OurEmbedder:
    """Ours in the place of mem0's: the two methods that its `Memory` calls."""

    def __init__(self, embedder: Any) -> None:
        self.embedder = embedder

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        return self.embedder.embed_one(text)

    def embed_batch(self, texts: list[str], memory_action: str = "add") -> list[list[float]]:
        return self.embedder.embed(texts)


class Mem0(Adapter):
    def __init__(self, store: str) -> None:
        self.kind = store

    def about(self) -> About:
        backend, durability = {
            "qdrant": (
                f"qdrant-client {installed('qdrant-client')}, local mode (Python, exact, cosine)",
                "the memory, synced (SQLite), and a line of mem0's history (SQLite)",
            ),
            "faiss": (
                f"faiss-cpu {installed('faiss-cpu')} (IndexFlatL2, exact)",
                "the whole index and all texts written anew, not synced; and a line of mem0's "
                "history (SQLite)",
            ),
        }[self.kind]
        return About(
            system="mem0",
            version=installed("mem0ai"),
            path="Memory.add(infer=False) and Memory.search: no model extracts or rewrites; dense "
            "vectors only, since its BM25 and its entities want models from a hub",
            durability=durability,
            settings={"backend": backend, "threshold": "0.0", "infer": "False"},
        )

    def open(self, folder: Path, memories: int) -> None:
        # Read on import.
        os.environ.update(MEM0_TELEMETRY="False", MEM0_DIR=str(folder / "mem0"))
        from mem0 import Memory

        self.memory = Memory.from_config(
            {
                "vector_store": {
                    "provider": self.kind,
                    "config": {
                        "collection_name": "memories",
                        "path": str(folder / self.kind),
                        "embedding_model_dims": self.embedder.dimensions,
                    },
                },
                "llm": NO_MODEL,
                "embedder": NO_MODEL,
                "history_db_path": str(folder / "history.db"),
            }
        )
        self.memory.embedding_model = OurEmbedder(self.embedder)

    def store(self, key: str, text: str, time: float | None) -> None:
        metadata = {"key": key, "time": time}
        with timed():
            answer = self.memory.add(text, user_id=USER, metadata=metadata, infer=False)
        events = [result["event"] for result in answer["results"]]
        if events != ["ADD"]:
            raise RuntimeError(f"expected one ADD, received {answer}")

    def recall(self, query: str, k: int) -> list[dict[str, Any]]:
        with timed():
            # Its default threshold of 0.1 would withhold hits that were asked for.
            answer = self.memory.search(query, filters={"user_id": USER}, top_k=k, threshold=0.0)
        return [{"key": hit["metadata"]["key"], "score": hit["score"]} for hit in answer["results"]]

    def forget(self, key: str) -> bool:
        # It deletes by its own id. Looking that up by our key is not timed.
        found = self.memory.get_all(filters={"user_id": USER, "key": key}, top_k=1)["results"]
        if not found:
            return False
        with timed():
            self.memory.delete(found[0]["id"])
        return True

    def count(self) -> int:
        information = self.memory.vector_store.col_info()
        return information["count"] if self.kind == "faiss" else information.points_count

    def close(self) -> None:
        self.memory.close()
        # Qdrant's local mode locks its folder until its client is closed, which mem0 leaves to
        # whoever opened it.
        client = getattr(self.memory.vector_store, "client", None)
        if client is not None:
            client.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("qdrant", "faiss"), default="qdrant")
    serve(Mem0(parser.parse_args().store))
