"""What goes to Letta's server and what is made of its answers, against a server that stands in."""

import json
import os
import sys
import unittest
from pathlib import Path
from unittest import mock

import stubs
from test_server import gone

TEXTS = {"a": "the cat sat on a mat", "b": "a dog chased the ball", "c": "rain fell all night"}


class Letta(stubs.AdapterTest):
    def begin(self, kind):
        module = stubs.adapter("letta")
        self.start(module.Letta(kind))
        self.environment = self.folder / "environment"
        site = self.environment / "lib/python3.11/site-packages"
        for name in ("letta", "sqlite_vec"):
            (site / f"{name}-9.9.dist-info").mkdir(parents=True)
            (site / f"{name}-9.9.dist-info/METADATA").write_text(f"Name: {name}\nVersion: 9.9\n")
        (self.environment / "bin").mkdir()
        (self.environment / "bin/python").symlink_to(sys.executable)
        (self.folder / "serve.py").symlink_to(Path(__file__).parent / "letta_server.py")
        self.adapter.environment = self.environment
        self.database = mock.Mock(**{"processes.return_value": [], "uri.return_value": "uri"})
        for patch in (
            mock.patch.object(module, "HERE", self.folder),
            mock.patch.object(module.postgres, "Postgres", lambda folder: self.database),
            mock.patch.object(module.postgres, "version", lambda: "18"),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.home = self.folder / "home"
        self.home.mkdir()
        if kind == "sqlite":
            (self.home / "without_ids").touch()
        return self.open()

    def requests(self, method):
        lines = (self.home / "requests").read_text().splitlines()
        return [each[1:] for each in map(json.loads, lines) if each[0] == method]

    def store_all(self):
        return [self.store(key, text, 1e9) for key, text in TEXTS.items()]

    def test_hello_names_the_version_in_the_servers_environment(self):
        self.begin("postgres")
        about = self.ask("hello")
        self.assertEqual(about["version"], "9.9")
        self.assertEqual(about["clients"], 10)

    def test_the_agent_is_made_without_tools_and_embeds_at_our_endpoint(self):
        opened = self.begin("postgres")
        self.assertEqual(len(opened["processes"]), 1)
        ((path, _, agent),) = self.requests("POST")
        self.assertEqual(path, "/v1/agents/")
        self.assertIs(agent["include_base_tools"], False)
        self.assertEqual(agent["embedding_config"]["embedding_dim"], 384)
        self.assertRegex(
            agent["embedding_config"]["embedding_endpoint"], r"^http://127\.0\.0\.1:\d+/v1$"
        )

    def test_ids_become_our_keys_in_the_order_of_the_server(self):
        self.begin("postgres")
        for answer in self.store_all():
            self.assert_times(answer)
        self.assertEqual(self.hits("the dog and its ball", 2)[0], {"key": "b"})
        self.assertEqual(len(self.hits("cat mat", 2)), 2)
        self.assertEqual(self.ask("stats")["memories"], 3)
        inserted = self.requests("POST")[1][2]
        self.assertEqual(inserted, {"text": TEXTS["a"], "created_at": "2001-09-09T01:46:40+00:00"})

    def test_without_ids_hits_are_texts_and_no_time_is_sent(self):
        self.begin("sqlite")
        self.store_all()
        self.assertEqual(self.hits("the dog and its ball")[0], {"text": TEXTS["b"]})
        self.assertEqual(self.requests("POST")[1][2], {"text": TEXTS["a"]})

    def test_a_text_is_told_as_it_was_stored_though_the_server_strips_it(self):
        self.begin("sqlite")
        self.store("a", " a dog and its ball ")
        self.assertEqual(self.hits("dog and ball"), [{"text": " a dog and its ball "}])
        self.ask("close")
        self.open()
        self.assertEqual(self.hits("dog and ball"), [{"text": " a dog and its ball "}])

    def test_what_is_forgotten_is_deleted_by_its_id(self):
        self.begin("postgres")
        self.store_all()
        self.assertTrue(self.ask("forget", key="b")["forgotten"])
        self.assertFalse(self.ask("forget", key="b")["forgotten"])
        self.assertFalse(self.ask("forget", key="never")["forgotten"])
        (deleted,) = self.requests("DELETE")
        self.assertEqual(deleted[0], "/v1/agents/agent-1/archival-memory/passage-1")
        self.assertNotIn({"key": "b"}, self.hits("the dog and its ball"))

    def test_a_refusal_is_told_with_status_and_words(self):
        self.begin("postgres")
        with self.assertRaisesRegex(Exception, "POST .*: 400 .*no"):
            self.store("a", "refuse this")
        self.assert_times(self.store("b", TEXTS["b"]))

    def test_a_restart_finds_agent_and_keys_and_tells_the_new_endpoint(self):
        self.begin("postgres")
        self.store_all()
        self.ask("close")
        self.open()
        self.assertEqual(len([each for each in self.requests("POST") if each[0] == "/v1/agents/"]), 1)
        ((path, _, change),) = self.requests("PATCH")
        self.assertEqual(path, "/v1/agents/agent-1")
        self.assertIn("embedding_endpoint", change["embedding_config"])
        self.assertEqual(self.hits("cat on a mat", 1), [{"key": "a"}])

    def test_close_ends_server_then_database_and_leaves_no_log(self):
        opened = self.begin("postgres")
        self.ask("close")
        for pid in opened["processes"]:
            self.assertTrue(gone(pid))
        self.database.stop.assert_called_once_with()
        self.assertFalse((self.folder / "run").exists())

    def test_the_server_sees_nothing_of_the_users_and_no_internet(self):
        with mock.patch.dict(os.environ, {"SECRET": "x", "HOME": "/elsewhere"}):
            found = stubs.adapter("letta").settings(self.empty(), "http://127.0.0.1:1/v1")
        self.assertNotIn("SECRET", found)
        self.assertTrue(found["HOME"].startswith(str(self.folder)))
        self.assertEqual(found["https_proxy"], "http://127.0.0.1:9")

    def empty(self):
        self.start(mock.Mock())
        return self.folder

    def test_counting_goes_through_all_pages(self):
        self.begin("postgres")
        self.store_all()
        for page in (1, 2, 3, 4):
            self.assertEqual(self.adapter.archive.count(page), 3)


if __name__ == "__main__":
    unittest.main()
