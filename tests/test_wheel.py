"""The wheel of ``python -m build`` holds all of our files and runs where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tuner import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("search_space", "storage", "tuner")
# What a clone has beside its own files: an earlier build would be packed again.
NOT_OURS = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
IMPORTED = """
import search_space, storage, tuner
for package in (search_space, storage, tuner):
    print(package.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, made by way of the source distribution."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    shutil.copytree(ROOT, source, ignore=NOT_OURS)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "made"]
    ended = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (made,) = (source / "made").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment that holds the wheel, and behind it what the tests run with."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, symlinks=os.name != "nt")
    places = {"base": str(folder), "platbase": str(folder)}
    scripts, ours = (
        Path(sysconfig.get_path(name, "venv", places)) for name in ("scripts", "purelib")
    )
    python = scripts / Path(sys.executable).name
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, "--quiet", str(wheel)], check=True, env=elsewhere())
    # Lines name folders that come after the environment's own. What makes an install editable lies
    # in .pth files of those folders, which Python does not read there.
    behind = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (ours / "behind.pth").write_text("\n".join(behind), encoding="utf-8")
    return scripts, python


def elsewhere():
    """The environment of a user who has never seen this checkout, which pip takes for installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def said(command, folder):
    """What a command prints to such a user."""
    return subprocess.check_output(list(map(str, command)), cwd=folder, env=elsewhere(), text=True)


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    written = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as packed:
        found = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert found == written


def test_the_wheel_answers_in_a_fresh_environment(installed, tmp_path):
    scripts, python = installed
    tune = scripts / "tune"
    assert said([tune, "--version"], tmp_path) == f"tune, version {__version__}\n"
    assert "Example: tune run" in said([tune, "--help"], tmp_path)
    files = said([python, "-c", IMPORTED], tmp_path).splitlines()
    assert [Path(file).parent.name for file in files] == list(PACKAGES)
    assert {Path(file).is_relative_to(scripts.parent) for file in files} == {True}
