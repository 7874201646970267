"""A server must die with its adapter, however that ends."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ADAPTERS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ADAPTERS))

from common import server  # noqa: E402

LISTENER = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]


def gone(pid: int) -> bool:
    """Ended, or a zombie that waits for a parent which never asks."""
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


class Server(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_it_is_ready_when_wait_returns_and_gone_after_stop(self):
        port = server.free_port()
        child = server.Server([*LISTENER, str(port)], folder=self.folder, log=self.folder / "log")
        self.addCleanup(child.process.kill)
        child.wait(lambda: server.accepts(port), 30)
        self.assertTrue(server.accepts(port))
        self.assertEqual(child.processes()[0], child.process.pid)
        self.assertEqual(os.getpgid(child.process.pid), os.getpgid(0))
        child.stop()
        self.assertFalse(server.accepts(port))
        self.assertEqual(child.processes(), [])
        child.stop()  # Once more is no error.

    def test_a_server_that_ends_early_is_told_with_what_it_said(self):
        command = [sys.executable, "-c", "raise SystemExit('no such setting')"]
        child = server.Server(command, folder=self.folder, log=self.folder / "log")
        with self.assertRaisesRegex(RuntimeError, "no such setting"):
            child.wait(lambda: False, 30)

    def test_a_server_that_is_never_ready_is_told_with_what_went_wrong(self):
        child = server.Server(["sleep", "60"], folder=self.folder)
        self.addCleanup(child.stop)

        def ready():
            raise ModuleNotFoundError("no client")

        with self.assertRaisesRegex(TimeoutError, "ModuleNotFoundError: no client"):
            child.wait(ready, 0.1)

    def test_a_server_that_ignores_the_request_to_end_is_killed(self):
        command = ["sh", "-c", "trap '' TERM; sleep 60 & sleep 60"]
        child = server.Server(command, folder=self.folder)
        child.wait(lambda: len(child.processes()) == 3, 30)
        family = child.processes()
        child.stop(seconds=0.2)
        for pid in family:
            self.assertTrue(gone(pid))

    def test_it_dies_when_its_parent_is_killed(self):
        self.assert_dies_with_parent(as_nobody=False)

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_it_dies_when_its_parent_is_killed_as_another_user(self):
        self.assert_dies_with_parent(as_nobody=True)

    def assert_dies_with_parent(self, as_nobody: bool):
        program = (
            f"import sys, time; sys.path.insert(0, {str(ADAPTERS)!r})\n"
            "from pathlib import Path; from common.server import Server\n"
            f"child = Server(['sleep', '60'], folder=Path({str(self.folder)!r}),"
            f" as_nobody={as_nobody})\n"
            "child.wait(lambda: Path(f'/proc/{child.process.pid}/comm').read_text() =="
            " 'sleep\\n', 30)\n"
            "print(child.process.pid, flush=True); time.sleep(60)"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(parent.stdout.close)
        pid = int(parent.stdout.readline())
        if as_nobody:
            self.assertEqual(os.stat(f"/proc/{pid}").st_uid, server.NOBODY)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        self.assertTrue(gone(pid))

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_another_user_still_reaches_a_private_folder(self):
        self.folder.chmod(0o700)
        (self.folder / "secret").write_text("told")
        (self.folder / "secret").chmod(0o600)
        command = server.unprivileged(["cat", str(self.folder / "secret")])
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        self.assertEqual(told.stdout, "told")


if __name__ == "__main__":
    unittest.main()
