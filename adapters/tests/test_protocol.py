"""The protocol's loop, driven as the driver does: a process and its pipes."""

import json
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

ADAPTERS = Path(__file__).resolve().parent.parent

TOY = """
import os, sys, threading, time
sys.path.insert(0, {adapters!r})
from common.protocol import About, Adapter, Invalid, serve, timed

class Toy(Adapter):
    def about(self):
        return About("Toy", "1", "a dict", "nothing", clients={clients})
    def open(self, folder, memories):
        print("stray print on open")
        os.system("echo stray print of a child; cat > /dev/null")
        self.folder, self.memories = folder, dict()
        self.both = threading.Barrier(2)
    def store(self, key, text, time):
        with timed():
            self.embedder.embed([text])
        self.memories[key] = text
    def recall(self, query, k):
        if query == "hang": time.sleep(60)
        if query == "fail": raise RuntimeError("broken\\nin two lines")
        if query == "meet": self.both.wait(20)
        if query == "elsewhere":
            thread = threading.Thread(target=self.embedder.embed, args=([" elsewhere "],))
            thread.start(); thread.join()
        return [dict(key=key) for key in self.memories]
    def close(self):
        (self.folder / "closed").write_text("yes")

serve(Toy())
"""


class Toy:
    """A process with an adapter in it."""

    def __init__(self, clients: int = 1) -> None:
        program = textwrap.dedent(TOY).format(adapters=str(ADAPTERS), clients=clients)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def send(self, line: bytes) -> None:
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def ask(self, op: str, **fields) -> dict:
        self.send(json.dumps({"id": 1, "op": op, **fields}).encode())
        return self.answer()

    def answer(self) -> dict:
        return json.loads(self.process.stdout.readline())

    def end(self) -> str:
        _, errors = self.process.communicate(timeout=30)
        return errors.decode()


class Protocol(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def toy(self, clients: int = 1, opened: bool = True) -> Toy:
        toy = Toy(clients)
        self.addCleanup(toy.process.stderr.close)
        self.addCleanup(toy.process.stdout.close)
        self.addCleanup(toy.process.stdin.close)
        self.addCleanup(toy.process.wait)
        self.addCleanup(toy.process.kill)
        if opened:
            answer = toy.ask("open", folder=self.folder.name, embedder="hash", memories=1)
            self.assertIn("ok", answer)
        return toy

    def test_hello_tells_what_the_system_is(self):
        answer = self.toy(opened=False).ask("hello", protocol=1)["ok"]
        self.assertEqual(answer["protocol"], 1)
        self.assertEqual(answer["system"], "Toy")
        self.assertEqual(answer["clients"], 1)
        self.assertIn("recall", answer["capabilities"])

    def test_a_protocol_of_another_version_is_refused(self):
        answer = self.toy(opened=False).ask("hello", protocol=2)
        self.assertEqual(answer["error"]["kind"], "invalid")

    def test_garbage_is_answered_and_survived(self):
        toy = self.toy()
        for garbage in (b"no json", b"[1]", b'"text"', b"\xff\xfe{", b"{", b"9" * 5000):
            toy.send(garbage)
            answer = toy.answer()
            self.assertIsNone(answer["id"])
            self.assertEqual(answer["error"]["kind"], "invalid")
        self.assertIn("ok", toy.ask("stats"))

    def test_fields_that_are_missing_or_of_another_type_are_invalid(self):
        toy = self.toy()
        for op, fields in (
            ("store", {"key": 1, "text": "x"}),
            ("store", {"key": "a"}),
            ("recall", {"query": "x", "k": True}),
            ("recall", {"query": "x", "k": "5"}),
            ("nonsense", {}),
            ("_open", {}),
            (["store"], {}),
        ):
            self.assertEqual(toy.ask(op, **fields)["error"]["kind"], "invalid", (op, fields))

    def test_what_an_adapter_does_not_have_is_unsupported(self):
        toy = self.toy()
        self.assertEqual(toy.ask("forget", key="a")["error"]["kind"], "unsupported")
        self.assertEqual(toy.ask("synthesize", query="a", k=3)["error"]["kind"], "unsupported")

    def test_a_failure_is_one_line_and_the_traceback_goes_to_standard_error(self):
        toy = self.toy()
        answer = toy.ask("recall", query="fail", k=3)
        self.assertEqual(answer["error"]["kind"], "failed")
        self.assertEqual(answer["error"]["message"], "RuntimeError: broken\nin two lines")
        self.assertIn("Traceback", toy.end())

    def test_stray_prints_do_not_reach_the_answers(self):
        errors = self.toy().end()
        self.assertIn("stray print on open", errors)
        self.assertIn("stray print of a child", errors)

    def test_open_and_close_in_the_wrong_order_are_invalid(self):
        toy = self.toy(opened=False)
        self.assertEqual(toy.ask("stats")["error"]["kind"], "invalid")
        for embedder, kind in (("hash", None), ("hash", "invalid")):
            answer = toy.ask("open", folder=self.folder.name, embedder=embedder, memories=1)
            self.assertEqual(answer.get("error", {}).get("kind"), kind)
        self.assertIn("ok", toy.ask("close"))
        self.assertEqual(toy.ask("close")["error"]["kind"], "invalid")
        answer = toy.ask("open", folder=self.folder.name, embedder="nonsense", memories=1)
        self.assertEqual(answer["error"]["kind"], "invalid")

    def test_embedding_is_part_of_the_total(self):
        answer = self.toy().ask("store", key="a", text="some words", time=None)["ok"]
        self.assertGreater(answer["embed_ns"], 0)
        self.assertGreater(answer["total_ns"], answer["embed_ns"])

    def test_embedding_on_another_thread_is_charged_to_its_request(self):
        for clients in (1, 4):
            answer = self.toy(clients).ask("recall", query="elsewhere", k=1)["ok"]
            self.assertGreater(answer["embed_ns"], 0)
            self.assertGreater(answer["total_ns"], answer["embed_ns"])

    def test_several_clients_are_served_at_once(self):
        toy = self.toy(clients=2)
        for number in (1, 2):  # Neither is answered before both are under way.
            toy.send(json.dumps({"id": number, "op": "recall", "query": "meet", "k": 1}).encode())
        self.assertEqual({toy.answer()["id"], toy.answer()["id"]}, {1, 2})

    def test_close_waits_for_the_requests_before_it(self):
        toy = self.toy(clients=4)
        for number in range(20):
            request = {"id": number, "op": "store", "key": str(number), "text": "t", "time": None}
            toy.send(json.dumps(request).encode())
        toy.send(b'{"id": 99, "op": "close"}')
        order = [toy.answer()["id"] for _ in range(21)]
        self.assertEqual(order[-1], 99)
        self.assertEqual(sorted(order[:-1]), list(range(20)))

    def test_the_end_of_input_closes_the_system(self):
        toy = self.toy()
        toy.end()
        self.assertEqual(toy.process.returncode, 0)
        self.assertTrue(Path(self.folder.name, "closed").exists())

    def test_a_call_that_hangs_does_not_keep_the_adapter_alive(self):
        toy = self.toy()
        toy.send(b'{"id": 1, "op": "recall", "query": "hang", "k": 1}')
        toy.process.stdin.close()
        self.assertEqual(toy.process.wait(30), 1)

    def test_a_termination_signal_closes_the_system(self):
        toy = self.toy()
        toy.process.terminate()
        toy.process.wait(30)
        self.assertTrue(Path(self.folder.name, "closed").exists())


if __name__ == "__main__":
    unittest.main()
