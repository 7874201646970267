"""What goes to LangMem's tools and what is made of their answers."""

import json
import os
import unittest
from unittest import mock

import stubs

ID = "00000000-0000-0000-0000-00000000000{}"


class Library:
    """LangMem's two tools and a store, as far as the adapter uses them."""

    def __init__(self, case):
        self.stored, self.case, self.index, self.answer = {}, case, None, None

    def modules(self):
        tools = {
            "create_manage_memory_tool": lambda namespace, store: self.tool(self.manage),
            "create_search_memory_tool": lambda namespace, store: self.tool(self.search),
        }
        return stubs.modules(
            langmem=tools,
            langgraph={},
            langgraph__store={},
            langgraph__store__memory={"InMemoryStore": self.in_memory},
            langgraph__store__sqlite={"SqliteStore": mock.Mock(from_conn_string=self.sqlite)},
        )

    def tool(self, function):
        return mock.Mock(invoke=function)

    def in_memory(self, index):
        self.index = index

    def sqlite(self, file, index):
        self.file, self.index = file, index
        return mock.MagicMock()

    def manage(self, request):
        if self.answer is not None:
            return self.answer
        if request["action"] == "delete":
            del self.stored[request["id"]]
            return f"Deleted memory {request['id']}"
        self.case.assertEqual(set(request), {"action", "content"})
        self.index["embed"]([request["content"]])
        identifier = ID.format(len(self.stored))
        self.stored[identifier] = request["content"]
        return f"created memory {identifier}"

    def search(self, request):
        self.asked = request
        self.index["embed"]([request["query"]])
        found = [
            {"namespace": ["memories"], "key": key, "value": {"content": text}, "score": score}
            for key, text, score in zip(self.stored, self.stored.values(), (0.9, 0.5, None))
        ]
        return json.dumps(found)


class LangMem(stubs.AdapterTest):
    def begin(self, kind):
        self.library = Library(self)
        module = stubs.adapter("langmem")
        self.start(
            module.LangMem(kind),
            self.library.modules(),
            mock.patch.object(module, "installed", lambda package: "1"),
            mock.patch.dict(os.environ),
        )
        self.open()

    def test_ids_of_the_tool_become_our_keys_in_its_order(self):
        self.begin("memory")
        self.assert_times(self.store("a", "first"))
        self.store("b", "second", time=5.0)
        self.store("c", "third")
        self.assertEqual(
            self.hits("what", k=3),
            [{"key": "a", "score": 0.9}, {"key": "b", "score": 0.5}, {"key": "c"}],
        )
        self.assertEqual(self.library.asked, {"query": "what", "limit": 3})

    def test_an_id_that_was_never_told_comes_back_as_text(self):
        self.begin("memory")
        self.library.stored[ID.format(7)] = "somebody else's"
        self.assertEqual(self.hits("what"), [{"text": "somebody else's", "score": 0.9}])

    def test_forget_deletes_by_id_and_once(self):
        self.begin("memory")
        self.store("a", "first")
        self.assertTrue(self.ask("forget", key="a")["forgotten"])
        self.assertEqual(self.library.stored, {})
        self.assertFalse(self.ask("forget", key="a")["forgotten"])

    def test_ids_are_known_after_a_restart(self):
        self.begin("sqlite")
        self.assertEqual(self.library.file, str(self.folder / "memories.db"))
        self.store("a", "first")
        self.store("b", "second")
        self.ask("forget", key="a")
        self.ask("close")
        self.open()
        self.assertEqual(self.hits("what"), [{"key": "b", "score": 0.9}])
        self.assertFalse(self.ask("forget", key="a")["forgotten"])

    def test_an_answer_that_is_no_id_is_a_failure(self):
        self.begin("memory")
        self.library.answer = "error: store is down"
        with self.assertRaisesRegex(RuntimeError, "store is down"):
            self.store("a", "first")

    def test_only_the_store_on_disk_promises_a_restart(self):
        self.begin("memory")
        self.assertNotIn("restart", self.ask("hello", protocol=1)["capabilities"])
        self.begin("sqlite")
        self.assertIn("restart", self.ask("hello", protocol=1)["capabilities"])

    def test_nothing_is_traced_to_a_service(self):
        self.begin("memory")
        self.assertEqual(os.environ["LANGSMITH_TRACING"], "false")


if __name__ == "__main__":
    unittest.main()
