"""A run that is killed while it replaces the files of an earlier one leaves those of one run."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search_space.errors import UsageError
from tests.tuner.test_emit import tuned
from tuner.deploy.emit import check_output, emit, load_script
from tuner.loading.candidates import tuned_folders
from tuner.records.tuned import TunedConfig

DIE_AT_EACH_STEP = """
import json, os, signal, sys
from pathlib import Path
from tests.tuner.test_emit import tuned
from tuner.deploy.emit import emit

STEPS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
place, picture = Path(sys.argv[1]), b"a picture" if sys.argv[2] == "picture" else None

def die_at(folder, last):
    steps = 0
    def step(event, facts):
        nonlocal steps
        if event in STEPS and str(folder) in str(facts[0]):
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(step)

for last in range(1, 40):
    folder = emit(tuned({}), place / f"{last:02}", b"an old picture")
    (folder / "notes.txt").write_text("mine")
    child = os.fork()
    if not child:
        die_at(folder, last)
        emit(tuned({"precision": "bf16"}), folder, picture)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
    if status == 0:
        break
"""


def runs_of(folder: Path) -> set[str]:
    """Of which run the folder is, as each reader sees it."""
    names = {load_script(tuned({})): "old", load_script(tuned({"precision": "bf16"})): "new"}
    (found,) = tuned_folders(folder)
    config = TunedConfig.read(found).config
    return {names[(folder / "load.py").read_text()], "new" if config else "old"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("picture", ["picture", "none"])
def test_a_kill_at_any_step_leaves_a_folder_of_one_run(tmp_path, picture):
    printed = subprocess.run(
        [sys.executable, "-c", DIE_AT_EACH_STEP, str(tmp_path), picture],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    *killed, last = map(int, printed.stdout.split())
    assert set(killed) == {-signal.SIGKILL} and last == 0 and len(killed) > 8
    seen = []
    for folder in sorted(tmp_path.iterdir()):
        (run,) = runs_of(folder)
        seen.append(run)
        sheet = folder / "contact_sheet.png"
        pictures = {"old": b"an old picture", "new": b"a picture"}
        assert not sheet.exists() or sheet.read_bytes() == pictures[run]
        # The next run clears up, and leaves alone what is not ours.
        emit(tuned({}), folder)
        assert runs_of(folder) == {"old"}
        assert {path.name for path in folder.iterdir()} == {"config.json", "load.py", "notes.txt"}
    assert len(seen) == len(killed) + 1
    assert set(seen) == {"old", "new"} and seen == sorted(seen, reverse=True)


def left_over(folder: Path, name: str, age_s: float = 0) -> Path:
    path = folder / name
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_what_is_left_over_is_swept_and_what_may_be_in_use_is_not(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = re.sub(r"\W", "", platform.node())
    folder = emit(tuned({}), tmp_path / "out")
    of_the_dead = left_over(folder, f".tuned-{host}-{ended.pid}-")
    of_the_living = left_over(folder, f".tuned-{host}-{os.getppid()}-0f")
    elsewhere = left_over(folder, ".tuned-another-1-0f")
    long_ago = left_over(folder, ".tuned-another-1-0e", age_s=100_000)
    somebodys = left_over(folder, ".tuned-notes", age_s=100_000)
    (somebodys / "notes.txt").write_text("mine")
    os.utime(somebodys, (0, 0))
    check_output(folder)
    kept = {path for path in folder.glob(".tuned-*")}
    assert kept == {of_the_living, elsewhere, somebodys}
    assert not of_the_dead.exists() and not long_ago.exists()


def test_a_damaged_config_is_not_replaced_unasked(tmp_path):
    (tmp_path / "config.json").write_text('{"schema_version": 1}')
    with pytest.raises(UsageError, match=r"is damaged \(config is missing\): remove it and run"):
        check_output(tmp_path)


def test_a_folder_above_finds_the_config_and_not_what_is_unfinished(tmp_path):
    folder = emit(tuned({}), tmp_path / "model" / "size")
    left_over(folder, ".tuned-another-1-0f")
    assert tuned_folders(tmp_path) == (folder,)
