"""The driver's keys must outlive a restart, whatever was forgotten meanwhile."""

import tempfile
import unittest
from pathlib import Path

import stubs  # noqa: F401  puts the adapters on the path

from common.keys import Keys


class KeysTest(unittest.TestCase):
    def test_both_directions_survive_a_restart(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "keys.jsonl")
            keys = Keys(file)
            keys.add("id1", 'ä\n"b"')
            keys.add("id2", "c")
            keys.remove("id2")
            keys.add("id3", "c")
            keys.close()
            for again in (Keys(file), Keys(file)):
                self.assertEqual(again.key("id1"), 'ä\n"b"')
                self.assertEqual(again.identifier('ä\n"b"'), "id1")
                self.assertIsNone(again.key("id2"))
                self.assertEqual(again.identifier("c"), "id3")
                again.close()

    def test_forgetting_an_old_id_keeps_the_new_one_of_the_same_key(self):
        keys = Keys(None)
        keys.add("old", "key")
        keys.add("new", "key")
        keys.remove("old")
        self.assertEqual(keys.identifier("key"), "new")
        keys.remove("never there")


if __name__ == "__main__":
    unittest.main()
