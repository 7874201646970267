"""What goes to mem0 and what is made of its answers."""

import os
import unittest
from unittest import mock

import stubs


class Memory:
    """mem0's `Memory`, as far as the adapter uses it."""

    @classmethod
    def from_config(cls, config):
        cls.last = cls()
        cls.last.config = config
        # Read when the library is imported: too late afterwards.
        cls.last.environment = {
            name: os.environ.get(name) for name in ("MEM0_DIR", "MEM0_TELEMETRY")
        }
        cls.last.held = {}
        cls.last.vector_store = mock.Mock()
        return cls.last

    def add(self, text, user_id, metadata, infer):
        self.added = (user_id, metadata, infer)
        self.embedding_model.embed(text, "add")
        if text == "dropped":
            return {"results": []}
        identifier = f"id{len(self.held)}"
        self.held[identifier] = metadata
        return {"results": [{"id": identifier, "memory": text, "event": "ADD"}]}

    def search(self, query, filters, top_k, threshold):
        self.searched = (filters, top_k, threshold)
        self.embedding_model.embed_batch([query], "search")
        found = [{"id": each, "metadata": self.held[each], "score": 0.5} for each in self.held]
        return {"results": found[::-1]}

    def get_all(self, filters, top_k):
        found = [{"id": each} for each in self.held if self.held[each]["key"] == filters["key"]]
        return {"results": found[:top_k]}

    def delete(self, identifier):
        del self.held[identifier]

    def close(self):
        self.closed = True


class Mem0(stubs.AdapterTest):
    def setUp(self):
        module = stubs.adapter("mem0")
        self.start(
            module.Mem0("qdrant"),
            stubs.modules(mem0={"Memory": Memory}),
            mock.patch.object(module, "installed", lambda package: "1"),
            mock.patch.dict(os.environ),
        )
        self.open()

    def test_it_is_told_where_to_live_and_sends_nothing(self):
        self.assertEqual(
            Memory.last.environment,
            {"MEM0_DIR": str(self.folder / "mem0"), "MEM0_TELEMETRY": "False"},
        )
        config = Memory.last.config
        self.assertEqual(config["history_db_path"], str(self.folder / "history.db"))
        self.assertEqual(config["vector_store"]["provider"], "qdrant")
        self.assertEqual(config["vector_store"]["config"]["path"], str(self.folder / "qdrant"))
        self.assertEqual(config["vector_store"]["config"]["embedding_model_dims"], 384)

    def test_a_memory_is_stored_as_it_is_and_recalled_by_key_in_order(self):
        self.assert_times(self.store("a", "first", time=5.0))
        self.assertEqual(Memory.last.added, ("user", {"key": "a", "time": 5.0}, False))
        self.store("b", "second")
        answer = self.ask("recall", query="what", k=7)
        self.assert_times(answer)
        self.assertEqual(answer["hits"], [{"key": "b", "score": 0.5}, {"key": "a", "score": 0.5}])
        self.assertEqual(Memory.last.searched, ({"user_id": "user"}, 7, 0.0))

    def test_what_mem0_does_not_add_is_a_failure(self):
        with self.assertRaisesRegex(RuntimeError, "expected one ADD"):
            self.store("a", "dropped")

    def test_forget_deletes_by_its_id_and_once(self):
        self.store("a", "first")
        self.store("b", "second")
        self.assertTrue(self.ask("forget", key="a")["forgotten"])
        self.assertEqual(list(Memory.last.held), ["id1"])
        self.assertFalse(self.ask("forget", key="a")["forgotten"])

    def test_close_frees_the_vector_store(self):
        self.ask("close")
        self.assertTrue(Memory.last.closed)
        Memory.last.vector_store.client.close.assert_called_once()


if __name__ == "__main__":
    unittest.main()
