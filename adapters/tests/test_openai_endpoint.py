"""The embedder as an OpenAI client sees it."""

import base64
import http.client
import json
import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common import embed, openai_endpoint, server  # noqa: E402


class Endpoint(unittest.TestCase):
    def setUp(self):
        self.embedder = embed.load("hash")
        self.endpoint = openai_endpoint.Endpoint(self.embedder)
        self.addCleanup(self.endpoint.close)

    def ask(self, body, path="/v1/embeddings"):
        connection = http.client.HTTPConnection("127.0.0.1", self.endpoint.port)
        self.addCleanup(connection.close)
        connection.request("POST", path, body if isinstance(body, str) else json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def test_floats_and_base64_say_the_same_in_the_order_asked(self):
        texts = ["one text", "another"]
        status, floats = self.ask({"input": texts})
        self.assertEqual(status, 200)
        self.assertEqual([each["index"] for each in floats["data"]], [0, 1])
        self.assertEqual([each["embedding"] for each in floats["data"]], self.embedder.embed(texts))
        _, coded = self.ask({"input": texts[1], "encoding_format": "base64"})
        unpacked = struct.unpack("<384f", base64.b64decode(coded["data"][0]["embedding"]))
        for one, other in zip(unpacked, floats["data"][1]["embedding"]):
            self.assertAlmostEqual(one, other, places=6)

    def test_what_is_no_request_is_refused_and_survived(self):
        for body in ("no JSON", {}, {"input": 3}, {"input": [1, 2]}, [1],
                     {"input": "x", "encoding_format": "int8"}):  # fmt: skip
            status, answer = self.ask(body)
            self.assertEqual(status, 400, body)
            self.assertIn("message", answer["error"])
        self.assertEqual(self.ask({"input": "x"}, "/v1/models")[0], 404)
        self.assertEqual(self.ask({"input": "x"})[0], 200)

    def test_a_connection_ends_with_its_answer_and_the_port_with_close(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.endpoint.port, timeout=10)
        self.addCleanup(connection.close)
        connection.request("POST", "/v1/embeddings", json.dumps({"input": "x"}))
        socket = connection.sock.dup()
        self.addCleanup(socket.close)
        connection.getresponse().read()
        self.assertEqual(socket.recv(1), b"")
        self.endpoint.close()
        self.assertFalse(server.accepts(self.endpoint.port))


if __name__ == "__main__":
    unittest.main()
