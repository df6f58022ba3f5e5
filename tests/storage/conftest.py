from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import storage
from search_space.budget import Budget
from search_space.config import Config
from search_space.hardware.machine import Machine
from search_space.trial import Failure, FailureKind, Measurement, Peak, Trial
from search_space.workload import Workload
from storage import Store
from tests.storage.versions import VERSION_1, store_of

GIB = 2**30


@pytest.fixture
def machine() -> Machine:
    return Machine(
        device="cuda:0",
        device_name="NVIDIA H200",
        device_bytes=141 * GIB,
        host_bytes=128 * GIB,
        cores=16,
        system="Linux",
        native_dtypes=("float32", "bfloat16"),
        packages={"torch": "2.10.0", "diffusers": "0.42.1"},
    )


@pytest.fixture
def workload() -> Workload:
    return Workload("sd-legacy/stable-diffusion-v1-5", "b2:0f", 512, 512, None, 30, 2, 7.5)


@pytest.fixture
def space() -> dict[str, list[str]]:
    return {"dtype": ["float32", "bfloat16"], "compile": ["off", "default"]}


@pytest.fixture
def measured_trial() -> Trial:
    measurement = Measurement(
        seconds={"load": (1 / 3,), "first_call": (80.1,), "steady": (4.73, 0.1 + 0.2, 4.7)},
        peaks=(
            Peak("host", "load", "rss", 3 * GIB),
            Peak("device", "denoise", "allocator", 2**40 + 1),
            Peak("device", "decode", "allocator", 5 * GIB),
        ),
        fidelity={"psnr_db": 41.7},
    )
    return Trial(Config({"dtype": "bfloat16"}), measurement, 91.25, "2026-01-31T12:00:00+00:00")


@pytest.fixture
def failed_trial() -> Trial:
    failure = Failure(FailureKind.CRASH, "the process died: 💥", "compile", "log\nend", 7 * GIB)
    return Trial(Config({"compile": "default"}), failure, 12.5, "2026-01-31T12:05:00+00:00")


def url_of(request: pytest.FixtureRequest, kind: str, folder: Path) -> str:
    if kind == "memory":
        return "sqlite://"
    if kind == "file":
        return f"sqlite:///{folder}/history.db"
    url: str = request.getfixturevalue("postgresql")
    return url


@pytest.fixture(params=["memory", "file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request, request.param, tmp_path)


@pytest.fixture(params=["file", "postgresql"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that several processes can open."""
    return url_of(request, request.param, tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as opened:
        yield opened


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that others can enter, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def full_store(public_folder, machine, workload, space, measured_trial) -> Path:
    path = public_folder / "history.db"
    with Store(str(path)) as store:
        store.add(store.open_study(machine, workload, Budget(), space), measured_trial)
    return path


@pytest.fixture
def first_store(tmp_path: Path) -> Path:
    """A store as the first version left it, with three trials."""
    return store_of(VERSION_1, tmp_path)


@pytest.fixture
def run_child() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python code in a process of its own, which a test may kill or starve."""

    def run(
        code: str, *arguments: str, within: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        root = str(Path(storage.__file__).parents[1])
        return subprocess.run(
            [*within, sys.executable, "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def leave_half_done(run_child: Callable[..., object]) -> Callable[[Path], None]:
    """Kills a process in a transaction whose half is in the file and has to be rolled back."""
    code = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = DELETE")
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
rows = [(str(number), "x" * 1000) for number in range(1000)]
connection.executemany("INSERT INTO config (fingerprint, choices) VALUES (?, ?)", rows)
os.kill(os.getpid(), signal.SIGKILL)
"""

    def leave(path: Path) -> None:
        run_child(code, str(path))
        assert path.with_name(f"{path.name}-journal").stat().st_size > 0

    return leave
