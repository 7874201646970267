"""The driver's keys beside the ids that a system gives out itself, kept across restarts."""

from __future__ import annotations

import json
import threading
from pathlib import Path


class Keys:
    """An append-only file of `[id, key]` lines (`[id, null]` once forgotten). Not timed, but
    its bytes lie in the system's folder: about 60 a memory. Without a file it forgets all."""

    def __init__(self, file: Path | None) -> None:
        self._lock = threading.Lock()
        self._key_of: dict[str, str] = {}
        self._id_of: dict[str, str] = {}
        self._file = None
        if file is not None:
            self._file = open(file, "a+", encoding="utf-8")
            self._file.seek(0)
            for line in self._file:
                self._note(*json.loads(line))

    def add(self, identifier: str, key: str) -> None:
        self._append(identifier, key)

    def remove(self, identifier: str) -> None:
        self._append(identifier, None)

    def key(self, identifier: str) -> str | None:
        return self._key_of.get(identifier)

    def identifier(self, key: str) -> str | None:
        return self._id_of.get(key)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, identifier: str, key: str | None) -> None:
        with self._lock:
            self._note(identifier, key)
            if self._file is not None:
                self._file.write(json.dumps([identifier, key]) + "\n")
                self._file.flush()

    def _note(self, identifier: str, key: str | None) -> None:
        if key is None:
            forgotten = self._key_of.pop(identifier, None)
            if forgotten is not None and self._id_of.get(forgotten) == identifier:
                del self._id_of[forgotten]
        else:
            self._key_of[identifier] = key
            self._id_of[key] = identifier
