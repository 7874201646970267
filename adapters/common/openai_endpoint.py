"""The embedder as an OpenAI-compatible `/v1/embeddings` on loopback, for systems that take
nothing else.

It is served from threads of the adapter, so that the time inside the embedder is charged to
the request that it was spent for (see protocol.py); the way over HTTP is part of the system.
"""

from __future__ import annotations

import array
import base64
import contextlib
import http.server
import json
import sys
import threading
from typing import Any

from . import embed

MODEL = "offline"
_PATH = "/v1/embeddings"


class Endpoint:
    """Serves `embedder` on a free loopback port until `close`."""

    def __init__(self, embedder: embed.Embedder) -> None:
        self._server = _Server(embedder)
        self.port: int = self._server.server_address[1]
        # What an OpenAI client takes as its base.
        self.url = f"http://127.0.0.1:{self.port}/v1"
        # Closing waits for one interval.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, embedder: embed.Embedder) -> None:
        self.embedder = embedder
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    """HTTP 1.0: a connection ends with its answer. Letta makes a client for every embedding
    and never closes it: kept connections would pile up in its server until some call hangs."""

    server: _Server
    # Buffered, so that header and body leave as one write: as two, the second waits for the
    # client's delayed acknowledgement of the first, 40 ms an embedding.
    wbufsize = -1

    def handle(self) -> None:
        # A client that is killed resets its connection: no news.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != _PATH:
            self._answer(404, _error(f"no {self.path}: only {_PATH}"))
            return
        try:
            status, answer = 200, self._embeddings(json.loads(body))
        except (ValueError, TypeError, AttributeError) as error:
            status, answer = 400, _error(str(error))
        except Exception as error:
            status, answer = 500, _error(f"{type(error).__name__}: {error}")
        self._answer(status, answer)

    def _embeddings(self, request: dict[str, Any]) -> dict[str, Any]:
        texts = request.get("input")
        if isinstance(texts, str):
            texts = [texts]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("'input': expected a string or a list of strings")
        encode = _ENCODINGS.get(request.get("encoding_format", "float"))
        if encode is None:
            raise ValueError(f"'encoding_format': expected one of {', '.join(_ENCODINGS)}")
        vectors = self.server.embedder.embed(texts)
        # Nobody bills by these; clients want the field.
        tokens = sum(len(text.split()) for text in texts)
        return {
            "object": "list",
            "model": request.get("model", MODEL),
            "data": [
                {"object": "embedding", "index": index, "embedding": encode(vector)}
                for index, vector in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """A line per embedding is noise."""


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error"}}


def _base64(vector: embed.Vector) -> str:
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()


_ENCODINGS = {"float": list, "base64": _base64}
