"""The hash embedder must give the same vector everywhere, or runs can't be compared."""

import math
import subprocess
import sys
import unittest
from pathlib import Path

ADAPTERS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ADAPTERS))

from common import embed  # noqa: E402

TEXT = "The cat sat; the CAT slept."


def cosine(first: str, second: str) -> float:
    one, two = embed.Hash().embed([first, second])
    return sum(x * y for x, y in zip(one, two))


class Hash(unittest.TestCase):
    def test_a_frozen_vector(self):
        vector = embed.Hash().embed_one(TEXT)
        found = {place: round(value, 6) for place, value in enumerate(vector) if value}
        self.assertEqual(found, FROZEN)

    def test_another_process_gives_the_same(self):
        program = (
            f"import sys; sys.path.insert(0, {str(ADAPTERS)!r}); from common import embed;"
            f"print(embed.Hash().embed_one({TEXT!r}))"
        )
        other = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        self.assertEqual(other.stdout.strip(), str(embed.Hash().embed_one(TEXT)))

    def test_every_vector_has_unit_length(self):
        for text in ("", "...", "one", TEXT, "word " * 1000, "Äpfel 漢字 кот"):
            vector = embed.Hash().embed_one(text)
            self.assertEqual(len(vector), embed.DIMENSIONS)
            self.assertAlmostEqual(math.hypot(*vector), 1.0, places=9)

    def test_case_and_punctuation_do_not_count(self):
        self.assertAlmostEqual(cosine(TEXT, "the cat sat the cat slept"), 1.0)

    def test_shared_words_are_nearer_than_none_and_word_order_counts(self):
        query = "where does the red bicycle stand"
        near = cosine(query, "the red bicycle stands in the yard")
        self.assertGreater(near, cosine(query, "bicycle red the yard in stands the"))
        self.assertGreater(near, cosine(query, "she plays chess on Sundays"))

    def test_the_observer_is_told_of_every_call(self):
        told = []
        self.addCleanup(embed.on_embedded, None)
        embed.on_embedded(lambda elapsed_ns, texts: told.append((elapsed_ns, list(texts))))
        embed.Hash().embed(["a", "b"])
        self.assertEqual(told[0][1], ["a", "b"])
        self.assertGreater(told[0][0], 0)

    def test_an_unknown_name_is_a_key_error(self):
        with self.assertRaises(KeyError):
            embed.load("nonsense")


FROZEN = {
    51: -0.58346,
    55: 0.29173,
    64: 0.145865,
    88: -0.29173,
    210: -0.29173,
    222: -0.58346,
    280: 0.145865,
    372: -0.145865,
}


if __name__ == "__main__":
    unittest.main()
