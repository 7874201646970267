#!/usr/bin/env python3
"""Runs the real memory systems through the protocol and checks what they answer.

Usage: selfcheck.py [--sentences N] [--embedders hash,minilm] [--least SHARE] [ROW or FOLDER ...]

Without names every adapter whose environment is built, but examples. Each row of a
`system.toml` with each embedder: stores sentences, recalls and forgets, asks for what makes no
sense, restarts, and is killed; nothing may be left then, neither a process nor a port nor a
file in the home folder.
Prints one line a run, and ends with 1 if anything failed. Milliseconds are a first look on a
busy machine, no measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import queue
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ADAPTERS = Path(__file__).resolve().parent
sys.path.insert(0, str(ADAPTERS))

from common.server import accepts, descendants  # noqa: E402

# A server may take half a minute to start on a busy machine.
PATIENCE = 180.0
# Longer than the protocol's grace for calls that hang.
GONE_WITHIN = 15.0


class Failure(Exception):
    """A system or an adapter does not do what the protocol says."""


def expect(condition: Any, what: str) -> None:
    if not condition:
        raise Failure(what)


# ---- What is stored --------------------------------------------------------------------

NAMES = (
    "Anna Boris Chen Dora Emil Fatima Goran Hanna Igor Julia Kofi Lena Marco Nadia Oskar".split()
)
DEEDS = (
    "bought a red bicycle", "lost her silver ring", "baked rye bread", "painted the kitchen blue",
    "adopted a grey kitten", "broke an old teapot", "planted three apple trees",
    "repaired the piano", "missed the night train", "won a chess tournament",
    "sold the sailing boat", "learned to juggle", "caught a heavy cold", "read a novel about Mars",
)  # fmt: skip
PLACES = "Lisbon Oslo Cairo Kyoto Lima Riga Tunis Perth Quito Delhi Turin Dakar Minsk".split()


@dataclasses.dataclass
class Sentence:
    key: str
    text: str
    question: str


def sentences(count: int) -> list[Sentence]:
    """Distinct sentences, the same ones each time."""
    pairs = list(itertools.product(NAMES, DEEDS))
    chance = random.Random(1)
    chance.shuffle(pairs)
    expect(count <= len(pairs), f"at most {len(pairs)} sentences")
    made = []
    for number, (name, deed) in enumerate(pairs[:count]):
        place = chance.choice(PLACES)
        text = f"Last week {name} {deed} in {place}, and told everybody about it."
        made.append(Sentence(f"m{number}", text, f"{name} {deed} {place}"))
    return made


# ---- The adapter's other side ----------------------------------------------------------


@dataclasses.dataclass
class Row:
    name: str
    folder: Path
    command: list[str]
    requires: list[str]
    # Too short for all that is checked here.
    example: bool


class Driver:
    """One adapter process."""

    def __init__(self, row: Row, home: Path, log: Path) -> None:
        environment = {**os.environ, "HOME": str(home)}
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                row.command, cwd=row.folder, env=environment, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        self.numbers = itertools.count(1)
        self.lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def send(self, op: str, **fields: Any) -> int:
        number = next(self.numbers)
        self.line(json.dumps({"id": number, "op": op, **fields}).encode())
        return number

    def line(self, line: bytes) -> None:
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        try:
            line = self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise Failure(f"no answer within {PATIENCE:.0f} s") from None
        expect(line, "the adapter ended")
        return json.loads(line)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        number = self.send(op, **fields)
        answer = self.answer()
        expect(answer["id"] == number, f"{op}: answer to {answer['id']}")
        return answer

    def ok(self, op: str, **fields: Any) -> dict[str, Any]:
        answer = self.ask(op, **fields)
        expect("ok" in answer, f"{op}: {answer.get('error')}")
        return answer["ok"]

    def refuses(self, kind: str, op: str, **fields: Any) -> None:
        answer = self.ask(op, **fields)
        found = answer.get("error", {}).get("kind")
        expect(found == kind, f"{op} {fields}: expected {kind}, received {answer}")

    def end(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(GONE_WITHIN)
        except subprocess.TimeoutExpired:
            raise Failure("still there after the end of its input") from None
        expect(self.process.returncode == 0, f"ended with {self.process.returncode}")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


# ---- The checks ------------------------------------------------------------------------


@dataclasses.dataclass
class Result:
    version: str = ""
    found: int = 0
    cold_ms: float = 0.0
    store_ms: float = 0.0
    store_alone_ms: float = 0.0
    recall_ms: float = 0.0
    recall_alone_ms: float = 0.0


class Check:
    """One row with one embedder, in folders of its own."""

    def __init__(self, row: Row, embedder: str, count: int, least: float, place: Path) -> None:
        self.row = row
        self.least = least
        self.embedder = embedder
        self.all = sentences(count)
        self.texts = {each.text: each.key for each in self.all}
        self.folder, self.home = place / "data", place / "home"
        self.folder.mkdir()
        self.home.mkdir()
        self.log = place / "log"
        self.result = Result()

    def run(self) -> Result:
        with self.driver() as driver:
            self.hello(driver)
            self.open(driver)
            self.store(driver)
            self.recall(driver)
            self.refuse(driver)
            self.several_clients(driver)
            self.forget(driver)
            driver.ok("close")
            if self.can("restart"):
                self.open(driver)  # In the same process, then in another.
                driver.ok("close")
            driver.end()
        if self.can("restart"):
            with self.driver() as driver:
                self.open(driver)
                self.still_there(driver)
                driver.end()
        self.killed()
        left = [str(each.relative_to(self.home)) for each in self.home.rglob("*")]
        expect(not left, f"left in the home folder: {left[:5]}")
        return self.result

    @contextlib.contextmanager
    def driver(self) -> Iterator[Driver]:
        driver = Driver(self.row, self.home, self.log)
        try:
            yield driver
        finally:
            driver.kill()

    def can(self, capability: str) -> bool:
        return capability in self.about["capabilities"]

    def hello(self, driver: Driver) -> None:
        self.about = driver.ok("hello", protocol=1)
        for name in ("system", "version", "path", "durability"):
            expect(isinstance(self.about[name], str) and self.about[name], f"hello: no {name}")
        expect(all(isinstance(value, str) for value in self.about["settings"].values()), "settings")
        self.result.version = self.about["version"]

    def open(self, driver: Driver) -> None:
        fields = {"folder": str(self.folder), "embedder": self.embedder, "memories": len(self.all)}
        opened = driver.ok("open", **fields)
        for pid in opened["processes"]:
            expect(Path(f"/proc/{pid}").exists(), f"process {pid} is not there")
        self.result.cold_ms = self.result.cold_ms or opened["total_ns"] / 1e6

    def store(self, driver: Driver) -> None:
        times = [
            self.times(driver.ok("store", key=each.key, text=each.text, time=1_700_000_000 + number))
            for number, each in enumerate(self.all)
        ]
        self.result.store_ms, self.result.store_alone_ms = means(times)
        held = driver.ok("stats")["memories"]
        expect(held in (None, len(self.all)), f"holds {held} of {len(self.all)}")

    def recall(self, driver: Driver) -> None:
        times = []
        for each in self.all:
            answer = driver.ok("recall", query=each.question, k=5)
            times.append(self.times(answer))
            self.result.found += each.key in self.keys(answer)
        self.result.recall_ms, self.result.recall_alone_ms = means(times)
        self.enough(self.result.found, len(self.all))
        for k in (1, 10):
            hits = len(driver.ok("recall", query=self.all[0].question, k=k)["hits"])
            expect(0 < hits <= k, f"{hits} hits for k {k}")

    def times(self, answer: dict[str, Any]) -> tuple[int, int]:
        total, embed = answer["total_ns"], answer["embed_ns"]
        expect(0 < total, f"total_ns {total}")
        if self.about["embedder"]:
            expect(0 < embed < total, f"embed_ns {embed} of {total}")
        else:
            expect(embed == 0, f"embed_ns {embed} without an embedder")
        return total, total - embed

    def keys(self, answer: dict[str, Any]) -> list[str]:
        keys = []
        for hit in answer["hits"]:
            key = hit.get("key") or self.texts.get(hit.get("text"))
            expect(key in self.texts.values(), f"a hit that was not stored: {hit}")
            keys.append(key)
        expect(len(set(keys)) == len(keys), f"the same memory twice: {keys}")
        return keys

    def refuse(self, driver: Driver) -> None:
        driver.line(b"this is no JSON")
        answer = driver.answer()
        expect(answer["id"] is None and answer["error"]["kind"] == "invalid", f"{answer}")
        driver.refuses("invalid", "nonsense")
        driver.refuses("invalid", "recall", query=1, k=5)
        driver.refuses("invalid", "open", folder=str(self.folder), embedder=self.embedder)
        if not self.can("synthesize"):
            driver.refuses("unsupported", "synthesize", query="x", k=5)

    def several_clients(self, driver: Driver) -> None:
        """As many requests at once as it says that it takes, stores among recalls."""
        clients = self.about["clients"]
        if clients == 1:
            return
        extra = [
            Sentence(f"x{number}", f"Extra sentence number {number} of several clients.", "")
            for number in range(len(self.all) // 2)
        ]
        self.texts.update({each.text: each.key for each in extra})
        requests = [("store", {"key": x.key, "text": x.text, "time": None}) for x in extra]
        requests += [("recall", {"query": each.question, "k": 5}) for each in self.all]
        random.Random(2).shuffle(requests)
        asked: dict[int, str] = {}
        for number, (op, fields) in enumerate(requests):
            if number >= clients:
                self.one_of(asked, driver)
            asked[driver.send(op, **fields)] = op
        while asked:
            self.one_of(asked, driver)
        for each in extra:
            if self.can("forget"):
                expect(driver.ok("forget", key=each.key)["forgotten"], f"{each.key} not kept")

    def one_of(self, asked: dict[int, str], driver: Driver) -> None:
        answer = driver.answer()
        op = asked.pop(answer["id"], None)
        expect(op is not None, f"an answer to nothing: {answer}")
        expect("ok" in answer, f"several clients, {op}: {answer.get('error')}")
        self.times(answer["ok"])
        if op == "recall":
            self.keys(answer["ok"])

    def forget(self, driver: Driver) -> None:
        if not self.can("forget"):
            driver.refuses("unsupported", "forget", key="m0")
            self.forgotten: list[Sentence] = []
            return
        self.forgotten = self.all[::10]
        for each in self.forgotten:
            expect(driver.ok("forget", key=each.key)["forgotten"], f"{each.key} not forgotten")
        expect(not driver.ok("forget", key="never stored")["forgotten"], "forgot what is not there")
        self.still_there(driver)

    def still_there(self, driver: Driver) -> None:
        held = driver.ok("stats")["memories"]
        left = len(self.all) - len(self.forgotten)
        expect(held in (None, left), f"holds {held} of {left}")
        found = 0
        for each in self.all:
            keys = self.keys(driver.ok("recall", query=each.question, k=5))
            expect(not (each in self.forgotten and each.key in keys), f"{each.key} came back")
            found += each.key in keys
        self.enough(found, left)

    def enough(self, found: int, of: int) -> None:
        expect(found >= self.least * of, f"found {found} of {of}")

    def killed(self) -> None:
        """By SIGKILL, the adapter alone: what it started must notice by itself."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        with self.driver() as driver:
            self.open(driver)
            driver.ok("store", key="k", text="some text", time=None)
            family = descendants(driver.process.pid)
            ports = listening(family)
            for address, port in ports:
                expect(address.startswith("127."), f"listens on {address}:{port}")
            driver.process.kill()
            driver.process.wait()
            deadline = time.monotonic() + GONE_WITHIN
            while any(alive(pid) for pid in family):
                expect(time.monotonic() < deadline, "processes left after SIGKILL")
                time.sleep(0.05)
            # A process looks dead as soon as its first thread is; the last one frees the port.
            for _, port in ports:
                while accepts(port):
                    expect(time.monotonic() < deadline, f"port {port} still taken after SIGKILL")
                    time.sleep(0.05)


