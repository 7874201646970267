"""Graphiti with our embedder and no language model."""

from __future__ import annotations

from typing import Any

from common.embed import Embedder
from graphiti_core import Graphiti
from graphiti_core.cross_encoder.client import CrossEncoderClient
from graphiti_core.embedder.client import EmbedderClient
from graphiti_core.llm_client.client import LLMClient
from graphiti_core.llm_client.config import LLMConfig


def without_models(driver: Any, embedder: Embedder) -> Graphiti:
    return Graphiti(
        graph_driver=driver,
        embedder=Offline(embedder),
        llm_client=NoModel(LLMConfig(api_key="none")),
        cross_encoder=NoReranker(),
    )


class Offline(EmbedderClient):
    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def create(self, input_data: Any) -> list[float]:
        text = input_data if isinstance(input_data, str) else input_data[0]
        return self._embedder.embed_one(text)

    async def create_batch(self, input_data_list: list[str]) -> list[list[float]]:
        return self._embedder.embed(input_data_list)


class NoModel(LLMClient):
    """Asking it is an error, so that no answer of a stand-in ever enters a result."""

    async def _generate_response(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise RuntimeError("no language model takes part in this comparison")


class NoReranker(CrossEncoderClient):
    async def rank(self, query: str, passages: list[str]) -> list[tuple[str, float]]:
        raise RuntimeError("no reranking model takes part in this comparison")
