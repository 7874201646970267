"""The original MnemoCore in Python, from a checkout that $MNEMO_ORIGINAL names.

Usage: adapter.py --settings shipped|retain
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common.event_loop import EventLoop  # noqa: E402
from common.keys import Keys  # noqa: E402
from common.protocol import About, Adapter, serve, timed  # noqa: E402

CHECKOUT = "MNEMO_ORIGINAL"
DIMENSIONS = 16_384
# Nobody listens there: the vector database and the cache that it asks for are not to be found.
NOBODY = "127.0.0.1:9"
VARIANTS = {
    "shipped": {},
    # Its own store moves a new memory out of the only tier that a query searches; without this
    # threshold it stays.
    "retain": {"HAIM_TIERS_HOT_LTP_THRESHOLD_MIN": "0.0"},
}


class Original(Adapter):
    def __init__(self, settings: str) -> None:
        self.settings = settings
        self.stack = contextlib.ExitStack()

    def about(self) -> About:
        return About(
            system="MnemoCore (original, Python)",
            version=version(checkout()),
            path="HAIMEngine in this process: store, query, delete_memory, reconstructive_recall",
            settings={
                "settings": self.settings,
                "dimensions": str(DIMENSIONS),
                "vector database": "none",
                **VARIANTS[self.settings],
            },
            durability="the text in an append-only file; it survives a killed process",
            capabilities=("store", "recall", "forget", "synthesize", "restart"),
            clients=10,
            embedder=False,
        )

    def open(self, folder: Path, memories: int) -> None:
        engine_of = self._library(folder)
        self.loop = EventLoop()
        self.stack.callback(self.loop.close)
        self.keys = Keys(folder / "keys.jsonl")
        self.stack.callback(self.keys.close)
        self.engine = self.loop.run(_start(engine_of, folder / "memory.jsonl"))
        self.stack.callback(lambda: self.loop.run(self.engine.close()))

    def store(self, key: str, text: str, time: float | None) -> None:
        # It takes no time of its own: in its metadata nothing reads one.
        with timed():
            identifier = self.loop.run(self.engine.store(text, metadata={}))
        self.keys.add(identifier, key)

    def recall(self, query: str, k: int) -> list[dict[str, Any]]:
        with timed():
            found = self.loop.run(self.engine.query(query, top_k=k))
        return self._hits(found)

    def synthesize(self, query: str, k: int) -> tuple[str, list[dict[str, Any]]]:
        with timed():
            found = self.loop.run(self.engine.reconstructive_recall(query, top_k=k))
        return found["content"] or "", self._hits(found["direct_matches"])

    def forget(self, key: str) -> bool:
        identifier = self.keys.identifier(key)
        if identifier is None:
            return False
        with timed():
            forgotten = self.loop.run(self.engine.delete_memory(identifier))
        self.keys.remove(identifier)
        return bool(forgotten)

    def close(self) -> None:
        self.stack.close()

    def _hits(self, found: list[Any]) -> list[dict[str, Any]]:
        hits = []
        for identifier, score, *_ in found:
            # An id without a key was forgotten, and is back after a restart: it is shown as
            # what it is, a hit that was not stored.
            key = self.keys.key(identifier)
            hits.append({"key": identifier if key is None else key, "score": float(score)})
        return hits

    def _library(self, folder: Path) -> Any:
        """Its settings come from the environment, and what they leave open goes to the
        working directory."""
        os.chdir(folder)
        os.environ.update(environment(folder), **VARIANTS[self.settings])
        source = str(checkout() / "src")
        if source not in sys.path:
            sys.path.insert(0, source)
        from mnemocore.core import config, hnsw_index
        from mnemocore.core.engine import HAIMEngine

        # Both outlive an engine; a second `open` must meet neither the first one's settings
        # nor its index.
        config.reset_config()
        hnsw_index.HNSWIndexManager._instance = None
        return HAIMEngine


async def _start(engine_of: Any, file: Path) -> Any:
    # Made on the loop: it makes locks that belong to one.
    engine = engine_of(persist_path=str(file))
    await engine.initialize()
    return engine


def checkout() -> Path:
    path = os.environ.get(CHECKOUT)
    if not path:
        raise FileNotFoundError(f"set {CHECKOUT} to a checkout of the original")
    if not (Path(path) / "src/mnemocore/core/engine.py").is_file():
        raise FileNotFoundError(f"{CHECKOUT}={path}: no src/mnemocore/core/engine.py in it")
    return Path(path).absolute()


def version(folder: Path) -> str:
    file = folder / "pyproject.toml"
    if not file.is_file():
        return "unknown"
    return tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"]


def environment(folder: Path) -> dict[str, str]:
    return {
        "HAIM_DIMENSIONALITY": str(DIMENSIONS),
        "HAIM_ENCODING_MODE": "binary",
        "HAIM_DATA_DIR": str(folder),
        "HAIM_MEMORY_FILE": str(folder / "memory.jsonl"),
        "HAIM_CODEBOOK_FILE": str(folder / "codebook.json"),
        "HAIM_SYNAPSES_FILE": str(folder / "synapses.json"),
        "HAIM_WARM_MMAP_DIR": str(folder / "warm"),
        "HAIM_COLD_ARCHIVE_DIR": str(folder / "cold"),
        "HAIM_QDRANT_URL": f"http://{NOBODY}",
        "HAIM_REDIS_URL": f"redis://{NOBODY}",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", choices=tuple(VARIANTS), default="shipped")
    serve(Original(parser.parse_args().settings))
