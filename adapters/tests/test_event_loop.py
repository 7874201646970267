"""Asynchronous work and the threads that wait for it."""

import asyncio
import contextvars
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from common.event_loop import EventLoop  # noqa: E402

number = contextvars.ContextVar("number")


class Loop(unittest.TestCase):
    def setUp(self):
        self.loop = EventLoop()

    def test_calls_overlap_and_each_keeps_the_context_of_its_caller(self):
        self.addCleanup(self.loop.close)
        meeting = asyncio.Barrier(3)

        async def work():
            await asyncio.wait_for(meeting.wait(), 30)  # All three, or nobody goes on.
            (inner,) = await asyncio.gather(self.told())
            return inner

        def call(value):
            number.set(value)
            return self.loop.run(work())

        with ThreadPoolExecutor(3) as pool:
            self.assertEqual(list(pool.map(call, range(3))), [0, 1, 2])

    async def told(self):
        return number.get()

    def test_what_fails_fails_at_the_caller(self):
        self.addCleanup(self.loop.close)

        async def work():
            raise KeyError("missing")

        with self.assertRaises(KeyError):
            self.loop.run(work())

    def test_close_ends_what_runs_in_the_background(self):
        ended = []

        async def forever():
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(True)

        async def start():
            self.task = asyncio.create_task(forever())
            await asyncio.sleep(0)

        self.loop.run(start())
        self.loop.close()
        self.assertEqual(ended, [True])
        self.assertFalse(self.loop._thread.is_alive())


if __name__ == "__main__":
    unittest.main()
