"""The plain references: SQL and what is made of its rows."""

import array
import re
import sqlite3
import unittest
from unittest import mock

import stubs


class SqliteVec(stubs.AdapterTest):
    """Against SQLite itself, with a table and a function in the extension's place."""

    def setUp(self):
        module = stubs.adapter("sqlite_vec")
        extension = {
            "serialize_float32": lambda vector: array.array("f", vector).tobytes(),
            "load": self.load,
        }
        self.start(
            module.SqliteVec(),
            stubs.modules(sqlite_vec=extension),
            mock.patch.object(module, "installed", lambda package: "1"),
            mock.patch.object(module.sqlite3, "connect", self.connect),
            # The same columns and the same nearest-first answer without the extension.
            mock.patch.object(
                module, "SCHEMA",
                "CREATE TABLE IF NOT EXISTS memories "
                # Nor does the extension take an integer for its FLOAT.
                "(key TEXT PRIMARY KEY, embedding BLOB, text, "
                "time CHECK (typeof(time) IN ('real', 'null')))",
            ),
            mock.patch.object(
                module, "RECALL",
                "SELECT key, distance(embedding, ?) AS d FROM memories ORDER BY d LIMIT ?",
            ),
        )  # fmt: skip
        self.open()

    @staticmethod
    def load(connection):
        def distance(one, two):
            pairs = zip(array.array("f", one), array.array("f", two))
            return 1.0 - sum(x * y for x, y in pairs)

        connection.create_function("distance", 2, distance)

    @staticmethod
    def connect(*arguments, real=sqlite3.connect, **options):
        # Not every Python's connections can load extensions.
        class Connection(sqlite3.Connection):
            def enable_load_extension(self, _):
                pass

        return real(*arguments, **options, factory=Connection)

    def test_the_nearest_comes_first_and_keeps_its_key(self):
        self.assert_times(self.store("cat", "the grey cat sleeps", time=1.0))
        self.store("dog", "a dog barks")
        answer = self.ask("recall", query="the cat sleeps", k=2)
        self.assert_times(answer)
        self.assertEqual([hit["key"] for hit in answer["hits"]], ["cat", "dog"])
        self.assertGreater(answer["hits"][0]["score"], 0.7)
        self.assertEqual(len(self.hits("the cat sleeps", k=1)), 1)

    def test_a_time_in_whole_seconds_is_stored(self):
        self.store("cat", "the grey cat sleeps", time=1_683_000_000)
        self.assertEqual(self.ask("stats")["memories"], 1)

    def test_it_forgets_once_and_counts(self):
        self.store("cat", "the grey cat sleeps")
        self.store("dog", "a dog barks")
        self.assertTrue(self.ask("forget", key="cat")["forgotten"])
        self.assertFalse(self.ask("forget", key="cat")["forgotten"])
        self.assertEqual(self.ask("stats")["memories"], 1)

    def test_what_was_stored_is_there_after_a_restart(self):
        self.store("cat", "the grey cat sleeps")
        self.ask("close")
        self.open()
        self.assertEqual([hit["key"] for hit in self.hits("cat")], ["cat"])

    def test_a_stored_memory_is_synced(self):
        with self.adapter.pool.connection() as connection:
            self.assertEqual(connection.execute("PRAGMA synchronous").fetchone()[0], 2)
            self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone()[0], "wal")


class Connection:
    """A psycopg connection that notes what it is told."""

    told: list = []
    rows: list = []

    def __init__(self, *_, **options):
        self.options = options

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def execute(self, statement, parameters=None):
        # As psycopg: every placeholder needs its value.
        named = set(re.findall(r"%\((\w+)\)s", statement))
        count = len(named) or statement.count("%s")
        if count != len(parameters or ()) or (named and named != set(parameters)):
            raise TypeError(f"{statement!r} with {parameters!r}")
        self.told.append((statement, parameters))
        return mock.Mock(
            fetchall=lambda: self.rows, fetchone=lambda: self.rows[0], rowcount=len(self.rows)
        )

    def close(self):
        self.told.append(("close", None))


class PgVector(stubs.AdapterTest):
    def begin(self, index):
        Connection.told, Connection.rows = [], []
        self.server = mock.Mock()
        self.server.processes.return_value = [17]
        module = stubs.adapter("pgvector")
        self.module = module
        self.start(
            module.PgVector(index),
            stubs.modules(
                psycopg={"connect": Connection, "Connection": Connection},
                pgvector={"Vector": tuple},
                pgvector__psycopg={"register_vector": lambda connection: None},
            ),
            mock.patch.object(module.postgres, "Postgres", lambda folder: self.server),
            mock.patch.object(module.postgres, "version", lambda: "18"),
            mock.patch.object(module.postgres, "extension_version", lambda name: "0.8"),
        )
        return self.open()

    def statements(self):
        return " ".join(statement for statement, _ in Connection.told)

    def test_each_variant_makes_its_own_index(self):
        for index, expected in (
            ("hnsw", "(embedding vector_cosine_ops)"),
            ("bits", "((binary_quantize(embedding)::bit(384)) bit_hamming_ops)"),
        ):
            self.begin(index)
            self.assertIn(expected, self.statements())
        self.begin("exact")
        self.assertNotIn("INDEX", self.statements())

    def test_rows_become_hits_in_order(self):
        for index in ("hnsw", "bits", "exact"):
            self.begin(index)
            Connection.rows = [("b", 0.9), ("a", 0.1)]
            answer = self.ask("recall", query="what", k=2)
            self.assert_times(answer)
            self.assertEqual(
                answer["hits"], [{"key": "b", "score": 0.9}, {"key": "a", "score": 0.1}]
            )
            statement, parameters = Connection.told[-1]
            self.assertEqual(parameters["k"], 2)
            self.assertEqual("<~>" in statement, index == "bits")

    def test_a_memory_is_one_row(self):
        self.begin("hnsw")
        self.assert_times(self.store("a", "first", time=5.0))
        statement, parameters = Connection.told[-1]
        self.assertTrue(statement.startswith("INSERT INTO memories"))
        self.assertEqual(parameters[:3], ("a", "first", 5.0))
        self.assertEqual(len(parameters[3]), 384)

    def test_forget_tells_whether_a_row_was_there(self):
        self.begin("hnsw")
        self.assertFalse(self.ask("forget", key="a")["forgotten"])
        Connection.rows = [("a",)]
        self.assertTrue(self.ask("forget", key="a")["forgotten"])

    def test_the_servers_processes_are_told(self):
        self.assertEqual(self.begin("hnsw")["processes"], [17])

    def test_close_closes_the_connections_before_the_server(self):
        self.begin("hnsw")
        self.server.stop.side_effect = lambda: Connection.told.append(("stop", None))
        self.ask("close")
        told = [statement for statement, _ in Connection.told]
        self.assertEqual(told[-1], "stop")
        self.assertEqual(told[-11:-1], ["close"] * 10)

    def test_a_failed_open_stops_the_server(self):
        with mock.patch.object(Connection, "execute", side_effect=RuntimeError("no extension")):
            with self.assertRaisesRegex(RuntimeError, "no extension"):
                self.begin("hnsw")
        self.server.stop.assert_called_once()


if __name__ == "__main__":
    unittest.main()