def means(times: list[tuple[int, int]]) -> tuple[float, float]:
    total, alone = (sum(column) / len(times) / 1e6 for column in zip(*times))
    return total, alone


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def listening(pids: list[int]) -> list[tuple[str, int]]:
    """Addresses and ports on which the processes take connections (IPv4 and IPv6)."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(file))
    found = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                    address, port = fields[1].split(":")
                    # The kernel prints words of four bytes in the machine's order.
                    words = [
                        bytes.fromhex(address[at : at + 8])[::-1]
                        for at in range(0, len(address), 8)
                    ]
                    found.append((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


# ---- Which rows ------------------------------------------------------------------------


def rows() -> Iterator[Row]:
    for file in sorted(ADAPTERS.glob("*/system.toml")):
        system = tomllib.loads(file.read_text())
        command, folder = system["command"], file.parent
        for variant in system.get("variant", [{"name": folder.name}]):
            yield Row(
                variant["name"], folder, [*command, *variant.get("arguments", [])],
                [*system.get("requires", []), *variant.get("requires", [])],
                system.get("example", False),
            )  # fmt: skip


def missing(row: Row) -> list[str]:
    """What it requires: files, or variables with a path that exists."""

    def is_there(what: str) -> bool:
        path = os.environ.get(what[1:], "") if what.startswith("$") else row.folder / what
        return bool(path) and Path(path).exists()

    return [each for each in row.requires if not is_there(each)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="ROW or FOLDER")
    parser.add_argument("--sentences", type=int, default=50)
    parser.add_argument("--embedders", default="hash,minilm")
    parser.add_argument(
        "--least", type=float, default=0.9, metavar="SHARE",
        help="of the sentences that must be among the five found (default 0.9)",
    )  # fmt: skip
    arguments = parser.parse_args()

    every = list(rows())
    wanted = set(arguments.names)
    unknown = wanted - {row.name for row in every} - {row.folder.name for row in every}
    if unknown:
        parser.error(f"no such adapter: {', '.join(sorted(unknown))}")
    passed = failed = 0
    print(
        f"{'row':22} {'embedder':8} {'version':22} {'cold start':>10} "
        f"{'store ms':>9} {'alone':>8} {'recall ms':>9} {'alone':>8} {'found':>8}"
    )
    for row in every:
        if not wanted & {row.name, row.folder.name} if wanted else row.example:
            continue
        if lacking := missing(row):
            build = row.folder.relative_to(ADAPTERS.parent) / "build"
            print(f"{row.name:22} missing: {', '.join(lacking)}; {build} makes what can be made")
            failed += bool(wanted)
            continue
        for embedder in arguments.embedders.split(","):
            if checked_row(row, embedder, arguments.sentences, arguments.least):
                passed += 1
            else:
                failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def checked_row(row: Row, embedder: str, count: int, least: float) -> bool:
    with tempfile.TemporaryDirectory(prefix="selfcheck-") as place:
        check = Check(row, embedder, count, least, Path(place))
        try:
            result = check.run()
        except (Failure, OSError, KeyError, ValueError) as error:
            print(f"{row.name:22} {embedder:8} FAILED: {error!r}")
            tail = check.log.read_text(errors="replace")[-3000:] if check.log.exists() else ""
            print(tail, file=sys.stderr)
            return False
    print(
        f"{row.name:22} {embedder:8} {result.version:22} {result.cold_ms:8.0f}ms "
        f"{result.store_ms:9.3f} {result.store_alone_ms:8.3f} "
        f"{result.recall_ms:9.3f} {result.recall_alone_ms:8.3f} {result.found:4}/{count}",
        flush=True,
    )
    return True


if __name__ == "__main__":
    sys.exit(main())
