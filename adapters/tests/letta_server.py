"""Stands in for `serve.py`: as much of Letta's REST interface as the adapter uses, as a child
that keeps its passages in HOME. Every request is added to HOME/requests."""

import base64
import http.client
import http.server
import json
import os
import struct
import sys
import urllib.parse
from pathlib import Path

HOME = Path(os.environ["HOME"])
STATE = HOME / "state.json"
# As 0.11.7 does: no ids in what a search finds, and no spaces around a text.
WITHOUT_IDS = (HOME / "without_ids").exists()
AGENT = "/v1/agents/agent-1"
ARCHIVE = AGENT + "/archival-memory"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(body) if body else None
        with open(HOME / "requests", "a") as requests:
            print(json.dumps([self.command, url.path, query, body]), file=requests)
        state = json.loads(STATE.read_text()) if STATE.exists() else {"agent": None, "passages": []}
        status, answer = self.act(self.command, url.path, query, body, state)
        STATE.write_text(json.dumps(state))
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def act(self, method, path, query, body, state):
        passages = state["passages"]
        match method, path:
            case "GET", "/v1/health/":
                return 200, {"status": "ok"}
            case "GET", "/v1/agents/":
                return 200, [state["agent"]] if state["agent"] else []
            case "POST", "/v1/agents/":
                state["agent"] = {**body, "id": "agent-1"}
                return 200, state["agent"]
            case "PATCH", path if path == AGENT:
                state["agent"].update(body)
                return 200, state["agent"]
            case "POST", path if path == ARCHIVE:
                if body["text"] == "refuse this":
                    return 400, {"detail": "no"}
                identifier = f"passage-{len(passages)}"
                vector = embed(state["agent"], body["text"])
                text = body["text"].strip() if WITHOUT_IDS else body["text"]
                passages.append({"id": identifier, "content": text, "vector": vector})
                return 200, [{"id": identifier, "text": text}]
            case "GET", path if path == ARCHIVE:
                ids = [each["id"] for each in passages]
                first = ids.index(query["after"]) + 1 if "after" in query else 0
                return 200, passages[first : first + int(query["limit"])]
            case "GET", path if path == ARCHIVE + "/search":
                return 200, {"results": search(state, query["query"], int(query["top_k"]))}
            case "DELETE", path:
                identifier = path.rpartition("/")[2]
                kept = [each for each in passages if each["id"] != identifier]
                if len(kept) == len(passages):
                    return 404, {"detail": "not found"}
                state["passages"] = kept
                return 200, {"message": "deleted"}
        return 404, {"detail": path}

    def log_message(self, *_):
        pass


def embed(agent, text):
    """Through our endpoint, as Letta's client does: base64 of float32."""
    base = urllib.parse.urlsplit(agent["embedding_config"]["embedding_endpoint"])
    connection = http.client.HTTPConnection("127.0.0.1", base.port)
    body = {"input": [text], "model": "offline", "encoding_format": "base64"}
    connection.request("POST", base.path + "/embeddings", json.dumps(body))
    data = json.loads(connection.getresponse().read())["data"][0]["embedding"]
    connection.close()
    return [value for (value,) in struct.iter_unpack("<f", base64.b64decode(data))]


def search(state, query, k):
    asked = embed(state["agent"], query)

    def likeness(passage):
        return sum(one * other for one, other in zip(asked, passage["vector"]))

    found = sorted(state["passages"], key=likeness, reverse=True)[:k]
    fields = ("content",) if WITHOUT_IDS else ("content", "id")
    return [{field: each[field] for field in fields} for each in found]


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
