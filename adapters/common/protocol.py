"""The adapter protocol: line-delimited JSON on standard input and output.

An adapter derives from `Adapter`, fills in `about` and the operations that its system has,
and ends with `serve(MyAdapter(...))`. What it does not override is answered as unsupported.

    class Mine(Adapter):
        def about(self): return About(system="Mine", version=installed("mine"), ...)
        def open(self, folder, memories):
            self.client = mine.connect(folder, self.embedder)
        def store(self, key, text, time):
            record = translate(key, text)       # the adapter's own work: not timed
            with timed():
                self.client.add(record)         # the system's own call: timed
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import importlib.metadata
import json
import os
import queue
import signal
import sys
import threading
import time as clock
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from . import embed

PROTOCOL = 1
# Only these may overlap, and only when the adapter says that it has several clients.
CONCURRENT = ("store", "recall", "forget")
# After the driver is gone nobody waits for an answer: what has not stopped by then is killed
# (servers die with their parent, see server.py).
GRACE_SECONDS = 5.0


class Unsupported(Exception):
    """The system has no such operation."""


class Invalid(Exception):
    """The request makes no sense: the driver's fault, not the system's."""


@dataclasses.dataclass
class About:
    """What `hello` answers."""

    system: str
    version: str
    path: str
    durability: str
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    capabilities: tuple[str, ...] = ("store", "recall", "forget", "restart")
    clients: int = 1
    embedder: bool = True


class Adapter:
    """A memory system behind the protocol. A hit is `{"key": ...}` or `{"text": ...}`,
    with a `score` if the system tells one."""

    # Set by the loop before `open`; None if `about().embedder` is false.
    embedder: embed.Embedder | None = None

    def about(self) -> About:
        raise NotImplementedError

    def open(self, folder: Path, memories: int) -> None:
        """Starts everything on the main thread; a folder with data of an earlier `open` is a
        restart. Imports of the system's library belong in here: they are part of a cold start."""
        raise NotImplementedError

    def store(self, key: str, text: str, time: float | None) -> None:
        raise Unsupported("store")

    def recall(self, query: str, k: int) -> list[dict[str, Any]]:
        raise Unsupported("recall")

    def synthesize(self, query: str, k: int) -> tuple[str, list[dict[str, Any]]]:
        raise Unsupported("synthesize")

    def forget(self, key: str) -> bool:
        raise Unsupported("forget")

    def count(self) -> int | None:
        """Memories held, as the system itself tells it; None if it can't."""
        return None

    def processes(self) -> list[int]:
        """Process ids of servers: their memory counts as well."""
        return []

    def close(self) -> None:
        """Flushes and stops what `open` started; another `open` may follow."""


def installed(package: str) -> str:
    """Version of an installed package, without importing it."""
    return importlib.metadata.version(package)


# ---- Times -----------------------------------------------------------------------------

_call: contextvars.ContextVar[Call | None] = contextvars.ContextVar("call", default=None)


class Call:
    """Time of one request: all of it, and what the embedder took."""

    def __init__(self, text: str | None) -> None:
        self.text = _normal(text) if text is not None else None
        self.total_ns: int | None = None
        self.embed_ns = 0


@contextlib.contextmanager
def timed() -> Iterator[None]:
    """Marks the system's own call. Several in one request add up; without any, the whole
    method counts. Only on the thread that the method runs on."""
    call = _call.get()
    start = clock.perf_counter_ns()
    try:
        yield
    finally:
        if call is not None:
            call.total_ns = (call.total_ns or 0) + clock.perf_counter_ns() - start


class _UnderWay:
    """The calls under way, so that time spent embedding on another thread (a pool of the
    system, our own HTTP endpoint) is charged to the request it was spent for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    @contextlib.contextmanager
    def call(self, text: str | None) -> Iterator[Call]:
        call = Call(text)
        token = _call.set(call)
        with self._lock:
            self._calls.append(call)
        try:
            yield call
        finally:
            with self._lock:
                self._calls.remove(call)
            _call.reset(token)

    def charge(self, elapsed_ns: int, texts: Iterable[str]) -> None:
        """To the call of this thread; else to the calls that bear one of the texts; else to
        the only call there is."""
        own = _call.get()
        with self._lock:
            if own is not None and own in self._calls:
                owners = [own]
            else:
                normal = {_normal(text) for text in texts}
                owners = [call for call in self._calls if call.text in normal]
                if not owners and len(self._calls) == 1:
                    owners = self._calls
            for call in owners:
                call.embed_ns += elapsed_ns // len(owners)


def _normal(text: str) -> str:
    # Systems strip texts and replace line ends before they embed them.
    return " ".join(text.split())


# ---- The loop --------------------------------------------------------------------------


def serve(adapter: Adapter) -> None:
    """Answers requests until standard input ends, then closes the adapter."""
    requests, answers = _take_over_standard_streams()
    _Loop(adapter, requests, answers).run()
    # Libraries leave threads behind that would keep the process alive.
    sys.stderr.flush()
    os._exit(0)


def _take_over_standard_streams() -> tuple[BinaryIO, TextIO]:
    """Standard output belongs to answers alone: whatever a library or a child prints goes to
    standard error, and no child reads our requests."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, answers


