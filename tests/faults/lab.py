"""A room for one fault: folders of its own, the commands that run in it, and what is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import psutil

from search_space.errors import TuneError
from storage import Store
from storage.rows import StoredTrial
from tests.faults.running import PATIENCE_S, Ended, Running
from tuner.deploy.emit import load_script
from tuner.records.tuned import TunedConfig

ROOT = Path(__file__).parents[2]
MARK = "TUNE_FAULT"
"""The environment variable by which the processes of one lab are known, whoever their parent is."""

MODEL = "reference:sd15-tiny"
RUN = (
    *("run", MODEL, "--height", "64", "--width", "64", "--steps", "2", "--memory", "4GiB"),
    *("--trials", "3", "--no-ablation", "--json"),
)
KNOBS = ("--include", "memory_format", "--include", "attention_slicing")
SEARCH = (*RUN, *KNOBS, "--race-rounds", "0")
RACE = (*RUN, "--include", "allocator", "--race-rounds", "2")
"""Memory that is kept between calls makes them faster, so that there is a config to race."""

LOOK_S = 0.02
EVENTS = "events.jsonl"
"""Where a trial's process writes the phases that it enters."""


class Lab:
    """Runs commands for one fault and examines what they leave; a context manager."""

    def __init__(self, folder: Path, models: Path) -> None:
        self.folder = folder
        self.models = models
        self.store = str(folder / "store" / "history.db")
        self.tmp, self.cache = folder / "tmp", folder / "cache"
        self.output = folder / "out" / "tuned"
        self.canary = folder / "canary"
        """What hostile data would write if it were executed."""
        self.wrong: list[str] = []
        self.last: Ended | None = None
        self.seen: dict[int, StoredTrial] = {}
        self._mark = uuid.uuid4().hex
        self._running: list[Running] = []
        self._undo = contextlib.ExitStack()
        for path in (self.tmp, self.cache, self.output.parent, Path(self.store).parent):
            path.mkdir(parents=True)
        self._commands = 0

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *raised: object) -> None:
        for running in self._running:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._undo.close()

    def later(self, undo: Callable[[], object]) -> None:
        """Do something when the lab is left."""
        self._undo.callback(undo)

    def with_model(self) -> None:
        """Put the reference pipeline into the cache, as an earlier run would have."""
        if not any(self.cache.iterdir()):
            shutil.copytree(self.models, self.cache, dirs_exist_ok=True)

    def environment(self, more: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
        home = str(self.folder / "home")
        return {
            **os.environ,
            MARK: self._mark,
            "TMPDIR": str(self.tmp),
            "HOME": home,
            "XDG_CACHE_HOME": home,
            "XDG_DATA_HOME": home,
            # Side by side with other work, threads that wait for each other crawl.
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            **more,
        }

    def start(
        self,
        *arguments: str | bytes,
        environment: Mapping[str, str] = MappingProxyType({}),
        within: Sequence[str] = (),
        stdout: int | None = None,
        before: Callable[[], None] | None = None,
    ) -> Running:
        """Start ``tune`` with these arguments, as a shell in the foreground does."""
        self._commands += 1
        out, err = (self.folder / f"{name}{self._commands}" for name in ("stdout", "stderr"))

        def prepare() -> None:
            # What is started in the background of a shell ignores interrupts.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if before is not None:
                before()

        out.touch()
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [*within, sys.executable, "-m", "tuner", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out_file if stdout is None else stdout,
                stderr=err_file,
                env=self.environment(environment),
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=prepare,
                text=True,
            )
        running = Running(process, out, err)
        self._running.append(running)
        return running

    def tune(self, *arguments: str | bytes, timeout_s: float = PATIENCE_S, **how: object) -> Ended:
        """Run ``tune`` to its end."""
        self.last = self.start(*arguments, **how).end(timeout_s)  # type: ignore[arg-type]
        return self.last

    def run(self, arguments: Sequence[str] = SEARCH, **how: object) -> Running:
        """Start a run on this lab's store, cache and output."""
        self.with_model()
        return self.start(*self.of_run(arguments), **how)  # type: ignore[arg-type]

    def of_run(self, arguments: Sequence[str] = SEARCH) -> list[str]:
        places = ("--store", self.store, "--cache-dir", self.cache, "--output", self.output)
        return [*arguments, *map(str, places)]

    def until(
        self, condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S
    ) -> bool:
        """Wait until it holds; where it never does, that is what is wrong."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end_s or all(
                running.process.poll() is not None for running in self._running
            ):
                self.wrong.append(f"never came: {what}")
                return False
            time.sleep(LOOK_S)
        return True

    def until_phase(self, phase: str, trials: int = 0) -> bool:
        """Wait until, with so many trials stored, one more has come to this phase."""
        stored = self.until(lambda: len(self.stored()) >= trials, f"{trials} stored trials")
        return stored and self.until(lambda: phase in self.phases(), f"the phase {phase}")

    def phases(self) -> list[str]:
        """The phases of the trials that are at work or wait in a round."""
        found = []
        # Folders come and go meanwhile.
        for folder, _, names in os.walk(self.tmp):
            if EVENTS in names:
                with contextlib.suppress(OSError, ValueError, IndexError):
                    lines = Path(folder, EVENTS).read_text("utf-8").splitlines()
                    found.append(json.loads(lines[-1])["phase"])
        return found

    def pause(self, seconds: float) -> None:
        """Leave the fault as it is for a while."""
        time.sleep(seconds)

    def processes(self) -> list[psutil.Process]:
        """The living processes of this lab."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                is_ours = process.environ().get(MARK) == self._mark
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def server(self, running: Running) -> psutil.Process | None:
        """The fork server of a run, if it has one now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(running.pid).children():
                if "tuner.processes.forkserver" in " ".join(child.cmdline()):
                    return child
        return None

    def trial(self, running: Running) -> psutil.Process | None:
        """The youngest process of a trial, if there is one now."""
        server = self.server(running)
        with contextlib.suppress(psutil.NoSuchProcess):
            children = server.children() if server else []
            return max(children, key=psutil.Process.create_time, default=None)
        return None

    def stored(self) -> list[StoredTrial]:
        """The trials in the store now; what was once there shall never be gone."""
        # What commands make of damaged rows, they have said.
        with contextlib.suppress(Exception), Store(self.store, read_only=True) as store:
            trials = store.trials()
            self.seen |= {stored.trial.number or 0: stored for stored in trials}
            return trials
        return []

    def expect(self, ended: Ended, code: int, *words: str) -> None:
        """How a command shall have ended, and what it shall have said."""
        self.last = ended
        if ended.code != code:
            self.wrong.append(f"exit code {ended.code}, not {code}: {ended.said}")
        missing = [word for word in words if word not in ended.stderr]
        if missing:
            self.wrong.append(f"not said: {', '.join(missing)}; but: {ended.said}")
        self.expect_no_traceback(ended)

    def expect_no_traceback(self, ended: Ended) -> None:
        """What no user shall ever see."""
        for slip in ("Traceback (most recent", "a bug of ours", "Exception ignored"):
            if slip in ended.stderr:
                self.wrong.append(f"{slip!r} was printed: {ended.said}")
        errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        if ended.code in (1, 2) and len(errors) != 1:
            self.wrong.append(f"{len(errors)} lines of error for exit code {ended.code}")

    def expect_emitted(self) -> None:
        """A tuned folder that is whole: the script and the config are of one run."""
        try:
            script = (self.output / "load.py").read_text("utf-8")
            if load_script(TunedConfig.read(self.output)) != script:
                self.wrong.append("load.py is of another run than config.json")
        except (TuneError, OSError) as error:
            self.wrong.append(f"the tuned folder is not whole: {error}")

    def resume(self, arguments: Sequence[str] = SEARCH) -> Ended:
        """Run the same command again, which shall end well."""
        faulty = self.last
        ended = self.run(arguments).end()
        self.expect(ended, 0)
        self.expect_emitted()
        self.last = faulty or ended
        return ended
