"""Letta (MemGPT): an agent's archival memory through the REST interface of a local server.

Usage: adapter.py --store postgres|sqlite
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import os
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from common import postgres  # noqa: E402
from common.keys import Keys  # noqa: E402
from common.openai_endpoint import Endpoint  # noqa: E402
from common.protocol import About, Adapter, serve, timed  # noqa: E402
from common.server import Server, free_port  # noqa: E402
from rest import Archive, Client, Refused  # noqa: E402

# Archival memory belongs to an agent.
AGENT = "memories"
# Most of it is the import of Letta: minutes from cold files on a slow disk.
SECONDS_TO_START = 240.0
# Nobody listens there: what a library wants from the internet fails at once instead of
# hanging, and nothing leaves the machine.
NO_INTERNET = "http://127.0.0.1:9"
# Where each line of Letta is installed: their dependencies exclude each other. The adapter
# itself always runs in the first.
ENVIRONMENTS = {"postgres": ".venv", "sqlite": ".venv-sqlite"}


class Letta(Adapter):
    def __init__(self, store: str) -> None:
        self.kind = store
        self.environment = HERE / ENVIRONMENTS[store]
        self.server: Server | None = None
        self.database: postgres.Postgres | None = None
        self.stack = contextlib.ExitStack()

    def about(self) -> About:
        if self.kind == "postgres":
            database = f"PostgreSQL {postgres.version()} as it ships, pgvector"
            durability = "the memory, synced (write-ahead log; fsync and synchronous_commit on)"
        else:
            database = f"SQLite, sqlite-vec {self._version('sqlite-vec')}"
            durability = "the memory, synced (rollback journal, synchronous full: its defaults)"
        return About(
            system="Letta (MemGPT)",
            version=self._version("letta"),
            path="archival memory of an agent over REST, insert and semantic search, without "
            "the agent's language model",
            settings={"database": database, "index": "none: every row is compared, cosine"},
            durability=durability,
            clients=10,
        )

    def open(self, folder: Path, memories: int) -> None:
        endpoint = Endpoint(self.embedder)
        self.stack.callback(endpoint.close)
        environment = settings(folder, endpoint.url)
        if self.kind == "postgres":
            self.database = postgres.Postgres(folder / "postgres")
            self.stack.callback(self.database.stop)
            environment["LETTA_PG_URI"] = self.database.uri()
        # Its log has lines for every call, and it writes a description of its interface (2 MB)
        # to where it runs: no memories, they must not count as disk.
        run = folder / "run"
        run.mkdir(exist_ok=True)
        self.stack.callback(shutil.rmtree, run, ignore_errors=True)
        port = free_port()
        self.server = Server(
            [str(self.environment / "bin/python"), str(HERE / "serve.py"), str(port)],
            folder=run,
            environment=environment,
            log=run / "log",
        )
        # All is committed: nothing is lost if it takes too long to end and is killed.
        self.stack.callback(self.server.stop, seconds=2.0)
        client = Client(port)
        self.stack.callback(client.close)
        self.server.wait(lambda: client.get("/v1/health/") is not None, SECONDS_TO_START)
        self.archive = Archive(client, AGENT, endpoint.url, self.embedder.dimensions)
        self.keys = Keys(folder / "keys.jsonl")
        self.stack.callback(self.keys.close)
        self.originals = Keys(folder / "originals.jsonl")
        self.stack.callback(self.originals.close)

    def store(self, key: str, text: str, time: float | None) -> None:
        with timed():
            passages = self.archive.insert(text, self._moment(time))
        for passage in passages:
            self.keys.add(passage["id"], key)
            if len(passages) == 1 and passage["text"] != text:
                self.originals.add(passage["text"], text)

    def recall(self, query: str, k: int) -> list[dict[str, Any]]:
        with timed():
            found = self.archive.search(query, k)
        return [self._hit(each) for each in found]

    def forget(self, key: str) -> bool:
        identifier = self.keys.identifier(key)
        if identifier is None:
            return False
        with timed():
            try:
                self.archive.delete(identifier)
                deleted = True
            except Refused as refused:
                if refused.status != 404:
                    raise
                deleted = False
        self.keys.remove(identifier)
        return deleted

    def count(self) -> int:
        return self.archive.count()

    def processes(self) -> list[int]:
        servers = (self.database, self.server)
        return [pid for each in servers if each is not None for pid in each.processes()]

    def close(self) -> None:
        self.stack.close()
        self.server = self.database = None

    def _moment(self, time: float | None) -> str | None:
        # 0.11.7 takes no time.
        if time is None or self.kind == "sqlite":
            return None
        return datetime.datetime.fromtimestamp(time, datetime.timezone.utc).isoformat()

    def _hit(self, found: dict[str, Any]) -> dict[str, Any]:
        key = self.keys.key(found["id"]) if "id" in found else None
        if key is not None:
            return {"key": key}
        # 0.11.7 gives out no id, but the text, without the spaces around it.
        content = found["content"]
        return {"text": self.originals.key(content) or content}

    def _version(self, package: str) -> str:
        """Of a package in the server's environment, which need not be ours."""
        folders = [str(each) for each in self.environment.glob("lib/python3*/site-packages")]
        for found in importlib.metadata.distributions(name=package, path=folders):
            return found.version
        raise ModuleNotFoundError(f"package {package} in {self.environment.name}: run ./build")


def settings(folder: Path, embeddings: str) -> dict[str, str]:
    """The whole environment of the server: nothing of the user's reaches it."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    proxies = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "LETTA_DIR": str(home / ".letta"),
        "LETTA_DISABLE_TRACING": "true",
        "LETTA_TELEMETRY_ENABLED": "false",
        "OPENAI_API_KEY": "unused",
        "OPENAI_BASE_URL": embeddings,
        **{name: NO_INTERNET for name in proxies},
        "no_proxy": "127.0.0.1,localhost",
        "NO_PROXY": "127.0.0.1,localhost",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=tuple(ENVIRONMENTS), default="postgres")
    serve(Letta(parser.parse_args().store))
