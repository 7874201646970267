"""Letta's REST interface, as much of it as archival memory needs."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.parse
from typing import Any

# Longer than any call seen by two orders of magnitude: a hang becomes an error.
_TIMEOUT_SECONDS = 120.0
# The server hangs up on a connection idle for 5 s: do not race it.
_IDLE_SECONDS = 3.0


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, method: str, path: str, status: int, body: bytes) -> None:
        super().__init__(f"{method} {path}: {status} {body[:500].decode(errors='replace')}")
        self.status = status


class Client:
    """JSON over one kept connection per thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._local = threading.local()
        self._all: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        for connection in self._all:
            connection.close()

    def get(self, path: str, **query: Any) -> Any:
        text = urllib.parse.urlencode(query)
        return self._ask("GET", f"{path}?{text}" if text else path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("POST", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path, None)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        connection = self._connection()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            answer = response.read()
        except BaseException:
            # What is left on it belongs to no later request.
            connection.close()
            raise
        self._local.used = time.monotonic()
        if response.status >= 300:
            raise Refused(method, path, response.status, answer)
        return json.loads(answer) if answer else None

    def _connection(self) -> http.client.HTTPConnection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=_TIMEOUT_SECONDS
            )
            self._all.append(connection)
            self._local.connection = connection
            self._local.used = time.monotonic()
        elif time.monotonic() - self._local.used > _IDLE_SECONDS:
            connection.close()
        return connection


class Archive:
    """The archival memory of one agent, which is made when there is none of this name."""

    def __init__(self, client: Client, name: str, embeddings: str, dimensions: int) -> None:
        self._client = client
        configuration = {
            "embedding_endpoint_type": "openai",
            "embedding_endpoint": embeddings,
            "embedding_model": "offline",
            "embedding_dim": dimensions,
            "embedding_chunk_size": 300,
        }
        agents = client.get("/v1/agents/", name=name)
        if agents:
            self.agent: str = agents[0]["id"]
            # Our endpoint has another port at every start.
            client.patch(self._path(""), {"embedding_config": configuration})
            return
        made = client.post("/v1/agents/", _agent(name, embeddings, configuration))
        self.agent = made["id"]

    def insert(self, text: str, created_at: str | None) -> list[dict[str, Any]]:
        """The passages that the text became, with `id` and `text` (one: Letta does not split
        these)."""
        body: dict[str, Any] = {"text": text}
        if created_at is not None:
            body["created_at"] = created_at
        return self._client.post(self._path("/archival-memory"), body)

    def search(self, query: str, k: int) -> list[dict[str, Any]]:
        """Best first: `content`, and `id` where this version tells it."""
        path = self._path("/archival-memory/search")
        return self._client.get(path, query=query, top_k=k)["results"]

    def delete(self, identifier: str) -> None:
        self._client.delete(self._path(f"/archival-memory/{identifier}"))

    def count(self, page: int = 200) -> int:
        """Letta has no call that counts: pages through all of them."""
        found, after = 0, {}
        while True:
            passages = self._client.get(self._path("/archival-memory"), limit=page, **after)
            found += len(passages)
            if len(passages) < page:
                return found
            after = {"after": passages[-1]["id"]}

    def _path(self, rest: str) -> str:
        return f"/v1/agents/{self.agent}{rest}"


def _agent(name: str, url: str, embedding: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        # Required, and never called: archival memory is used without the agent's loop.
        "llm_config": {
            "model": "none",
            "model_endpoint_type": "openai",
            "model_endpoint": url,
            "context_window": 8192,
        },
        "embedding_config": embedding,
        "include_base_tools": False,
        "include_multi_agent_tools": False,
        "include_default_source": False,
    }
