"""Loads adapters beside stubs of their libraries, so that their tests need neither."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import types
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

ADAPTERS = Path(__file__).resolve().parent.parent
if str(ADAPTERS) not in sys.path:
    sys.path.insert(0, str(ADAPTERS))

from common import embed, protocol  # noqa: E402


def adapter(folder: str) -> types.ModuleType:
    """`adapters/<folder>/adapter.py` as a module of its own, which finds those beside it."""
    if str(ADAPTERS / folder) not in sys.path:
        sys.path.insert(0, str(ADAPTERS / folder))
    spec = importlib.util.spec_from_file_location(
        f"adapter_{folder}", ADAPTERS / folder / "adapter.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def modules(**contents: Any) -> Any:
    """Puts modules into `sys.modules` for a while. A name's dots are written as `__`; each
    value is a dict of what the module holds."""
    made = {}
    for name, held in contents.items():
        module = types.ModuleType(name.replace("__", "."))
        module.__dict__.update(held)
        # An empty path makes it a package, so that modules below it can be imported.
        module.__path__ = []
        made[module.__name__] = module
    return mock.patch.dict(sys.modules, made)


class AdapterTest(unittest.TestCase):
    """Drives an adapter through the loop's own dispatch, without pipes."""

    def start(self, adapter: protocol.Adapter, *patches: Any) -> None:
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.adapter = adapter
        self.loop = protocol._Loop(adapter, [], None)
        self.addCleanup(embed.on_embedded, None)
        embed.on_embedded(self.loop.calls.charge)
        self.addCleanup(lambda loop=self.loop: loop.is_open and loop._close({}))

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        return self.loop._perform({"id": 1, "op": op, **fields})

    def open(self) -> dict[str, Any]:
        return self.ask("open", folder=str(self.folder), embedder="hash", memories=3)

    def store(self, key: str, text: str, time: float | None = None) -> dict[str, Any]:
        return self.ask("store", key=key, text=text, time=time)

    def hits(self, query: str, k: int = 5) -> list[dict[str, Any]]:
        return self.ask("recall", query=query, k=k)["hits"]

    def assert_times(self, answer: dict[str, Any]) -> None:
        """That embedding was noticed, and is part of the whole."""
        self.assertGreater(answer["embed_ns"], 0)
        self.assertGreater(answer["total_ns"], answer["embed_ns"])
