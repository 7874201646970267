"""PostgreSQL with pgvector: the plain reference with a server, one table and one index.

Usage: adapter.py --index hnsw|exact|bits
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common import postgres  # noqa: E402
from common.pool import Pool, TableAdapter  # noqa: E402
from common.protocol import About, serve, timed  # noqa: E402

CLIENTS = 10
# For bits: how many the index proposes; cosine then orders them. pgvector's own documents
# propose such a second look. HNSW returns no more than hnsw.ef_search.
CANDIDATES = 100

TABLE = """
CREATE TABLE IF NOT EXISTS memories (
    key text PRIMARY KEY,
    text text NOT NULL,
    time double precision,
    embedding vector(384) NOT NULL
)
"""
BITS = "binary_quantize(embedding)::bit(384)"
INDEXES = {
    "exact": "",
    "hnsw": "CREATE INDEX IF NOT EXISTS nearest ON memories USING hnsw "
    "(embedding vector_cosine_ops)",
    "bits": f"CREATE INDEX IF NOT EXISTS nearest ON memories USING hnsw (({BITS}) bit_hamming_ops)",
}
DESCRIPTIONS = {
    "exact": "none: every row is compared, cosine",
    "hnsw": "hnsw (m 16, ef_construction 64, ef_search 40: defaults), cosine",
    "bits": f"hnsw over signs, Hamming (ef_search {CANDIDATES}); {CANDIDATES} candidates "
    "ordered by cosine",
}

STORE = "INSERT INTO memories (key, text, time, embedding) VALUES (%s, %s, %s, %s)"
NEAREST = """
SELECT key, 1 - (embedding <=> %(vector)s) FROM memories
ORDER BY embedding <=> %(vector)s LIMIT %(k)s
"""
NEAREST_OF_CANDIDATES = f"""
SELECT key, 1 - (embedding <=> %(vector)s) FROM (
    SELECT key, embedding FROM memories
    ORDER BY {BITS} <~> binary_quantize(%(vector)s) LIMIT {CANDIDATES}
) candidates ORDER BY embedding <=> %(vector)s LIMIT %(k)s
"""


class PgVector(TableAdapter):
    FORGET = "DELETE FROM memories WHERE key = %s"

    def __init__(self, index: str) -> None:
        self.index = index

    def about(self) -> About:
        return About(
            system="PostgreSQL + pgvector",
            version=f"{postgres.version()} + {postgres.extension_version('vector')}",
            path="SQL over loopback through psycopg, prepared statements",
            durability="the memory, synced (write-ahead log; fsync and synchronous_commit on)",
            settings={"index": DESCRIPTIONS[self.index], "server": "as it ships"},
            clients=CLIENTS,
        )

    def open(self, folder: Path, memories: int) -> None:
        import psycopg
        from pgvector.psycopg import register_vector

        from pgvector import Vector

        self.vector = Vector
        self.stack = contextlib.ExitStack()
        self.server = postgres.Postgres(folder / "postgres")
        self.stack.callback(self.server.stop)

        def connect() -> psycopg.Connection:
            connection = psycopg.connect(self.server.uri(), autocommit=True, prepare_threshold=0)
            register_vector(connection)
            if self.index == "bits":
                connection.execute(f"SET hnsw.ef_search = {CANDIDATES}")
            return connection

        with psycopg.connect(self.server.uri(), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            connection.execute(TABLE)
            if INDEXES[self.index]:
                connection.execute(INDEXES[self.index])
        self.pool = Pool(connect, CLIENTS)
        self.stack.callback(self.pool.close)

    def store(self, key: str, text: str, time: float | None) -> None:
        with self.pool.connection() as connection, timed():
            vector = self.vector(self.embedder.embed_one(text))
            connection.execute(STORE, (key, text, time, vector))

    def recall(self, query: str, k: int) -> list[dict[str, Any]]:
        statement = NEAREST_OF_CANDIDATES if self.index == "bits" else NEAREST
        with self.pool.connection() as connection, timed():
            vector = self.vector(self.embedder.embed_one(query))
            rows = connection.execute(statement, {"vector": vector, "k": k}).fetchall()
        return [{"key": key, "score": score} for key, score in rows]

    def processes(self) -> list[int]:
        return self.server.processes()

    def close(self) -> None:
        self.stack.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", choices=tuple(INDEXES), default="hnsw")
    serve(PgVector(parser.parse_args().index))
