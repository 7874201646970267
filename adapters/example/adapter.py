"""A whole adapter: counts which words of a question stand in a memory."""

import json
import sys
import time
from pathlib import Path

HELLO = {
    "protocol": 1, "system": "Substring counter", "version": "1", "path": "a dictionary and a file",
    "settings": {"ranking": "words of the question in the text"}, "clients": 1, "embedder": False,
    "capabilities": ["store", "recall", "forget", "restart"], "durability": "handed to the operating system",
}


class Store:
    def open(self, request):
        self.path = Path(request["folder"], "memories.jsonl")
        self.memories = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            self._apply(json.loads(line))
        self.file = self.path.open("a")
        return {"processes": []}

    def store(self, request):
        self._write([request["key"], request["text"]])
        return {}

    def recall(self, request):
        words = request["query"].lower().split()
        score = lambda text: sum(word in text.lower() for word in words)
        ranked = sorted(self.memories.items(), key=lambda memory: -score(memory[1]))
        return {"hits": [{"key": key, "score": score(text)} for key, text in ranked[: request["k"]]]}

    def forget(self, request):
        known = request["key"] in self.memories
        if known:
            self._write([request["key"], None])
        return {"forgotten": known}

    def close(self, request):
        self.file.close()
        return {}

    def _write(self, change):
        self.file.write(json.dumps(change) + "\n")
        self.file.flush()
        self._apply(change)

    def _apply(self, change):
        self.memories.update([change])
        if change[1] is None:
            del self.memories[change[0]]


def answer(store, request):
    if request["op"] == "hello":
        return HELLO
    if request["op"] == "stats":
        return {"memories": len(store.memories), "processes": []}
    if request["op"] not in ("open", "store", "recall", "forget", "close"):
        raise NotImplementedError(request["op"])
    started = time.perf_counter_ns()  # The system's own call, and nothing else.
    ok = getattr(store, request["op"])(request)
    return {**ok, "total_ns": time.perf_counter_ns() - started, "embed_ns": 0}


store = Store()
for line in sys.stdin:  # Ends when the driver does.
    request = {}
    try:
        request = json.loads(line)
        response = {"ok": answer(store, request)}
    except NotImplementedError as error:
        response = {"error": {"kind": "unsupported", "message": str(error)}}
    except Exception as error:
        kind = "failed" if request else "invalid"
        response = {"error": {"kind": kind, "message": f"{type(error).__name__}: {error}"}}
    print(json.dumps({"id": request.get("id"), **response}), flush=True)
