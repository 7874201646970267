"""What goes to the original engine and what is made of its answers, against a checkout with a
stub of it."""

import os
import sys
import textwrap
import unittest
from pathlib import Path
from unittest import mock

import stubs
from common import protocol

# As much of the engine as the adapter calls. As the real one does, it appends every memory to
# its file, numbers them, and does not take a deleted one out of the file.
ENGINE = """
    import asyncio, os
    from pathlib import Path

    class HAIMEngine:
        def __init__(self, persist_path):
            asyncio.get_running_loop()
            self.file = Path(persist_path)
            self.held, self.closed = {}, False
            self.environment = dict(os.environ)
            type(self).last = self

        async def initialize(self):
            if self.file.exists():
                for line in self.file.read_text().splitlines():
                    self.held[f"mem_{len(self.held)}"] = line

        async def store(self, content, metadata=None):
            identifier = f"mem_{len(self.held)}"
            self.held[identifier] = content
            with open(self.file, "a") as file:
                file.write(content + "\\n")
            return identifier

        async def query(self, query_text, top_k=5):
            if query_text == "fail":
                raise ValueError("no such thing")
            words = set(query_text.split())
            scores = [(each, len(words & set(text.split())) / 10) for each, text in self.held.items()]
            return sorted(scores, key=lambda each: -each[1])[:top_k]

        async def reconstructive_recall(self, query, top_k=10):
            matches = await self.query(query, top_k)
            content = " / ".join(self.held[each] for each, _ in matches) or None
            return {"content": content, "direct_matches": matches, "fragments": []}

        async def delete_memory(self, node_id):
            return self.held.pop(node_id, None) is not None

        async def close(self):
            self.closed = True
"""
FILES = {
    "pyproject.toml": '[project]\nname = "mnemocore"\nversion = "3.0.0"\n',
    "src/mnemocore/__init__.py": "",
    "src/mnemocore/core/__init__.py": "",
    "src/mnemocore/core/config.py": "calls = []\ndef reset_config(): calls.append(1)\n",
    "src/mnemocore/core/hnsw_index.py": "class HNSWIndexManager:\n    _instance = 'old'\n",
    "src/mnemocore/core/engine.py": textwrap.dedent(ENGINE),
}


class Original(stubs.AdapterTest):
    def begin(self, settings="retain"):
        self.addCleanup(os.chdir, os.getcwd())
        self.addCleanup(forget_modules)
        self.module = stubs.adapter("original")
        path = mock.patch.object(sys, "path", list(sys.path))
        self.start(self.module.Original(settings), mock.patch.dict(os.environ), path)
        self.checkout = self.folder / "checkout"
        for name, text in FILES.items():
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (self.checkout / name).write_text(text)
        os.environ["MNEMO_ORIGINAL"] = str(self.checkout)
        self.data = self.folder / "data"
        self.data.mkdir()
        self.open()
        self.engine = sys.modules["mnemocore.core.engine"].HAIMEngine.last

    def open(self):
        return self.ask("open", folder=str(self.data), embedder="hash", memories=3)

    def store_all(self):
        self.store("a", "the cat sat on a mat", 1e9)
        self.store("b", "a dog chased the ball")
        self.store("c", "rain fell all night")

    def test_hello_tells_the_checkouts_version_and_needs_no_embedder(self):
        self.begin()
        about = self.ask("hello")
        self.assertEqual(about["version"], "3.0.0")
        self.assertIs(about["embedder"], False)
        self.assertEqual(about["settings"]["HAIM_TIERS_HOT_LTP_THRESHOLD_MIN"], "0.0")

    def test_ids_become_our_keys_with_their_scores_in_order(self):
        self.begin()
        self.store_all()
        self.assertEqual(self.hits("dog ball", 1), [{"key": "b", "score": 0.2}])
        answer = self.ask("recall", query="cat mat", k=3)
        self.assertEqual([each["key"] for each in answer["hits"]], ["a", "b", "c"])
        self.assertGreater(answer["total_ns"], 0)
        self.assertEqual(answer["embed_ns"], 0)

    def test_synthesis_brings_its_text_and_what_it_is_made_of(self):
        self.begin()
        self.assertEqual(self.ask("synthesize", query="dog", k=2)["text"], "")
        self.store_all()
        answer = self.ask("synthesize", query="dog ball", k=2)
        self.assertTrue(answer["text"].startswith("a dog chased the ball / "))
        self.assertEqual(answer["hits"][0]["key"], "b")

    def test_forget_deletes_by_id(self):
        self.begin()
        self.store_all()
        self.assertTrue(self.ask("forget", key="b")["forgotten"])
        self.assertFalse(self.ask("forget", key="b")["forgotten"])
        self.assertNotIn("b", [each["key"] for each in self.hits("dog ball")])

    def test_what_comes_back_after_a_restart_is_shown_under_its_own_id(self):
        self.begin()
        self.store_all()
        self.ask("forget", key="b")
        self.ask("close")
        self.assertTrue(self.engine.closed)
        self.open()
        self.assertEqual([each["key"] for each in self.hits("cat mat", 1)], ["a"])
        self.assertEqual([each["key"] for each in self.hits("dog ball", 1)], ["mem_1"])

    def test_all_its_files_lie_in_the_folder_and_nothing_else_is_asked(self):
        self.begin()
        self.assertEqual(Path.cwd(), self.data)
        places = [value for name, value in self.engine.environment.items()
                  if name.startswith("HAIM_") and name.endswith(("_DIR", "_FILE"))]  # fmt: skip
        self.assertEqual(len(places), 6)
        for place in places:
            self.assertTrue(place.startswith(str(self.data)), place)
        self.assertEqual(self.engine.environment["HAIM_QDRANT_URL"], "http://127.0.0.1:9")

    def test_as_shipped_no_threshold_is_set(self):
        self.begin("shipped")
        self.assertNotIn("HAIM_TIERS_HOT_LTP_THRESHOLD_MIN", self.engine.environment)

    def test_a_second_open_meets_neither_settings_nor_index_of_the_first(self):
        self.begin()
        self.assertIsNone(sys.modules["mnemocore.core.hnsw_index"].HNSWIndexManager._instance)
        self.ask("close")
        self.open()
        self.assertEqual(len(sys.modules["mnemocore.core.config"].calls), 2)

    def test_a_failure_of_the_engine_is_told(self):
        self.begin()
        with self.assertRaisesRegex(ValueError, "no such thing"):
            self.hits("fail")

    def test_without_a_checkout_it_says_what_to_set(self):
        self.begin()
        for value in ("", str(self.data)):
            os.environ["MNEMO_ORIGINAL"] = value
            fresh = protocol._Loop(self.module.Original("shipped"), [], None)
            with self.assertRaisesRegex(FileNotFoundError, "MNEMO_ORIGINAL"):
                fresh._perform({"id": 1, "op": "hello"})


def forget_modules():
    for name in [each for each in sys.modules if each.partition(".")[0] == "mnemocore"]:
        del sys.modules[name]


if __name__ == "__main__":
    unittest.main()