class _Loop:
    def __init__(self, adapter: Adapter, requests: Iterable[bytes], answers: Any) -> None:
        self.adapter = adapter
        self.requests = requests
        self.answers = answers
        self.writing = threading.Lock()
        self.calls = _UnderWay()
        self.about: About | None = None
        self.pool: ThreadPoolExecutor | None = None
        self.pending: set[Any] = set()
        self.is_open = False

    def run(self) -> None:
        embed.on_embedded(self.calls.charge)
        lines: queue.Queue[bytes | None] = queue.Queue()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: lines.put(None))
        # A thread of its own notices the end of input even while a call hangs.
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        while (line := lines.get()) is not None:
            if line.strip():
                self._take(line)
        self._drain()
        if self.is_open:
            try:
                self.adapter.close()
            except Exception:
                traceback.print_exc()

    def _read(self, lines: queue.Queue[bytes | None]) -> None:
        for line in self.requests:
            lines.put(line)
        lines.put(None)
        watchdog = threading.Timer(GRACE_SECONDS, os._exit, args=(1,))
        watchdog.daemon = True
        watchdog.start()

    def _take(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("not an object")
        except ValueError as error:
            self._error(None, "invalid", f"expected one JSON object a line: {error}")
            return
        clients = self._about().clients
        # Compared one by one: what came as `op` may be of any type.
        if clients > 1 and any(request.get("op") == op for op in CONCURRENT):
            if self.pool is None:
                self.pool = ThreadPoolExecutor(clients, "client")
            self.pending = {future for future in self.pending if not future.done()}
            self.pending.add(self.pool.submit(self._answer, request))
        else:
            self._drain()
            self._answer(request)

    def _about(self) -> About:
        if self.about is None:
            self.about = self.adapter.about()
        return self.about

    def _drain(self) -> None:
        wait(self.pending)
        self.pending.clear()

    def _answer(self, request: dict[str, Any]) -> None:
        number = request.get("id")
        try:
            answer = self._perform(request)
        except Unsupported as error:
            self._error(number, "unsupported", f"{self._about().system} can't {error}")
        except Invalid as error:
            self._error(number, "invalid", str(error))
        except Exception as error:
            traceback.print_exc()
            self._error(number, "failed", f"{type(error).__name__}: {error}")
        else:
            self._write({"id": number, "ok": answer})

    def _error(self, number: Any, kind: str, message: str) -> None:
        self._write({"id": number, "error": {"kind": kind, "message": message}})

    def _write(self, answer: dict[str, Any]) -> None:
        text = json.dumps(answer, ensure_ascii=False)
        with self.writing, contextlib.suppress(BrokenPipeError):
            self.answers.write(text + "\n")
            self.answers.flush()

    def _perform(self, request: dict[str, Any]) -> dict[str, Any]:
        op = _field(request, "op", str)
        if op == "hello":
            return self._hello(request)
        if op == "open":
            return self._open(request)
        if op not in ("store", "recall", "synthesize", "forget", "stats", "close"):
            raise Invalid(f"unknown op {op!r}")
        if not self.is_open:
            raise Invalid(f"{op} before open")
        return getattr(self, f"_{op}")(request)

    def _timed(self, text: str | None, method: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
        with self.calls.call(text) as call:
            start = clock.perf_counter_ns()
            result = method()
            elapsed = clock.perf_counter_ns() - start
        total = elapsed if call.total_ns is None else call.total_ns
        return result, {"total_ns": total, "embed_ns": call.embed_ns}

    def _hello(self, request: dict[str, Any]) -> dict[str, Any]:
        if (asked := request.get("protocol", PROTOCOL)) != PROTOCOL:
            raise Invalid(f"protocol {asked}: this adapter speaks {PROTOCOL}")
        about = self._about()
        return {"protocol": PROTOCOL, **dataclasses.asdict(about)}

    def _open(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.is_open:
            raise Invalid("open twice: close first")
        folder = Path(_field(request, "folder", str)).absolute()
        if not folder.is_dir():
            raise Invalid(f"no folder {folder}")
        if self._about().embedder:
            # Loading a model is no part of the system's cold start.
            name = _field(request, "embedder", str)
            if name not in embed.NAMES:
                raise Invalid(f"embedder {name!r}: expected one of {', '.join(embed.NAMES)}")
            self.adapter.embedder = embed.load(name)
        memories = request.get("memories") or 0
        try:
            _, times = self._timed(None, lambda: self.adapter.open(folder, memories))
        except Exception:
            # Half of it may run already.
            with contextlib.suppress(Exception):
                self.adapter.close()
            raise
        self.is_open = True
        return {"processes": self.adapter.processes(), **times}

    def _store(self, request: dict[str, Any]) -> dict[str, Any]:
        key, text = _field(request, "key", str), _field(request, "text", str)
        # JSON writes whole seconds without a point, and not every database takes an integer
        # for a float.
        given = request.get("time")
        time = float(given) if isinstance(given, int) else given
        _, times = self._timed(text, lambda: self.adapter.store(key, text, time))
        return times

    def _recall(self, request: dict[str, Any]) -> dict[str, Any]:
        query, k = _field(request, "query", str), _field(request, "k", int)
        hits, times = self._timed(query, lambda: self.adapter.recall(query, k))
        return {"hits": hits[:k], **times}

    def _synthesize(self, request: dict[str, Any]) -> dict[str, Any]:
        query, k = _field(request, "query", str), _field(request, "k", int)
        (text, hits), times = self._timed(query, lambda: self.adapter.synthesize(query, k))
        return {"text": text, "hits": hits[:k], **times}

    def _forget(self, request: dict[str, Any]) -> dict[str, Any]:
        key = _field(request, "key", str)
        forgotten, times = self._timed(None, lambda: self.adapter.forget(key))
        return {"forgotten": forgotten, **times}

    def _stats(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"memories": self.adapter.count(), "processes": self.adapter.processes()}

    def _close(self, _: dict[str, Any]) -> dict[str, Any]:
        # Whatever close meets, the adapter counts as closed: the next open starts afresh.
        self.is_open = False
        _, times = self._timed(None, self.adapter.close)
        return times


def _field(request: dict[str, Any], name: str, kind: type) -> Any:
    value = request.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Invalid(f"{name!r}: expected {kind.__name__}, received {value!r}")
    return value
