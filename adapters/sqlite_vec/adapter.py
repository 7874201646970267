"""SQLite with the sqlite-vec extension: the plain reference, one table and nothing else."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.pool import Pool, TableAdapter  # noqa: E402
from common.protocol import About, installed, serve, timed  # noqa: E402

CLIENTS = 10
# WAL with FULL: one sync per stored memory, and readers do not wait for the writer.
SETTINGS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000;"
SCHEMA = """
CREATE VIRTUAL TABLE IF NOT EXISTS memories USING vec0(
    key TEXT PRIMARY KEY,
    embedding FLOAT[384] distance_metric=cosine,
    +text TEXT,
    +time FLOAT
)
"""
STORE = "INSERT INTO memories(key, embedding, text, time) VALUES (?, ?, ?, ?)"
RECALL = "SELECT key, distance FROM memories WHERE embedding MATCH ? AND k = ? ORDER BY distance"


class SqliteVec(TableAdapter):
    FORGET = "DELETE FROM memories WHERE key = ?"

    def about(self) -> About:
        return About(
            system="SQLite + sqlite-vec",
            version=installed("sqlite-vec"),
            path="SQL on a vec0 table through Python's sqlite3",
            durability="the memory, synced (WAL, synchronous = FULL)",
            settings={
                "backend": f"SQLite {sqlite3.sqlite_version}",
                "index": "none: vec0 compares with every vector",
                "distance": "cosine, 32-bit floats",
            },
            clients=CLIENTS,
        )

    def open(self, folder: Path, memories: int) -> None:
        import sqlite_vec

        self.pack = sqlite_vec.serialize_float32

        def connect() -> sqlite3.Connection:
            # Autocommit; the pool gives a connection to one thread at a time.
            connection = sqlite3.connect(
                folder / "memories.db", isolation_level=None, check_same_thread=False
            )
            connection.enable_load_extension(True)
            sqlite_vec.load(connection)
            connection.enable_load_extension(False)
            connection.executescript(SETTINGS)
            connection.execute(SCHEMA)
            return connection

        self.pool = Pool(connect, CLIENTS)

    def store(self, key: str, text: str, time: float | None) -> None:
        with self.pool.connection() as connection, timed():
            vector = self.pack(self.embedder.embed_one(text))
            connection.execute(STORE, (key, vector, text, time))

    def recall(self, query: str, k: int) -> list[dict[str, Any]]:
        with self.pool.connection() as connection, timed():
            vector = self.pack(self.embedder.embed_one(query))
            rows = connection.execute(RECALL, (vector, k)).fetchall()
        return [{"key": key, "score": 1.0 - distance} for key, distance in rows]

    def close(self) -> None:
        self.pool.close()


if __name__ == "__main__":
    serve(SqliteVec())
