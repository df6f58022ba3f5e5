"""Tuned folders that are damaged, of somebody else, or made to deceive."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from search_space.config import BASELINE
from search_space.workload import Workload
from tests.faults.fault import FAULTS
from tests.faults.lab import Lab
from tests.faults.running import Ended
from tests.machines import described
from tuner.deploy.emit import emit
from tuner.records.tuned import TunedConfig

LOAD = """
import sys, tuner
try:
    tuner.load(sys.argv[1])
except tuner.TuneError as error:
    sys.exit(f"error: {error}")
"""
Damage = Callable[[dict[str, Any]], object]
FIGURES = {"latency_s": 1.0, "peak_bytes": 2**30, "host_peak_bytes": 2**30}


def tuned_config(**facts: Any) -> TunedConfig:
    known: dict[str, Any] = {
        "config": BASELINE,
        "folder": "/nowhere",
        "workload": Workload("somebody/model", "b2:0f", 64, 64, None, 2, 1, None),
        "machine": described(),
        "tuned": FIGURES,
        "baseline": FIGURES,
        "memory_bytes": None,
        "cache_dir": "/nowhere",
        "created_at": "2026-01-31T12:00:00+00:00",
    }
    return TunedConfig(**{**known, **facts})


def load(lab: Lab, folder: Path) -> Ended:
    """Load it as an application does; the folder's own script is not run by that."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)],
        env=lab.environment(),
        cwd=lab.folder,
        capture_output=True,
        timeout=120.0,
        text=True,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def deleted(name: str) -> Damage:
    return lambda facts: facts.pop(name)


def put(name: str, value: object) -> Damage:
    return lambda facts: facts.update({name: value})


def nested(facts: dict[str, Any]) -> None:
    facts["workload"]["batch_size"] = 2**40


DAMAGES: dict[str, Damage] = {
    "without its machine": deleted("machine"),
    "a number for its machine": put("machine", 5),
    "a list for its config": put("config", [1, 2]),
    "a knob that is none": put("config", {"nothing": "on"}),
    "a choice that is none": put("config", {"precision": "fp7"}),
    "a batch of 2^40 images": nested,
    "another schema version": put("schema_version", 99),
    "nothing for its software": put("software", None),
}


def load_damaged(lab: Lab, damage: Damage) -> None:
    emit(tuned_config(), lab.output)
    path = lab.output / "config.json"
    facts = json.loads(path.read_text("utf-8"))
    damage(facts)
    path.write_text(json.dumps(facts), "utf-8")
    lab.expect(load(lab, lab.output), 1)


for name, way in DAMAGES.items():
    FAULTS.add("tuned folders", name, partial(load_damaged, damage=way), quick=True)

TEXTS = {
    "an empty config.json": b"",
    "a config.json cut short": b'{"schema_version": 1, "config": {',
    "a config.json that is not UTF-8": b'{"schema_version": 1, "folder": "\xff"}',
    "a config.json nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "a config.json with NaN": b'{"schema_version": NaN}',
}


def load_text(lab: Lab, text: bytes) -> None:
    lab.output.mkdir()
    (lab.output / "config.json").write_bytes(text)
    lab.expect(load(lab, lab.output), 1)


for name, content in TEXTS.items():
    FAULTS.add("tuned folders", name, partial(load_text, text=content), quick=True)


@FAULTS.fault("tuned folders", "a load.py of somebody else in the output", quick=True)
def script_of_another(lab: Lab) -> None:
    lab.output.mkdir()
    script = lab.output / "load.py"
    script.write_text("print('mine')\n")
    lab.expect(lab.tune(*lab.of_run()), 2, "was not written by")
    if script.read_text() != "print('mine')\n":
        lab.wrong.append("it was replaced")


@FAULTS.fault("tuned folders", "facts that would be statements of load.py", quick=True)
def statements(lab: Lab) -> None:
    """A device or a model may have any name: none may become code."""
    code = f"open({str(lab.canary)!r}, 'w').close()"
    quotes, others, escapes, fields = (
        *(f'"""\n{code}\n"""', f"'''\n{code}\n'''"),
        *(f'\\"""\n{code}\n#', f"{{{code}}}"),
    )
    machine = described(device_name=quotes, packages={"torch": escapes, fields: quotes})
    workload = Workload(escapes, others, 64, 64, None, 2, 1, None, prompts=(quotes, fields))
    tuned = tuned_config(machine=machine, workload=workload, folder=others, cache_dir=fields)
    emit(tuned, lab.output)
    command = [sys.executable, str(lab.output / "load.py"), "/nowhere/image.png"]
    done = subprocess.run(command, env=lab.environment(), capture_output=True, timeout=120.0)
    if b"cannot save to" not in done.stderr:
        lab.wrong.append(f"load.py cannot be run: {done.stderr[-200:]!r}")


EMIT = """
import os, signal, sys
from pathlib import Path
from tests.faults.tuned_folders import tuned_config
from tuner.deploy.emit import emit

at = int(sys.argv[2])
changes = 0
def look(event, arguments):
    global changes
    if event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "open"):
        changes += 1
        if changes == at:
            os.kill(os.getpid(), signal.SIGKILL)
emission = tuned_config(created_at="2027-02-02T00:00:00+00:00")
import tuner.version, tuner.deploy.sources, tempfile, shutil
sys.addaudithook(look)
emit(emission, Path(sys.argv[1]), b"a sheet")
"""


@FAULTS.fault("tuned folders", "kill -9 at each step of writing one over another")
def kill_writer(lab: Lab) -> None:
    """What is there is loadable at any time: the old one whole, or the new one."""
    emit(tuned_config(), lab.output)
    for step in range(1, 400):
        command = [sys.executable, "-c", EMIT, str(lab.output), str(step)]
        done = subprocess.run(command, env=lab.environment(), capture_output=True, timeout=60.0)
        lab.expect_emitted()
        if done.returncode == 0 or lab.wrong:
            break
        emit(tuned_config(), lab.output)
    if done.returncode != 0:
        lab.wrong.append(f"the writer never ended: {done.stderr[-200:]!r}")
