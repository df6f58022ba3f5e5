"""The Python of the documentation, run as it stands by a new user on an empty home."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# CONTRIBUTING's knob is tried by test_docs.py.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(<!-- not run: .+ -->\n)?^```python\n(.*?)^```$", re.S | re.M)


def program(page: Path) -> str:
    """The blocks of a page in their order, but for those that a comment exempts with its reason."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return "\n".join(block for exempted, block in found if not exempted)


WITH_PYTHON = [page for page in PAGES if program(page)]


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A working folder, and an environment whose home the pages share: later ones reuse trials."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("project")
    names = ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "HF_HOME")
    places = {name: str(home / name.lower()) for name in names}
    # A thread each: several spin for each other where the machine is busy.
    return folder, os.environ | places | {"OMP_NUM_THREADS": "1"}


def test_there_are_pages_with_python():
    names = {page.relative_to(ROOT).as_posix() for page in WITH_PYTHON}
    assert {"README.md", "docs/quickstart.md", "docs/python-api.md"} <= names


@pytest.mark.heavy
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_the_python_of_a_page_runs_as_it_stands(page, at_home):
    folder, environment = at_home
    run = subprocess.run(
        [sys.executable, "-c", program(page)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
