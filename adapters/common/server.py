"""A server that an adapter starts on loopback and that can't outlive it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Who to be instead of root: the user that is nobody everywhere.
NOBODY = 65534


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port: int) -> bool:
    """Whether somebody takes connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def unprivileged(command: Sequence[str]) -> list[str]:
    """The command as a user who is not root, for servers that refuse root. It keeps the one
    right to reach its files where only root may (a private temporary folder, a checkout in
    root's home). Unchanged for who is not root anyway."""
    if os.geteuid() != 0:
        return list(command)
    right = "-all,+dac_override"
    return [_setpriv(), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
            f"--inh-caps={right}", f"--ambient-caps={right}", "--", *command]  # fmt: skip


def _setpriv() -> str:
    found = shutil.which("setpriv")
    if found is None:
        raise FileNotFoundError("setpriv (of util-linux) is needed to start a server")
    return found


class Server:
    """A child in the adapter's process group; the kernel kills it when the adapter ends, by
    SIGKILL as well. Start it on the main thread: it dies with the *thread* that started it.
    What it prints goes to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        as_nobody: bool = False,
    ) -> None:
        self.log = log
        # The signal is asked for last: a change of user would forget it.
        lasting = [_setpriv(), "--pdeathsig", "KILL", "--", *command]
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(open(log, "ab")) if log is not None else None
            self.process = subprocess.Popen(
                unprivileged(lasting) if as_nobody else lasting,
                cwd=folder,
                env=dict(environment) if environment is not None else None,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT if out is not None else None,
            )

    def wait(self, ready: Callable[[], bool], seconds: float) -> None:
        """Until `ready()` is true; what it raises means not yet."""
        deadline = time.monotonic() + seconds
        reason = ""
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"server ended with {self.process.returncode} before it was ready{self._tail()}"
                )
            try:
                if ready():
                    return
            except Exception as error:
                reason = f" ({type(error).__name__}: {error})"
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"server not ready after {seconds:.0f} s{reason}{self._tail()}"
                )
            time.sleep(0.02)

    def processes(self) -> list[int]:
        """The server and its descendants."""
        return descendants(self.process.pid) if self.process.poll() is None else []

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15.0) -> None:
        """Asks it to end and kills it, with its descendants, if it does not in time."""
        if self.process.poll() is not None:
            return
        family = descendants(self.process.pid)
        self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def _tail(self) -> str:
        if self.log is None or not self.log.exists():
            return ""
        return ": " + self.log.read_text(errors="replace")[-2000:]


def descendants(pid: int) -> list[int]:
    """The process and all below it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                # The name in parentheses may hold anything: read behind the last one.
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for each in found:
        found.extend(children.get(each, []))
    return found
